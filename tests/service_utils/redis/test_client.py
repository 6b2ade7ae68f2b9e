"""Commands against a real server, from all kinds of callers; connections that die, requests that are killed."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gevent
import pytest
import redis
import servers
from flows import PATIENCE, freeze, in_thread, until
from forks import ended_well, in_child
from serving import free_port

from service_utils.pool import PoolExhausted
from service_utils.redis import Redis, connect, connect_cluster

Make = Callable[..., Redis]
KILLS = int(os.environ.get("EVPY_KILLS", "200"))
AWKWARD = [
    b"",
    b" ",
    b"a b",
    b"100%s %d %n",
    b"\0",
    b"\r\n",
    b"$5\r\nhello\r\n",
    b"*3\r\n",
    bytes(range(256)),
    b"x" * 200_000,
]


@pytest.mark.parametrize("value", AWKWARD, ids=range(len(AWKWARD)))
def test_awkward_values(client: Redis, value: bytes) -> None:
    """As keys, values, members and arguments of scripts."""
    key = b"key" + value
    client.set(key, value)
    client.hset(b"h" + key, key, value)
    client.rpush(b"l" + key, value, value)
    assert client.get(key) == client.hget(b"h" + key, key) == client.lindex(b"l" + key, 1) == value
    assert client.eval("return {KEYS[1], ARGV[1]}", 1, key, value) == [key, value]
    with client.pipeline() as pipe:
        assert pipe.get(key).set(key, value + b"2").get(key).execute() == [value, True, value + b"2"]


def test_kinds_of_data(client: Redis, make: Make) -> None:
    """Each once: the rest is redis-py's."""
    client.sadd("set", "a", "b")
    client.zadd("sorted", {"one": 1, "two": 2})
    client.xgroup_create("stream", "group", mkstream=True)
    entry = client.xadd("stream", {"field": "value"})
    assert client.xreadgroup("group", "me", {"stream": ">"})
    assert client.xack("stream", "group", entry) == 1
    assert (client.smembers("set"), client.zrange("sorted", 0, -1)) == ({b"a", b"b"}, [b"one", b"two"])
    assert client.register_script("return ARGV[1] * 2")(args=[21]) == 42
    with pytest.raises(redis.ResponseError):
        client.incr("set")
    text = make(text=True)
    text.set("é", "ü")
    assert text.get("é") == "ü"
    assert client.statistics().connected == 1, "an error of a command is no reason to end the connection"


def test_blocking_commands_wait_on_the_hub(client: Redis) -> None:
    """Twenty of them at the same time in one thread, with four connections: what is pushed reaches one each."""
    got: list[Any] = []
    waiting = [gevent.spawn(lambda: got.append(client.blpop(["list"], timeout=PATIENCE))) for _ in range(3)]
    while client.statistics().held < 3:
        gevent.sleep(0.001)
    client.rpush("list", 1, 2, 3)
    gevent.joinall(waiting, timeout=PATIENCE, raise_error=True)
    assert sorted(got) == [[b"list", b"1"], [b"list", b"2"], [b"list", b"3"]]


def test_publish_and_subscribe(client: Redis) -> None:
    """A listener waits on its hub, longer than answers may take, and ends with its connection."""
    heard: list[Any] = []

    def listen() -> None:
        with client.pubsub(ignore_subscribe_messages=True) as listener:
            listener.subscribe("news")
            while len(heard) < 2:
                message = listener.get_message(timeout=PATIENCE)
                if message is not None:
                    heard.append(message["data"])

    listening = gevent.spawn(listen)
    while not client.publish("news", b"one \0 %s"):
        gevent.sleep(0.001)
    client.publish("news", b"two")
    listening.get(timeout=PATIENCE)
    assert heard == [b"one \0 %s", b"two"]
    assert client.statistics().discarded == 1


def test_watch(client: Redis) -> None:
    client.set("n", 1)

    def more(pipe: Any) -> None:
        n = int(pipe.get("n"))
        if n < 3:
            client.set("n", n + 1)  # somebody else is faster
        pipe.multi()
        pipe.set("n", n * 10)

    client.transaction(more, "n")
    assert client.get("n") == b"30"


def test_one_client_for_all_kinds_of_callers(client: Redis) -> None:
    def ask(who: int) -> None:
        for n in range(50):
            assert client.echo(f"{who} {n}") == b"%d %d" % (who, n)

    def hub(first: int) -> None:
        gevent.joinall([gevent.spawn(ask, who) for who in range(first, first + 5)], raise_error=True)

    flows = [in_thread(lambda f=first: hub(f), hub=True) for first in (0, 10)]  # type: ignore[misc]
    flows += [in_thread(lambda w=who: ask(w)) for who in (20, 21)]  # type: ignore[misc]
    for flow in flows:
        flow.result(60)
    assert client.statistics().connected <= 4


def test_killed_in_the_middle_of_a_command(client: Redis) -> None:
    """By timeouts and kills, in two hubs: each answer is that to one's own question."""
    killed: list[int] = []

    def ask(rng: random.Random) -> None:
        words = [str(rng.randrange(10**9)).encode() for _ in range(3)]
        with gevent.Timeout(rng.random() * 0.003, False):
            try:
                if rng.random() < 0.5:
                    assert client.echo(words[0] * 5000) == words[0] * 5000, "somebody else's answer"
                else:
                    pipe = client.pipeline(transaction=False)
                    for word in words:
                        pipe.echo(word)
                    assert pipe.execute() == words, "somebody else's answer"
            except PoolExhausted:
                pass
            return
        killed.append(1)

    def ask_and_be_killed(rng: random.Random) -> None:
        asking = gevent.spawn(ask, rng)
        gevent.sleep(rng.random() * 0.003)
        asking.kill()
        if asking.exception is not None:
            raise asking.exception

    def flow(seed: int) -> None:
        rng = random.Random(seed)
        for n in range(KILLS // 8):
            (ask if n % 2 else ask_and_be_killed)(rng)

    def hub(first: int) -> None:
        gevent.joinall([gevent.spawn(flow, seed) for seed in range(first, first + 4)], raise_error=True)

    for running in [in_thread(lambda f=first: hub(f), hub=True) for first in (0, 4)]:  # type: ignore[misc]
        running.result(120)
    assert killed
    assert client.echo("last") == b"last"


def test_interrupted_between_sending_and_reading(client: Redis) -> None:
    """The connection comes back with an answer outstanding: it is ended, whether or not the answer is there by now."""
    for command in (["ECHO", "evil"], ["BLPOP", "nothing", "0"]):
        connection = client.connection_pool.get_connection()
        connection.send_command(*command)
        client.connection_pool.release(connection)
        assert client.statistics().idle == 0
        assert client.echo("good") == b"good"
    assert client.statistics().discarded == 2


def test_closed_by_the_server(client: Redis, make: Make) -> None:
    """While it was idle: noticed before it is used."""
    client.ping()
    assert make().client_kill_filter(_type="normal", skipme=True) == 1
    (slot,) = client.connection_pool.pool._idle
    until(lambda: select.select([slot.connection._sock], [], [], 0)[0])
    assert client.incr("a") == 1


@pytest.mark.leaves_behind("the server, started again")
def test_server_restarted(client: Redis, server: Any) -> None:
    """Errors while it is away; then it is there again, without one more."""
    client.set("a", 1)
    server.stop(signal.SIGKILL)
    for _ in range(3):
        with pytest.raises(redis.ConnectionError):
            client.incr("a")
    server.start()
    assert client.incr("a") == 1


def test_server_that_does_not_answer(make: Make, server: Any) -> None:
    client = make(timeout=1)
    client.ping()
    freeze(server.process.pid)
    try:
        with pytest.raises(redis.TimeoutError):
            gevent.spawn(client.incr, "a").get()
        with pytest.raises((redis.TimeoutError, redis.ConnectionError)):
            make(timeout=1).ping()
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert client.ping()


def test_the_pool_is_exhausted(make: Make) -> None:
    client = make(size=1, pool_timeout=1)
    waiting = in_thread(lambda: client.blpop(["list"], timeout=PATIENCE))
    until(lambda: client.statistics().held)
    with pytest.raises(PoolExhausted, match="Held longest by"):
        client.ping()
    make().rpush("list", "x")
    assert waiting.result(PATIENCE) == [b"list", b"x"]


def test_fork(client: Redis) -> None:
    mine = client.client_id()

    def child() -> None:
        assert client.client_id() != mine

    assert ended_well(in_child(child))
    assert client.client_id() == mine


def test_users_and_databases(make: Make, server: Any) -> None:
    admin = make()
    admin.acl_setuser("u@ser", enabled=True, passwords=["+p:@ss%"], keys=["*"], commands=["+@all"], reset=True)
    url = f"redis://u%40ser:{quote('p:@ss%')}@127.0.0.1:{server.port}/3"
    user = make(url)
    user.set("a", 1)
    assert (user.acl_whoami(), admin.get("a"), make(server.url[:-1] + "3").get("a")) == (b"u@ser", None, b"1")
    with pytest.raises(redis.AuthenticationError):
        make(f"redis://u%40ser:wrong@127.0.0.1:{server.port}/3").ping()
    with pytest.raises(redis.AuthenticationError):
        make(f"redis://127.0.0.1:{server.port}/0").ping()
    assert servers.PASSWORD not in repr(admin)


def test_tls(make: Make, server: Any) -> None:
    """Verified; values longer than a record. And over a Unix socket."""
    url = server.url.replace("redis:", "rediss:").replace(str(server.port), str(server.tls_port))
    client = make(url, ssl_ca_certs=str(server.folder / "cert.pem"))
    client.set("a", b"x" * 100_000)
    assert gevent.spawn(client.get, "a").get() == b"x" * 100_000
    with pytest.raises(redis.ConnectionError, match="self-signed certificate"):
        make(url).ping()
    with pytest.raises(redis.ConnectionError, match=r"Hostname mismatch|not valid for"):
        make(url.replace("127.0.0.1", "localhost"), ssl_ca_certs=str(server.folder / "cert.pem")).ping()
    unix = make(f"unix://:{quote(servers.PASSWORD, safe='')}@{server.folder}/socket")
    assert unix.strlen("a") == 100_000
    assert ssl.HAS_TLSv1_2


@pytest.fixture
def sentinel(server: Any) -> Iterator[int]:
    port = free_port()
    process: subprocess.Popen[bytes] = server.sentinel(port)
    yield port
    process.kill()
    process.wait()


def test_sentinel(make: Make, server: Any, sentinel: int) -> None:
    """The address is asked for; one of the sentinels may be down."""
    client = make(server.url, sentinels=[("127.0.0.1", 1), ("127.0.0.1", sentinel)])

    def there() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    until(there)
    assert client.config_get("port") == {"port": str(server.port)}
    lost = make(server.url, sentinels=[("127.0.0.1", sentinel)], service="other")
    with pytest.raises(redis.ConnectionError, match="No master found for 'other'"):
        lost.ping()


@pytest.fixture
def cluster(server: Any, make: Make, tmp_path: Path) -> Iterator[str]:
    """One node that has everything."""
    url = f"redis://127.0.0.1:{free_port()}"
    flags = ["--port", url.rpartition(":")[2], "--cluster-enabled", "yes", "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen([server.need("redis-server"), *flags], stdout=subprocess.DEVNULL)
    node = make(url)

    def ready() -> bool:
        try:
            return dict(node.cluster("INFO"))["cluster_state"] == "ok"
        except redis.ConnectionError:
            return False

    until(lambda: ready() or _give_slots(node))
    yield url
    process.kill()
    process.wait()


def _give_slots(node: Redis) -> None:
    with contextlib.suppress(redis.RedisError):  # not there yet, or given already
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)


def test_cluster(cluster: str) -> None:
    """Cooperative: a waiting greenlet keeps nobody else waiting."""
    client: Any = connect_cluster(cluster, size=4)
    try:
        waiting = gevent.spawn(client.blpop, ["list"], timeout=PATIENCE)
        for n in range(20):
            client.set(f"key {n}", n)
        assert client.mget_nonatomic([f"key {n}" for n in range(20)]) == [b"%d" % n for n in range(20)]
        client.rpush("list", "x")
        assert waiting.get(timeout=PATIENCE) == [b"list", b"x"]
        with client.pipeline() as pipe:
            assert pipe.set("a", 1).get("a").execute() == [True, b"1"]
        pools = [node.redis_connection.connection_pool.pool for node in client.get_nodes()]
        assert [(pool.statistics().held, pool.size) for pool in pools] == [(0, 4)]
    finally:
        client.close()


def test_url_is_checked() -> None:
    before = threading.active_count()
    for url in ("http://127.0.0.1", "redis//x", "redis://h:port"):
        with pytest.raises(ValueError, match=r"\w"):
            connect(url)
    for url in ("redis://u:s3cret/x@h", "redis://u:s3cret\u2100@h"):
        with pytest.raises(ValueError, match="percent-encoded") as caught:
            connect(url)
        assert "s3cret" not in str(caught.value)
    assert threading.active_count() <= before  # none was started
