"""multiprocessing under evrun: what it does in Python, while other greenlets go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 60  # seconds
SCRIPT = """
import concurrent.futures, multiprocessing, sys, time
import gevent

def square(x):
    return x * x

def blob(size):
    return b"x" * size

def answer(pipe):
    pipe.send(pipe.recv() * 2)
    pipe.send_bytes(bytes(3_000_000))

def put(queue):
    time.sleep(0.05)
    queue.put("late")

def hold(lock, pipe):
    with lock:
        pipe.send("held")
        time.sleep(0.1)

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
        with context.Manager() as manager:
            shared = manager.dict(a=1)
            shared["b"] = 2
            print(shared.copy())
    elif what == "lock":
        ours, theirs = context.Pipe()
        lock = context.Lock()
        process = context.Process(target=hold, args=(lock, theirs))
        process.start()
        print(ours.recv(), lock.acquire(False), lock.acquire(True, 0.01), lock.acquire())
        lock.release()
        process.join()

if __name__ == "__main__":
    ticks = []
    clock = gevent.spawn(lambda: [(ticks.append(1), gevent.sleep(0.002)) for _ in range(10**6)])
    main(sys.argv[1], multiprocessing.get_context(sys.argv[2]))
    clock.kill()
    print(len(ticks) > 3)
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
    got = subprocess.run([evrun, script, what, context], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (got.stdout, got.stderr) == (f"{EXPECTED[what]}\nTrue\n", "")
