"""Measures one HTTP client: http_client.py NAME URL SECONDS. Prints a line of JSON: requests/s and CPU (us) of each."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

NAME, URL, SECONDS = sys.argv[1], sys.argv[2], float(sys.argv[3])
CONNECTIONS = (1, 64)
if NAME in ("urllib3", "requests", "httpx"):
    from gevent import monkey

    monkey.patch_all()


def getter(connections: int) -> Callable[[], bytes]:
    if NAME.startswith("service_utils.http"):
        from service_utils import http

        client = http.Client(limit=connections)
        return lambda: client.get(URL).content
    if NAME == "geventhttpclient":
        from geventhttpclient import HTTPClient
        from geventhttpclient import url as urls

        address = urls.URL(URL)
        theirs: Any = HTTPClient.from_url(address, concurrency=connections)
        return lambda: bytes(theirs.get(address.request_uri).read())
    if NAME == "urllib3":
        import urllib3

        manager: Any = urllib3.PoolManager(maxsize=connections, block=True)
        return lambda: bytes(manager.request("GET", URL).data)
    if NAME == "requests":
        import requests

        session: Any = requests.Session()
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=connections))
        return lambda: bytes(session.get(URL).content)
    import httpx

    other: Any = httpx.Client(limits=httpx.Limits(max_connections=connections))
    return lambda: bytes(other.get(URL).content)


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def greenlets(connections: int) -> int:
    import gevent

    get = getter(connections)
    return _flows(get, lambda run: gevent.joinall([gevent.spawn(run) for _ in range(connections)], raise_error=True))


def threads(connections: int) -> int:
    from threading import Thread

    def start(run: Callable[[], None]) -> None:
        workers = [Thread(target=run) for _ in range(connections)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return _flows(getter(connections), start)


def _flows(get: Callable[[], bytes], start: Callable[[Callable[[], None]], Any]) -> int:
    assert get() == b"Hello, World!", get()
    counts: list[int] = []
    end = time.monotonic() + SECONDS

    def run() -> None:
        count = 0
        while time.monotonic() < end:
            get()
            count += 1
        counts.append(count)

    start(run)
    return sum(counts)


def tasks(connections: int) -> int:
    import asyncio

    import aiohttp

    async def run(session: Any, end: float) -> int:
        count = 0
        while time.monotonic() < end:
            async with session.get(URL) as response:
                await response.read()
            count += 1
        return count

    async def everything() -> int:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
            end = time.monotonic() + SECONDS
            return sum(await asyncio.gather(*(run(session, end) for _ in range(connections))))

    return asyncio.run(everything())


def main() -> None:
    measure = tasks if NAME == "aiohttp" else threads if NAME.endswith("-threads") else greenlets
    metrics: dict[str, float] = {}
    for connections in CONNECTIONS:
        used, started = cpu(), time.monotonic()
        count = measure(connections)
        metrics[f"rate_{connections}"] = count / (time.monotonic() - started)
        metrics[f"cpu_{connections}"] = (cpu() - used) / count * 1e6
    sys.stdout.write(json.dumps(metrics) + "\n")


main()
