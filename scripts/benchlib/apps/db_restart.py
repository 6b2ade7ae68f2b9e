"""Asks PostgreSQL all the time from 16 greenlets: db_restart.py URL CPU STEP. Until a line comes on stdin.

Prints JSON: the monotonic time of the begin, good answers and errors in each STEP seconds, wrong answers.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time

import gevent
from gevent.fileobject import FileObject

from service_utils.db import connect
from service_utils.db.errors import DatabaseError

URL, CPU, STEP = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
FLOWS = 16
os.sched_setaffinity(0, {CPU})
db = connect(URL, size=FLOWS, timeout=2)
good: list[int] = []
failed: list[int] = []
wrong = 0


def add(counts: list[int]) -> None:
    at = int((time.monotonic() - begin) / STEP)
    while len(counts) <= at:
        counts.append(0)
    counts[at] += 1


def flow(seed: int) -> None:
    global wrong  # noqa: PLW0603 - a script
    rng = random.Random(seed)
    while True:
        n = rng.randrange(10**9)
        try:
            if db.value("select :n::int", n=n) != n:
                wrong += 1
        except DatabaseError:
            add(failed)
            gevent.sleep(0.01)
        else:
            add(good)


db.value("select 1")
begin = time.monotonic()
flows = [gevent.spawn(flow, seed) for seed in range(FLOWS)]
sys.stdout.write("ready\n")
sys.stdout.flush()
FileObject(sys.stdin).readline()
length = max(len(good), len(failed)) - 1  # the last one is not complete
for counts in (good, failed):
    counts += [0] * length
sys.stdout.write(json.dumps({"begin": begin, "good": good[:length], "failed": failed[:length], "wrong": wrong}) + "\n")
sys.stdout.flush()
gevent.killall(flows)
db.close()
