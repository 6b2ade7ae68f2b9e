"""A shop: a database, a cache in Redis, two services that are called over HTTP, and tokens for those who order.

scripts/run examples/shop/main.py, then http://127.0.0.1:8000/
Everything has a default, so that nothing else must run: SHOP_DB (SQLite, in shop.sqlite beside this script; or
postgresql://user:password@localhost/shop), SHOP_REDIS (redis://127.0.0.1:6379/0; without one the shop works, and asks
more often), SHOP_STOCK and SHOP_RATES (URLs of the two services; by default each worker plays them, see upstreams.py).
"""

import html
import os
from pathlib import Path

import upstreams

from evpy import HTTPError, Response, Router, gather
from service_utils import http
from service_utils.db import connect
from service_utils.pool import PoolExhausted
from service_utils.redis import Cache, RateLimiter
from service_utils.redis import connect as connect_redis
from service_utils.security import Key, TokenIssuer, TokenVerifier, hash_password, random_token, verify_password

ARTICLES = [("Tea", 320), ("Coffee", 450), ("<b>Cocoa</b>", 510)]  # prices in cents of a euro
SCHEMA = """
create table if not exists article (id integer primary key, name varchar(100) not null, cents integer not null);
create table if not exists customer (name varchar(100) primary key, password varchar(200) not null);
create table if not exists purchase (
    id varchar(40) primary key, customer varchar(100) not null, article integer not null, amount integer not null);
create table if not exists setting (name varchar(100) primary key, text varchar(200) not null)
"""
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Shop</title>
<style>body {{ font: 16px sans-serif; max-width: 40em; margin: 2em auto }} td {{ padding: .2em 1em .2em 0 }}</style>
<h1>Shop</h1><table><tr><th>article<th>{currency}<th>in stock</tr>{rows}</table>
<p>Prices in <a href="/">EUR</a>, <a href="/?currency=USD">USD</a>, <a href="/?currency=JPY">JPY</a>.
Orders: POST /customers, POST /orders (see the script)."""
ROW = "<tr><td>{}<td>{:.2f}<td>{}</tr>\n"
PROBLEMS = (http.HttpClientError, PoolExhausted)  # of calls to the services

db = connect(os.environ.get("SHOP_DB") or f"sqlite:{Path(__file__).with_name('shop.sqlite')}", size=16)
redis = connect_redis(os.environ.get("SHOP_REDIS") or "redis://127.0.0.1:6379/0", timeout=1)
cache = Cache(redis, prefix="shop:")
limiter = RateLimiter(redis, limit=20, period=60, prefix="shop:rate:")
services = {}  # name: client
tokens = {}
handle = Router()


def on_start():
    for name in ("stock", "rates"):
        url = os.environ.get(f"SHOP_{name.upper()}") or upstreams.start(name)
        timeouts = http.Timeouts(connect=0.5, first_byte=1, total=2)
        services[name] = http.Client(url, timeouts=timeouts, retries=http.Retries(attempts=2))
    with db.transaction() as tx:
        if db.dialect == "postgresql":
            tx.query("select pg_advisory_xact_lock(1)")  # all workers start at the same time
        for statement in SCHEMA.split(";"):
            tx.execute(statement)
        if not tx.value("select count(*) from article"):
            for number, (name, cents) in enumerate(ARTICLES, 1):
                tx.insert("article", {"id": number, "name": name, "cents": cents})
            tx.insert("setting", {"name": "key", "text": random_token(32)})
        key = Key.from_secret(tx.value("select text from setting where name = 'key'"), "HS256")
    tokens["issue"] = TokenIssuer(key, issuer="shop", audience="shop", lifetime=3600).issue
    tokens["verify"] = TokenVerifier(key, issuer="shop", audience="shop").verify_request


def on_stop():
    for client in services.values():
        client.close()
    upstreams.stop()
    redis.close()
    db.close()


@cache.cached(ttl=30, stale=300)
def articles():
    return db.query("select id, name, cents from article order by id")


@cache.cached(ttl=60, stale=3600)
def rate(currency):
    answer = services["rates"].get("/rate", params={"currency": currency})
    if answer.status == 404:
        return None
    return answer.raise_for_status().json(dict[str, float])["rate"]  # what is kept was really said


def stock():
    """How many there are of each article; nothing when nobody knows: the shop is open all the same."""
    try:
        return services["stock"].get("/stock").raise_for_status().json(dict[str, int])
    except PROBLEMS:
        return {}


def catalogue(currency):
    if len(currency) != 3 or not currency.isalpha():  # what strangers write is not kept in the cache
        raise HTTPError(400, "a currency has three letters")
    # The database (or the cache) and both services are asked at the same time.
    try:
        known, factor, left = gather(articles, lambda: rate(currency), stock)
    except PROBLEMS as error:
        raise HTTPError(503, "the exchange rates cannot be had, try again later") from error
    if factor is None:
        raise HTTPError(400, f"there are no prices in {currency[:10]!r}")
    return [
        {"id": a["id"], "name": a["name"], "price": round(a["cents"] * factor) / 100, "stock": left.get(str(a["id"]))}
        for a in known
    ]


@handle.get("/")
def page(request):
    currency = request.query.get("currency", "EUR")
    rows = "".join(
        ROW.format(html.escape(a["name"]), a["price"], "?" if a["stock"] is None else a["stock"])
        for a in catalogue(currency)
    )
    return Response(PAGE.format(currency=html.escape(currency), rows=rows), content_type="text/html; charset=utf-8")


@handle.get("/articles")
def show_articles(request):
    return catalogue(request.query.get("currency", "EUR"))


def wanted(request, **types):
    """The fields of the request's JSON; 400 unless they have these types."""
    fields = request.json
    if not isinstance(fields, dict) or any(type(fields.get(name)) is not kind for name, kind in types.items()):
        raise HTTPError(400, "give JSON with " + ", ".join(f"{name} ({kind.__name__})" for name, kind in types.items()))
    return [fields[name] for name in types]


def limit(what):
    """429 when it was done too often; without Redis nobody counts."""
    try:
        allowance = limiter.take(what)
    except Exception:  # noqa: BLE001 - whatever keeps Redis from answering
        return
    if not allowance:
        raise HTTPError(429, "too often", {"Retry-After": str(int(allowance.retry_after) + 1)})


@handle.post("/customers")
def enter(request):
    """Registers whoever is new; a token for everybody with the right password."""
    name, password = wanted(request, name=str, password=str)
    if not 0 < len(name) <= 100 or not 0 < len(password) <= 100:
        raise HTTPError(400, "a name and a password have 1 to 100 characters")
    limit(f"enter:{name}")
    known = "select name, password from customer where name = :name"
    row = db.first(known, name=name)
    if row is None:
        values = {"name": name, "password": hash_password(password)}
        db.execute("insert into customer (name, password) values (:name, :password) on conflict do nothing", values)
        row = db.one(known, name=name)  # perhaps somebody else was faster
    kept = row["password"]
    if not verify_password(kept, password):
        raise HTTPError(403, "that is not the password")
    return {"token": tokens["issue"](name)}


@handle.post("/orders")
def order(request):
    customer = tokens["verify"](request).subject
    article, amount = wanted(request, article=int, amount=int)
    if not 0 < amount <= 100 or all(article != a["id"] for a in articles()):
        raise HTTPError(400, "there is no such article, or not so many")
    limit(f"order:{customer}")
    number = random_token(16)
    try:
        # The number makes it safe to send this twice.
        wish = {"order": number, "article": article, "amount": amount}
        answer = services["stock"].post("/reserve", json=wish, idempotent=True)
        if answer.status == 409:
            raise HTTPError(409, "there are not so many left")
        answer.raise_for_status()
    except PROBLEMS as error:
        raise HTTPError(503, "the stock cannot be reached, try again later") from error
    with db.transaction() as tx:
        tx.insert("purchase", {"id": number, "customer": customer, "article": article, "amount": amount})
    return {"order": number}, 201


@handle.get("/orders")
def orders(request):
    customer = tokens["verify"](request).subject
    return db.query(
        "select id, article, amount from purchase where customer = :customer order by id", customer=customer
    )


@handle.get("/status")
def status(request):
    return {name: client.circuits() for name, client in services.items()} | {"redis": redis.statistics().connected}
