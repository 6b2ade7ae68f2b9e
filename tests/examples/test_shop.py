"""The shop: what it shows, who may order, and what happens when the cache or a service is not there."""

from __future__ import annotations

import base64
import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
from serving import Answer, Server

sys.path.insert(0, str(Path(__file__).parents[1] / "service_utils"))
import servers

from service_utils.db import connect
from service_utils.security import Key

EXAMPLE = Path(__file__).parents[2] / "examples/shop"
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(scope="session", autouse=True)
def _servers(_session_leaves_nothing: None) -> Iterator[None]:
    servers.start({"redis", "postgresql"})
    yield
    servers.stop()


def shop(folder: Path, redis: str, **more: str) -> Server:
    """The example; but the machine may be as slow as it likes."""
    shutil.copytree(EXAMPLE, folder / "shop", dirs_exist_ok=True)
    main = folder / "shop/main.py"
    hurry, patience = "connect=0.5, first_byte=1, total=2", "connect=20, first_byte=20, total=25"
    assert hurry in main.read_text()
    main.write_text(main.read_text().replace(hurry, patience))
    env = {"SHOP_DB": f"sqlite:{folder}/shop.sqlite", "SHOP_REDIS": redis} | more
    return Server(main, "-w", "2" if "SHOP_STOCK" in more else "1", env=env)


@pytest.fixture(scope="module", params=["PostgreSQL and Redis", "alone"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, redis, more = tmp_path_factory.mktemp("shop"), NOWHERE, {}
    if request.param != "alone":
        database, cache = servers.get("postgresql"), servers.get("redis")
        database.empty()
        cache.empty()
        redis, more = cache.url, {"SHOP_DB": database.url}
    with shop(folder, redis, **more) as server:
        yield server


def post(server: Server, path: str, body: Any, token: str = "") -> Answer:
    headers = ["Content-Type: application/json", *([f"Authorization: Bearer {token}"] if token else [])]
    with server.client() as client:
        return client.post(path, json.dumps(body).encode(), *headers)


def enter(server: Server, name: str, password: str = "secret") -> str:
    answer = post(server, "/customers", {"name": name, "password": password})
    assert answer.status == 200, answer
    return str(answer.json()["token"])


def test_articles(server: Server) -> None:
    articles = server.get("/articles").json()
    assert [(a["name"], a["price"]) for a in articles] == [("Tea", 3.2), ("Coffee", 4.5), ("<b>Cocoa</b>", 5.1)]
    assert articles[0]["stock"] == 100
    assert [a["price"] for a in server.get("/articles?currency=JPY").json()] == [522.24, 734.4, 832.32]
    for currency in ("%3Cx", "", "XXX", "EURO", "%00%00%00", "A" * 8000):
        assert server.get(f"/articles?currency={currency}").status == 400
    page = server.get("/?currency=USD").body.decode()
    assert "&lt;b&gt;Cocoa" in page
    assert "<td>3.46" in page


def test_orders(server: Server) -> None:
    """Own ones only; not more than there is; not without a token or with a forged one."""
    ann, bob = enter(server, "ann"), enter(server, "bob")
    assert post(server, "/customers", {"name": "ann", "password": "wrong"}).status == 403
    order = post(server, "/orders", {"article": 3, "amount": 2}, ann)
    assert order.status == 201
    assert post(server, "/orders", {"article": 3, "amount": 1}, bob).status == 409
    for wrong in ({"article": 9, "amount": 1}, {"article": 1, "amount": -1}, {"article": "1", "amount": 1}, []):
        assert post(server, "/orders", wrong, ann).status == 400
    head, body, signature = ann.split(".")
    for token in ("", "x", f"{head}.{body}.{signature[:-3]}abc"):
        assert post(server, "/orders", {"article": 1, "amount": 1}, token).status == 401
    mine = server.get("/orders", f"Authorization: Bearer {ann}").json()
    assert mine == [{"id": order.json()["order"], "article": 3, "amount": 2}]
    assert server.get("/orders", f"Authorization: Bearer {bob}").json() == []
    assert server.get("/articles").json()[2]["stock"] == 0


def test_under_load(server: Server) -> None:
    """Nothing is sold twice, and nothing fails."""
    before = server.get("/articles").json()[1]["stock"]
    tokens = [enter(server, f"customer {n}") for n in range(4)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda n: post(server, "/orders", {"article": 2, "amount": 1}, tokens[n % 4]), range(40)))
        shown = list(pool.map(lambda _: server.get("/articles").status, range(100)))
    assert [a.status for a in got] == [201] * 40
    assert set(shown) == {200}
    assert server.get("/articles").json()[1]["stock"] == before - 40
    kept = [server.get("/orders", f"Authorization: Bearer {token}").json() for token in tokens]
    assert sum(map(len, kept)) == 40


def test_too_often(tmp_path: Path) -> None:
    """Twenty orders a minute; one more for every three seconds that this takes."""
    with shop(tmp_path, servers.get("redis").url) as server:
        token = enter(server, f"hasty {tmp_path}")
        statuses, answer = [], post(server, "/orders", {"article": 1, "amount": 1}, token)
        while answer.status == 201 and len(statuses) < 90:
            statuses.append(answer.status)
            answer = post(server, "/orders", {"article": 1, "amount": 1}, token)
    assert answer.status == 429
    assert len(statuses) >= 20
    assert int(answer.header("retry-after") or 0) > 0


def test_services_are_away(tmp_path: Path) -> None:
    """The catalogue is shown without the stock; orders are refused; without rates there are no prices."""
    with shop(tmp_path, NOWHERE, SHOP_STOCK="http://127.0.0.1:1") as server:
        assert [a["stock"] for a in server.get("/articles").json()] == [None] * 3
        assert post(server, "/orders", {"article": 1, "amount": 1}, enter(server, "ann")).status == 503
        assert {server.get("/articles").status for _ in range(20)} == {200}
    with shop(tmp_path, NOWHERE, SHOP_RATES="http://127.0.0.1:1") as server:
        assert server.get("/articles").status == 503


def forged(head: dict[str, Any], claims: dict[str, Any], key: Key | None = None, signature: bytes = b"") -> str:
    def text(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    signed = f"{text(json.dumps(head).encode())}.{text(json.dumps(claims).encode())}"
    return f"{signed}.{text(key.sign(signed.encode()) if key else signature)}"


def test_hostile_tokens(tmp_path: Path) -> None:
    """Over the wire, signed with the shop's own key where that is what an attacker could not have done."""
    with shop(tmp_path, NOWHERE) as server:
        enter(server, "ann")
        with connect(f"sqlite:{tmp_path}/shop.sqlite") as db:
            key = Key.from_secret(db.value("select text from setting where name = 'key'"))
        other = Key.from_secret(b"k" * 32)
        head = {"alg": "HS256", "typ": "JWT", "kid": key.kid}
        claims = {"iss": "shop", "aud": "shop", "sub": "ann", "exp": int(time.time()) + 3600}
        hostile = [
            *(forged({**head, "alg": name}, claims) for name in ("none", "None", "")),
            forged({**head, "alg": "none"}, claims, key),
            forged({**head, "alg": "RS256"}, claims, key),
            forged({**head, "alg": "HS512"}, claims, key),
            forged({**head, "jwk": {"kty": "oct", "k": "a" * 43}}, claims, other),
            forged({**head, "kid": other.kid}, claims, other),
            forged({**head, "verified": True}, claims | {"verified": True}, signature=b"x" * 32),
            forged(head, claims | {"verified": True, "exp": int(time.time()) - 3600}, key),
            forged(head, {name: claims[name] for name in ("iss", "aud", "sub")}, key),
            forged(head, claims | {"aud": "bank"}, key),
            forged(head, claims | {"iss": "bank"}, key),
            "a.b.c",
            "",
        ]
        for token in hostile:
            authorization = f"Authorization: Bearer {token}"
            answers = [
                server.get("/orders", authorization),
                post(server, "/orders", {"article": 1, "amount": 1}, token),
            ]
            assert [answer.status for answer in answers] == [401, 401], token
            assert {answer.body for answer in answers} == {b"401 Unauthorized: this needs a valid token\n"}
        good = f"Authorization: Bearer {forged(head, claims, key)}"
        assert server.get("/orders", good).status == 200
        assert server.get("/orders", good, good).status == 401
        assert server.get("/orders", f"Authorization: Bearer {'A' * 1_000_000}").status == 431
        assert server.get("/orders", good).json() == []
        assert "Traceback" not in server.log


class Nonsense:
    """Both services, which say what they are told to."""

    def __init__(self) -> None:
        service = self
        self.status, self.body = 200, b"{}"

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(service.status)
                self.send_header("Content-Length", str(len(service.body)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(service.body)

            do_POST = do_GET  # noqa: N815 - the standard library calls it so

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign] # who asked does not want to know
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def test_services_talk_nonsense(tmp_path: Path) -> None:
    """It is their fault, said as such, and nothing of it is kept."""
    with Nonsense() as service, shop(tmp_path, NOWHERE, SHOP_STOCK=service.url, SHOP_RATES=service.url) as server:
        token = enter(server, "ann")
        for service.status, service.body in ((500, b"{}"), (200, b"<html>"), (200, b'{"rate": "x"}')):
            assert server.get("/articles").status == 503
        for service.status in (500, 404):
            assert post(server, "/orders", {"article": 1, "amount": 1}, token).status == 503
        service.status, service.body = 200, b'{"rate": 2}'
        server.wait_until(lambda: server.get("/articles").status == 200, "the rate is asked for again")
        assert [a["price"] for a in server.get("/articles").json()] == [6.4, 9.0, 10.2]


@pytest.mark.leaves_behind("a server that the session ends")
def test_redis_goes_and_comes(tmp_path: Path) -> None:
    """Nobody notices but the operator."""
    cache = servers.get("redis")
    cache.empty()
    with shop(tmp_path, cache.url) as server:
        token = enter(server, "ann")
        assert server.get("/status").json()["redis"] > 0
        cache.stop(cache.crash)
        try:
            assert [server.get("/articles").status for _ in range(10)] == [200] * 10
            assert post(server, "/orders", {"article": 1, "amount": 1}, token).status == 201
            server.wait_log("the cache cannot be reached")
        finally:
            cache.start()
        server.wait_until(lambda: server.get("/articles") and server.get("/status").json()["redis"], "it is used again")
        assert post(server, "/orders", {"article": 1, "amount": 1}, token).status == 201
        assert len(server.get("/orders", f"Authorization: Bearer {token}").json()) == 2
