"""Between us and Redis is a wire that breaks: anywhere in an answer, by an end, a reset, one direction alone, somebody
else's bytes, or silence. Each time it is an error of the right kind, and the next request gets its own answer."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import gevent
import pytest
import redis
from flows import PATIENCE, in_thread
from wires import WAYS, Wire

from service_utils.redis import Redis


@pytest.fixture
def wire(server: Any) -> Iterator[Wire]:
    wire = Wire(server.port)
    yield wire
    wire.stop()


@pytest.mark.parametrize("hub", [True, False])
def test_it_breaks_anywhere(server: Any, make: Callable[..., Redis], wire: Wire, hub: bool) -> None:
    client = make(server.url.replace(f":{urlsplit(server.url).port}/", f":{wire.port}/"), size=2, timeout=PATIENCE)

    def ask(n: int) -> None:
        """Several answers of several kinds, all of which tell who asked."""
        text = b"%d" % n
        assert client.eval("return {ARGV[1], {ARGV[1], 'x'}, tonumber(ARGV[1])}", 0, n) == [text, [text, b"x"], n]
        pipeline = client.pipeline(transaction=False)
        for i in range(50):
            pipeline.echo(f"{n + i} " + "y" * 20)
        assert pipeline.execute() == [b"%d " % (n + i) + b"y" * 20 for i in range(50)]

    def work() -> None:
        rng = random.Random(7)
        ask(0)
        broken = 0
        for how in WAYS * 8:
            if how == "silence" and not hub:
                continue  # a plain thread waits as long as it is told to
            wire.breaks = how, rng.choice([0, 1, 5, rng.randrange(1500)])
            try:
                with gevent.Timeout(0.05, False) if how == "silence" else contextlib.nullcontext():
                    ask(rng.randrange(10**6))
            except (redis.ConnectionError, redis.TimeoutError):
                broken += 1
            except (redis.RedisError, AssertionError):
                if how != "noise":  # which may look like a part of the answer
                    raise
                broken += 1
            wire.breaks = None
            for _ in range(2):
                with contextlib.suppress(redis.ConnectionError):  # of a connection that was cut while it was idle
                    ask(rng.randrange(10**6))
            ask(rng.randrange(10**6))
        assert broken >= 16

    in_thread(work, hub=hub).result(PATIENCE * 3)
    assert wire.broken >= 20
