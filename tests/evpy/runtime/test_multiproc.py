"""multiprocessing under evrun: what it does in Python, while other greenlets go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 60  # seconds
SCRIPT = """
import concurrent.futures, multiprocessing, multiprocessing.managers, os, sys, time
import gevent

GO = sys.argv[3]  # a file that the clock makes when it has ticked: until then, nobody gets what he waits for

def wait():
    while not os.path.exists(GO):
        time.sleep(0.002)

def square(x):
    wait()
    return x * x

def blob(size):
    return b"x" * size

def answer(pipe):
    received = pipe.recv()
    wait()
    pipe.send(received * 2)
    pipe.send_bytes(bytes(3_000_000))

def put(queue):
    wait()
    queue.put("late")

def hold(lock, pipe):
    with lock:
        pipe.send("held")
        pipe.recv()
        wait()

def main(what, context):
    if what == "pool":
        with context.Pool(2) as pool:
            print(pool.map(square, range(5)), len(pool.apply(blob, (5_000_000,))))
    elif what == "executor":
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
            print(list(executor.map(square, range(5))), len(executor.submit(blob, 1_000_000).result()))
    elif what == "pipe":
        ours, theirs = context.Pipe()
        process = context.Process(target=answer, args=(theirs,))
        process.start()
        print(ours.poll(0.01))
        ours.send(21)
        print(ours.recv(), len(ours.recv_bytes()))
        process.join()
    elif what == "queue":
        queue = context.Queue()
        process = context.Process(target=put, args=(queue,))
        process.start()
        print(queue.get())
        process.join()
    elif what == "manager":
        manager = multiprocessing.managers.SyncManager(ctx=context)
        manager.start(wait)
        with manager:
            shared = manager.dict(a=1)
            shared["b"] = 2
            print(shared.copy())
    elif what == "lock":
        ours, theirs = context.Pipe()
        lock = context.Lock()
        process = context.Process(target=hold, args=(lock, theirs))
        process.start()
        print(ours.recv(), lock.acquire(False), lock.acquire(True, 0.01), end=" ")
        ours.send("let go")
        print(lock.acquire())
        lock.release()
        process.join()

def tick():
    for _ in range(5):
        gevent.sleep(0.002)
    with open(GO, "w"):
        pass

if __name__ == "__main__":
    gevent.spawn(tick)
    main(sys.argv[1], multiprocessing.get_context(sys.argv[2]))
"""
EXPECTED = {
    "pool": "[0, 1, 4, 9, 16] 5000000",
    "executor": "[0, 1, 4, 9, 16] 1000000",
    "pipe": "False\n42 3000000",
    "queue": "late",
    "manager": "{'a': 1, 'b': 2}",
    "lock": "held False False True",
}


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("what", EXPECTED)
def test_it_works_and_others_go_on(tmp_path: Path, what: str, context: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    evrun = Path(sys.executable).with_name("evrun")
    command = [evrun, script, what, context, tmp_path / "go"]
    got = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (got.stdout, got.stderr) == (f"{EXPECTED[what]}\n", "")
