"""Names to addresses: many at a time, a lookup that hangs, and a fork in the middle."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import gevent
import pytest
from flows import PATIENCE, in_thread, until

from service_utils import ares, names, sockets
from service_utils.names import Resolver


def found(host: str, port: int) -> list[Any]:
    return [(socket.AF_INET, (f"127.0.0.{host.partition('.')[0]}", port))]


def test_many_names_at_a_time_wait_for_their_turn() -> None:
    gate, at_work, most, lock = threading.Event(), [0], [0], threading.Lock()

    def lookup(host: str, port: int) -> list[Any]:
        with lock:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
            if at_work[0] == names.MAX_LOOKUPS:
                gate.set()
        assert gate.wait(PATIENCE)
        with lock:
            at_work[0] -= 1
        return found(host, port)

    resolver = Resolver(lookup)
    asking = [gevent.spawn(resolver.resolve, f"{n}.invalid", 80, PATIENCE) for n in range(50)]
    assert [one.get() for one in asking] == [found(f"{n}.invalid", 80) for n in range(50)]
    assert most[0] == names.MAX_LOOKUPS


def test_sockets_of_all_clients_share_the_lookups_of_the_http_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names.usual, "_lookup", names.SystemLookup(found))
    assert sockets.resolve("7.invalid", 80, PATIENCE) == found("7.invalid", 80)
    del names.usual._known["7.invalid", 80]
    for lookup in (ares.usual_lookup("/no/such"), Resolver()._lookup):
        assert lookup is None or isinstance(lookup, ares.AresLookup), "c-ares, unless the system knows more"


def test_lookups_that_hang_keep_nobody_longer_than_the_deadline() -> None:
    gate, asked = threading.Event(), []

    def lookup(host: str, port: int) -> list[Any]:
        asked.append(host)
        assert gate.wait(PATIENCE)
        return found(host, port)

    resolver = Resolver(lookup)
    hanging = [gevent.spawn(resolver.resolve, f"{n}.invalid", 80, PATIENCE) for n in range(names.MAX_LOOKUPS)]
    gevent.sleep(0)
    with pytest.raises(TimeoutError, match=r"100\.invalid"):
        resolver.resolve("100.invalid", 80, 0.01)  # its turn does not come
    killed = gevent.spawn(resolver.resolve, "101.invalid", 80, PATIENCE)
    last = gevent.spawn(resolver.resolve, "102.invalid", 80, PATIENCE)
    gevent.sleep(0)
    killed.kill()
    gate.set()
    gevent.joinall([*hanging, last], raise_error=True)
    assert len(asked) == len(set(asked))
    until(lambda: "101.invalid" in asked)  # nobody waits for it, but it may be asked for soon
    assert resolver.resolve("100.invalid", 80, PATIENCE) == found("100.invalid", 80)


def test_an_answer_does_not_depend_on_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been dropped already when somebody who waited for it goes on."""
    monkeypatch.setattr(names, "MAX_NAMES", 1)
    gate = threading.Event()

    def lookup(host: str, port: int) -> list[Any]:
        assert gate.wait(PATIENCE)
        return found(host, port)

    resolver = Resolver(lookup)
    asking = [in_thread(lambda n=n: resolver.resolve(f"{n}.invalid", 80, PATIENCE), hub=n % 2 == 0) for n in range(6)]
    gate.set()
    assert [one.result(PATIENCE) for one in asking] == [found(f"{n}.invalid", 80) for n in range(6)]


def test_a_child_begins_anew() -> None:
    gate = threading.Event()
    parent = os.getpid()

    def lookup(host: str, port: int) -> list[Any]:
        if os.getpid() == parent:
            assert gate.wait(PATIENCE)
        return found(host, port)

    resolver = Resolver(lookup)
    asking = in_thread(lambda: resolver.resolve("1.invalid", 80, PATIENCE), hub=False)
    until(lambda: bool(resolver._running))
    pid = os.fork()
    if not pid:
        try:
            os._exit(int(resolver.resolve("1.invalid", 80, 10) != found("1.invalid", 80)))
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    gate.set()
    assert asking.result(PATIENCE) == found("1.invalid", 80)
