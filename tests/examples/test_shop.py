"""The shop: what it shows, who may order, and what happens when the cache or a service is not there."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving import Answer, Server

sys.path.insert(0, str(Path(__file__).parents[1] / "service_utils"))
import servers

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
    assert server.get("/articles?currency=%3Cx").status == 400
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
