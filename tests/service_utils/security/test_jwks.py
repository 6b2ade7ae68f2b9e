"""Keys that are published: cached, rotated, withdrawn, and a publisher that fails in every way."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from service_utils.security import InvalidToken, Key, KeySet, KeysUnavailable, RemoteKeySet, TokenIssuer, TokenVerifier

ONE, TWO = Key.generate("ES256", "one"), Key.generate("EdDSA", "two")


class Publisher:
    """Answers with what it has, and counts."""

    def __init__(self, *keys: Key) -> None:
        self.keys = keys
        self.asked = 0
        self.fails = False

    def fetch(self) -> str:
        self.asked += 1
        if self.fails:
            raise OSError("no network")
        return json.dumps(KeySet(self.keys).as_jwks())


def made(publisher: Publisher, **more: Any) -> tuple[RemoteKeySet, list[float]]:
    now = [1000.0]
    return RemoteKeySet(fetch=publisher.fetch, clock=lambda: now[0], **more), now


def test_rotation() -> None:
    publisher = Publisher(ONE)
    keys, now = made(publisher)
    verifier = TokenVerifier(keys, issuer="i", audience="a")
    for _ in range(3):
        assert verifier.verify(TokenIssuer(ONE, issuer="i", audience="a").issue("ann")).kid == "one"
    assert publisher.asked == 1

    publisher.keys = (ONE, TWO)  # announced, then used
    now[0] += 30
    assert verifier.verify(TokenIssuer(TWO, issuer="i", audience="a").issue("ann")).kid == "two"
    assert publisher.asked == 2

    publisher.keys = (TWO,)  # withdrawn
    assert keys.find("one").kid == "one"
    now[0] += keys.ttl
    with pytest.raises(InvalidToken, match="no key"):
        keys.find("one")
    assert (publisher.asked, keys.statistics().keys, keys.statistics().unknown) == (3, 1, 2)


def test_unknown_ids_do_not_flood_the_issuer() -> None:
    publisher = Publisher(ONE)
    keys, now = made(publisher, pause=10)
    for second in range(21):
        now[0] = 1000.0 + second
        for n in range(50):
            with pytest.raises(InvalidToken):
                keys.find(f"no-{n}")
    assert publisher.asked == 3


def test_publisher_fails() -> None:
    publisher = Publisher(ONE)
    keys, now = made(publisher, ttl=600, max_stale=3600)
    publisher.fails = True
    with pytest.raises(KeysUnavailable, match="no network") as caught:
        keys.find("one")
    assert caught.value.status == 503
    publisher.fails = False
    now[0] += 2
    keys.find("one")
    publisher.fails = True
    now[0] += 3000  # too old to be used without asking, fresh enough when nobody answers
    keys.find("one")
    assert keys.statistics().failed == 2
    now[0] += 700
    with pytest.raises(KeysUnavailable):
        keys.find("one")


def test_fetched_ahead_in_the_background() -> None:
    publisher = Publisher(ONE)
    keys, now = made(publisher, ttl=600)
    keys.find("one")
    now[0] += 500
    keys.find("one")
    running = keys._running
    assert running is not None
    running.result(10)
    assert (publisher.asked, keys.statistics().age) == (2, 0)


def test_one_fetch_for_all_who_wait() -> None:
    go = threading.Event()
    publisher = Publisher(ONE)

    def fetch() -> str:
        assert go.wait(10)
        return publisher.fetch()

    keys = RemoteKeySet(fetch=fetch)
    found: list[Key] = []
    waiting = [gevent.spawn(lambda: found.append(keys.find("one"))) for _ in range(20)]
    gevent.sleep(0)  # all of them run until they wait; the hub is free
    assert not found
    go.set()
    gevent.joinall(waiting, raise_error=True)
    assert (len(found), publisher.asked) == (20, 1)


def test_documents() -> None:
    secret = {"kty": "oct", "k": "A" * 43, "kid": "one", "alg": "HS256"}
    private = ONE._jwk.as_dict(private=True, kid="leaked", alg="ES256")
    unusable = [
        secret,
        {"kty": "AKP", "kid": "new"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        5,
        {},
        {"use": "enc", **ONE.as_jwk()} | {"use": "enc"},
    ]
    keys = RemoteKeySet(fetch=lambda: json.dumps({"keys": [*unusable, ONE.as_jwk(), private]}))
    assert keys.find("one").algorithm == "ES256"
    assert not keys.find("leaked").can_sign
    for text in ("", "[]", "{}", '{"keys": 5}', json.dumps({"keys": unusable}), "[" * 100_000, " " * 600_000):
        with pytest.raises(KeysUnavailable):
            RemoteKeySet(fetch=lambda text=text: text).find("one")


@pytest.mark.parametrize("url", ["http://login.test/keys", "ftp://127.0.0.1/", "file:///etc/passwd", "https:", ""])
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"https|either"):
        RemoteKeySet(url)


@pytest.fixture
def served() -> Iterator[tuple[str, list[str]]]:
    """A server with keys at /keys, a redirect to them, an endless document, and one that never answers."""
    asked: list[str] = []
    silence = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path == "/silent":
                silence.wait(20)
                return
            self.send_response(302 if self.path == "/moved" else 200)
            self.send_header("Location", "/keys")
            self.end_headers()
            if self.path == "/keys":
                self.wfile.write(json.dumps(KeySet([ONE]).as_jwks()).encode())
            elif self.path == "/slow":
                while not silence.wait(0.05):
                    self.wfile.write(b" ")

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    silence.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_over_http(served: tuple[str, list[str]]) -> None:
    base, asked = served
    assert RemoteKeySet(f"{base}/keys").find("one").kid == "one"
    for path, timeout in (("/moved", 20), ("/silent", 0.3), ("/slow", 0.3)):
        with pytest.raises(KeysUnavailable):
            RemoteKeySet(base + path, timeout=timeout).find("one")
    deadline = time.monotonic() + 60
    while len(asked) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(asked) == ["/keys", "/moved", "/silent", "/slow"]
