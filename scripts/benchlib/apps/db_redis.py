"""Measures one client of Redis: db_redis.py NAME PORT SECONDS. Prints a line of JSON: GETs/s and CPU (us) of each."""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

NAME, PORT, SECONDS = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
if not NAME.startswith("service_utils"):
    from gevent import monkey

    monkey.patch_all()

import gevent  # noqa: E402


def client(connections: int) -> Any:
    if NAME == "service_utils.redis":
        from service_utils.redis import connect

        return connect(f"redis://127.0.0.1:{PORT}/0", size=connections)
    import redis

    pool = getattr(redis, NAME.removeprefix("redis."))
    return redis.Redis(connection_pool=pool(host="127.0.0.1", port=PORT, max_connections=connections))


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    metrics: dict[str, float] = {}
    for connections in (1, 16):
        redis = client(connections)
        redis.set("key", b"x" * 100)
        counts: list[int] = []
        end = time.monotonic() + SECONDS

        def run(redis: Any = redis, counts: list[int] = counts, end: float = end) -> None:
            count = 0
            while time.monotonic() < end:
                redis.get("key")
                count += 1
            counts.append(count)

        used, started = cpu(), time.monotonic()
        gevent.joinall([gevent.spawn(run) for _ in range(connections)], raise_error=True)
        metrics[f"rate_{connections}"] = sum(counts) / (time.monotonic() - started)
        metrics[f"cpu_{connections}"] = (cpu() - used) / sum(counts) * 1e6
    sys.stdout.write(json.dumps(metrics) + "\n")


main()
