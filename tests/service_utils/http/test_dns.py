"""Names: lookups by c-ares against a scripted DNS server, and the cache over any lookup."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from dns_server import AAAA, CNAME, SOA, A, Answer, DnsServer, response
from flows import PATIENCE, in_thread, until
from forks import ended_well, in_child
from peers import Peer, answer

from evpy.errors import DeadlineExceeded
from service_utils import http
from service_utils.ares import AresLookup, usual_lookup
from service_utils.names import Address, Done, SystemLookup

ALIASES = [("www.test", CNAME, 20, "one.test"), ("one.test", CNAME, 90, "two.test")]
NAMES: dict[tuple[str, int], Answer] = {
    ("shop.test", A): [("shop.test", A, 50, "127.0.0.1"), ("shop.test", A, 40, "127.0.0.2")],
    ("shop.test", AAAA): [("shop.test", AAAA, 60, "::1")],
    ("www.test", A): [*ALIASES, ("two.test", A, 70, "127.0.0.3")],
    ("www.test", AAAA): ALIASES,
    ("four.test", A): [("four.test", A, 50, "127.0.0.4")],
    ("six.test", AAAA): [("six.test", AAAA, 50, "::6")],
    ("wiki.corp.test", A): [("wiki.corp.test", A, 50, "127.0.0.5")],
    ("refused.test", A): 5,
    ("refused.test", AAAA): 5,
}  # fmt: skip
NOBODY: list[tuple[str, int, int, str]] = [("!test", SOA, 300, "300")]


def usual(name: str, kind: int) -> Answer:
    if (name, kind) in NAMES:
        return NAMES[name, kind]
    known = any(name == other for other, _ in NAMES)
    return [("test", SOA, 300, "300")] if known else NOBODY


@pytest.fixture
def server() -> Iterator[DnsServer]:
    with DnsServer(usual) as server:
        yield server


class Ask:
    """One lookup after the other, without a cache."""

    def __init__(self, **settings: Any) -> None:
        self.lookup = AresLookup(**settings)

    def __call__(self, name: str) -> tuple[Any, float | None]:
        done = threading.Event()
        found: list[Any] = []
        self.lookup.begin(name, 80, lambda result, holds: (found.append((result, holds)), done.set())[0])
        assert done.wait(PATIENCE)
        result, holds = found[0]
        if isinstance(result, OSError):
            raise result
        return {address[1][0] for address in result}, holds


@pytest.fixture
def make_ask() -> Iterator[Callable[..., Ask]]:
    asks: list[Ask] = []

    def make(**settings: Any) -> Ask:
        asks.append(Ask(**settings))
        return asks[-1]

    yield make
    for ask in asks:
        ask.lookup.close()


def test_both_families_aliases_and_times(server: DnsServer, make_ask: Callable[..., Ask]) -> None:
    ask = make_ask(servers=[server.address])
    assert ask("shop.test") == ({"127.0.0.1", "127.0.0.2", "::1"}, 40)
    assert ask("SHOP.test.")[0] == {"127.0.0.1", "127.0.0.2", "::1"}
    assert ask("www.test") == ({"127.0.0.3"}, 20)
    assert ask("four.test") == ({"127.0.0.4"}, 50)
    assert ask("six.test") == ({"::6"}, 50)


def test_hosts_and_search_domains(server: DnsServer, make_ask: Callable[..., Ask]) -> None:
    ask = make_ask(servers=[server.address], domains=["other.test", "corp.test"])
    assert ask("wiki")[0] == {"127.0.0.5"}
    assert "127.0.0.1" in ask("localhost")[0]
    assert ("localhost", A) not in server.asked


def test_what_is_not_there(server: DnsServer, make_ask: Callable[..., Ask]) -> None:
    """The zone says for how long; meanwhile nobody asks again."""
    ask = make_ask(servers=[server.address])
    for name in ("nothing.test", "nothing.test", "x" * 64 + ".test"):
        with pytest.raises(socket.gaierror) as caught:
            ask(name)
        assert caught.value.errno == socket.EAI_NONAME
    assert server.asked.count(("nothing.test", A)) == 1


def test_servers_that_fail(server: DnsServer, make_ask: Callable[..., Ask]) -> None:
    """A silent one, and one that is not there: the next is asked. With no other: an error, or the other lookup."""
    with DnsServer(lambda name, kind: None) as silent, DnsServer(usual) as gone:
        gone.stop()
        ask = make_ask(servers=[silent.address, gone.address, server.address], timeout=0.5, tries=2)
        assert ask("four.test")[0] == {"127.0.0.4"}
        with pytest.raises(OSError, match=r"lonely\.test"):
            make_ask(servers=[silent.address], timeout=0.02, tries=1)("lonely.test")
        other = make_ask(servers=[silent.address], timeout=0.02, tries=1, otherwise=fixed("127.0.0.9"))
        assert other("lonely.test")[0] == {"127.0.0.9"}
    refused = make_ask(servers=[server.address], otherwise=fixed("127.0.0.9"))
    assert refused("refused.test")[0] == {"127.0.0.9"}
    with pytest.raises(socket.gaierror):  # that there is no such name is an answer
        refused("nothing.test")
    assert refused("printer.local")[0] == {"127.0.0.9"}
    assert not any(name == "printer.local" for name, _ in server.asked)


def fixed(address: str) -> SystemLookup:
    return SystemLookup(lambda host, port: [(socket.AF_INET, (address, port))])


def test_answers_that_were_cut_off_are_asked_for_by_tcp(make_ask: Callable[..., Ask]) -> None:
    with DnsServer(usual, cut=True) as server:
        assert make_ask(servers=[server.address])("shop.test")[0] == {"127.0.0.1", "127.0.0.2", "::1"}
        assert server.by_tcp == 2


def test_answers_to_other_questions_are_ignored(make_ask: Callable[..., Ask]) -> None:
    """What somebody else sends, hoping that it fits: another number, another name."""
    evil = [("four.test", A, 50, "127.6.6.6")]
    other_number = lambda query: response(bytes([query[0] ^ 1, query[1]]) + query[2:], evil)  # noqa: E731
    other_name = lambda query: response(query.replace(b"\4four", b"\4five"), evil)  # noqa: E731
    with DnsServer(usual, first=lambda query: [other_number(query), other_name(query)]) as server:
        assert make_ask(servers=[server.address])("four.test")[0] == {"127.0.0.4"}


def test_the_client_uses_it(server: DnsServer, make_ask: Callable[..., Ask]) -> None:
    """In hubs that end, and in threads: they share one lookup, and nothing of it belongs to a hub."""
    lookup = make_ask(servers=[server.address]).lookup
    peer = Peer(lambda seen: answer(seen.fields["host"]))
    try:
        with http.Client(resolver=http.Resolver(lookup, least_ttl=0.0, most_ttl=0.0), retries=None) as client:
            for name in ("shop", "four", "shop"):
                url = f"http://{name}.test:{peer.port}/"
                for hub in (True, False, True):
                    if name == "four":  # nothing listens there
                        with pytest.raises(http.ConnectFailed):
                            in_thread(lambda: client.get(url), hub=hub).result(PATIENCE)  # noqa: B023
                    else:
                        text = in_thread(lambda: client.get(url).text, hub=hub).result(PATIENCE)  # noqa: B023
                        assert text == f"shop.test:{peer.port}"
            with pytest.raises(http.ConnectFailed, match="nothing"):
                client.get("http://nothing.test/")
    finally:
        peer.stop()


def test_deadlines_and_kills(make_ask: Callable[..., Ask]) -> None:
    """While the server is silent; whoever stays gets the answer in the end."""
    let_go = threading.Event()

    def reply(name: str, kind: int) -> Answer:
        let_go.wait(PATIENCE)
        return usual(name, kind)

    with DnsServer(reply) as server:
        resolver = http.Resolver(make_ask(servers=[server.address], timeout=PATIENCE).lookup)
        staying = in_thread(lambda: resolver.resolve("shop.test", 80, PATIENCE))
        until(lambda: server.asked)
        with pytest.raises(TimeoutError, match=r"shop\.test was not found within 0\.01 s"):
            resolver.resolve("shop.test", 80, 0.01)
        with pytest.raises(DeadlineExceeded), gevent.Timeout(0.01, DeadlineExceeded()):
            resolver.resolve("shop.test", 80, PATIENCE)
        killed = gevent.spawn(resolver.resolve, "shop.test", 80, PATIENCE)
        gevent.sleep(0.01)
        killed.kill(timeout=PATIENCE)
        assert killed.dead
        let_go.set()
        assert {address[1][0] for address in staying.result(PATIENCE)} == {"127.0.0.1", "127.0.0.2", "::1"}


def test_after_a_fork(server: DnsServer, make_ask: Callable[..., Ask]) -> None:
    ask = make_ask(servers=[server.address])
    assert ask("four.test")[0] == {"127.0.0.4"}

    def child() -> None:
        assert ask("six.test")[0] == {"::6"}
        ask.lookup.close()

    assert ended_well(in_child(child))
    assert ask("shop.test")[0] == {"127.0.0.1", "127.0.0.2", "::1"}


class Scripted:
    """A lookup that ends when the test says."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, Done]] = []

    def begin(self, host: str, port: int, done: Done) -> None:
        self.waiting.append((host, done))


def test_answers_are_kept_as_long_as_they_say() -> None:
    now, holds = [0.0], [50.0]
    asked: list[float] = []

    class Counting:
        def begin(self, host: str, port: int, done: Done) -> None:
            asked.append(now[0])
            if host == "none.test":
                done(socket.gaierror(socket.EAI_NONAME, "none"), None)
            else:
                done([(socket.AF_INET, ("127.0.0.1", port))], holds[0] if holds[0] >= 0 else None)

    resolver = http.Resolver(Counting(), ttl=30, least_ttl=2, most_ttl=100, negative_ttl=5, clock=lambda: now[0])

    def asks_again(seconds: float, name: str = "x.test") -> bool:
        now[0] += seconds
        before = len(asked)
        try:
            resolver.resolve(name, 1, PATIENCE)
        except OSError:
            assert name == "none.test"
        return len(asked) > before

    assert asks_again(0)
    assert not asks_again(49)
    holds[0] = 0.0
    assert asks_again(1)
    assert not asks_again(1.9)  # least_ttl
    holds[0] = 1e9
    assert asks_again(0.1)
    assert not asks_again(99)  # most_ttl
    holds[0] = -1
    assert asks_again(1)
    assert not asks_again(29)  # ttl
    assert asks_again(1)
    assert asks_again(0, "none.test")
    assert not asks_again(4.9, "none.test")
    assert asks_again(0.1, "none.test")


def test_those_who_ask_at_the_same_time_share_one_lookup() -> None:
    lookup = Scripted()
    resolver = http.Resolver(lookup)
    found: list[list[Address]] = []
    asking = [gevent.spawn(lambda: found.append(resolver.resolve("x.test", 1, PATIENCE))) for _ in range(5)]
    others = [in_thread(lambda: found.append(resolver.resolve("x.test", 1, PATIENCE))) for _ in range(3)]
    until(lambda: len(resolver._running.get(("x.test", 1), ())) == 3)
    gevent.sleep(0)
    (name, done), *more = lookup.waiting
    assert (name, more) == ("x.test", [])
    done([(socket.AF_INET, ("127.0.0.1", 1))], 5)
    done(OSError("twice"), None)  # nobody listens any more
    gevent.joinall(asking, raise_error=True)
    for future in others:
        future.result(PATIENCE)
    assert len(found) == 8
    assert resolver.resolve("x.test", 1, PATIENCE) == found[0]


def test_a_lookup_that_fails_at_once_leaves_nobody_waiting() -> None:
    class Broken:
        def begin(self, host: str, port: int, done: Done) -> None:
            raise ZeroDivisionError

    resolver = http.Resolver(Broken(), negative_ttl=1)
    with pytest.raises(ZeroDivisionError):
        resolver.resolve("x.test", 1, PATIENCE)
    with pytest.raises(OSError, match="ZeroDivisionError"):
        resolver.resolve("x.test", 1, PATIENCE)


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("hosts: files dns\n", True), ("passwd: files\nhosts:\tdns  # files mdns\n", True), ("passwd: files\n", True),
        ("hosts: files mdns4_minimal [NOTFOUND=return] dns\n", False), ("hosts: files resolve\n", False),
        ("#hosts: files\nhosts: files ldap dns\n", False), ("hosts:\n", False),
    ],
)  # fmt: skip
def test_whom_to_ask(tmp_path: Path, text: str, simple: bool) -> None:
    """c-ares, unless the machine finds names in other places, too."""
    file = tmp_path / "nsswitch.conf"
    file.write_text(text)
    assert isinstance(usual_lookup(str(file)), AresLookup if simple else SystemLookup)
    assert isinstance(usual_lookup(str(tmp_path / "nothing")), AresLookup)
