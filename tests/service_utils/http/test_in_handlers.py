"""In a real server, whose modules are patched: names that handlers look up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dns_server import AAAA, SOA, A, DnsServer
from peers import Peer, answer
from serving import Server

HANDLERS = """
import os
import evpy
from service_utils.http import Client, Resolver
from service_utils.ares import AresLookup

lookup = AresLookup(servers=[os.environ["TEST_DNS"]])
scripted = Client(resolver=Resolver(lookup, least_ttl=0, most_ttl=0), retries=None)
usual = Client(retries=None)
handle = evpy.Router()


@handle.get("/visit")
def visit(request):
    client = usual if request.query.get("usual") else scripted
    return client.get(request.query["url"]).text
"""


def test_names(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(HANDLERS)
    peer = Peer(lambda seen: answer(seen.fields["host"]))
    nothing = [("test", SOA, 1, "1")]
    names = lambda name, kind: [(name, A, 0, "127.0.0.1")] if kind == A and name == "shop.test" else nothing  # noqa: E731
    try:
        with DnsServer(names) as dns:
            flags = ("-w", "1", "--threads", "2")
            with Server(tmp_path / "main.py", *flags, env={"TEST_DNS": dns.address}) as server:
                with ThreadPoolExecutor(8) as pool:
                    url = f"/visit?url=http://shop.test:{peer.port}/"
                    texts = list(pool.map(lambda _: server.get(url).body.decode(), range(100)))
                assert texts == [f"shop.test:{peer.port}"] * 100
                url = f"/visit?usual=1&url=http://localhost:{peer.port}/"
                assert server.get(url).body.decode() == f"localhost:{peer.port}"
            assert {("shop.test", A), ("shop.test", AAAA)} <= set(dns.asked)
    finally:
        peer.stop()
