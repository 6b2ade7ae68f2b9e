"""Certificates that are wrong in ways that need more than one of them, or a weak one; test_tls.py has the others."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from peers import Peer, answer

from service_utils import http

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
HOST = "shop.good.invalid"


@dataclass
class Signed:
    """A certificate and its key; ``by`` has signed it (None: itself)."""

    name: str
    by: Signed | None = None
    authority: bool = False
    hosts: tuple[str, ...] = ()
    since: int = -1
    until: int = 30
    only_below: str = ""  # what an authority may sign for
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        signer = self.by or self
        names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one.name)]) for one in (self, signer)]
        builder = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1])
        builder = builder.public_key(self.key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(NOW + self.since * DAY).not_valid_after(NOW + self.until * DAY)
        builder = builder.add_extension(x509.BasicConstraints(self.authority, None), critical=True)
        mine = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        theirs = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
        builder = builder.add_extension(mine, critical=False).add_extension(theirs, critical=False)
        usage = x509.KeyUsage(True, False, False, False, False, self.authority, self.authority, False, False)
        builder = builder.add_extension(usage, critical=True)
        if self.only_below:
            below = x509.NameConstraints([x509.DNSName(self.only_below)], None)
            builder = builder.add_extension(below, critical=True)
        if self.hosts:
            places: list[x509.GeneralName] = [
                x509.IPAddress(ipaddress.ip_address(host)) if host == "127.0.0.1" else x509.DNSName(host)
                for host in self.hosts
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(places), critical=False)
        self.certificate = builder.sign(signer.key, hashes.SHA256())

    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def private(self) -> bytes:
        kind, form = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
        return bytes(self.key.private_bytes(form, kind, serialization.NoEncryption()))


@pytest.fixture
def visit(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Asks a server that shows these certificates, trusting one of them; the body of the answer."""
    peers: list[Peer] = []

    def visit(trusted: Signed, shown: list[Signed], host: str = HOST) -> str:
        (tmp_path / "chain.pem").write_bytes(b"".join(one.pem() for one in shown) + shown[0].private())
        (tmp_path / "trusted.pem").write_bytes(trusted.pem())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("DEFAULT@SECLEVEL=0")  # it is the client who shall refuse
        context.load_cert_chain(tmp_path / "chain.pem")
        peers.append(Peer(lambda seen: answer("secret"), tls=context))
        resolver = http.Resolver(lambda host, port: [(socket.AF_INET, ("127.0.0.1", port))])
        with http.Client(verify=str(tmp_path / "trusted.pem"), resolver=resolver, retries=None) as client:
            return client.get(f"https://{host}:{peers[-1].port}/").text

    yield visit
    for peer in peers:
        peer.stop()


def test_chains(visit: Callable[..., str]) -> None:
    root = Signed("root", authority=True)
    middle = Signed("middle", root, authority=True)
    good = Signed("good", middle, hosts=(HOST,))
    assert visit(root, [good, middle]) == "secret"
    old_root = Signed("old root", authority=True, since=-30, until=-1)
    old_middle = Signed("old middle", root, authority=True, since=-30, until=-1)
    narrow = Signed("narrow", root, authority=True, only_below="other.invalid")
    short = rsa.generate_private_key(65537, 1024)
    cases: dict[str, tuple[Signed, list[Signed]]] = {
        "unable to get local issuer": (root, [good]),
        "invalid CA|not a CA|no CA": (root, [Signed("evil", good, hosts=(HOST,)), good, middle]),
        "expired": (old_root, [Signed("x", old_root, hosts=(HOST,))]),
        "has expired": (root, [Signed("x", old_middle, hosts=(HOST,)), old_middle]),
        "permitted subtree violation": (root, [Signed("x", narrow, hosts=(HOST,)), narrow]),
        "too weak|too small": (root, [Signed("x", middle, hosts=(HOST,), key=short), middle]),
        "signature failure|unable to get local issuer": (Signed("root", authority=True), [good, middle]),
    }
    for why, (trusted, shown) in cases.items():
        with pytest.raises(http.CertificateRefused, match=rf"its certificate is not accepted: .*({why})"):
            visit(trusted, shown)


@pytest.mark.parametrize(
    ("names", "host", "good"),
    [
        (("*.good.invalid",), "shop.good.invalid", True),
        (("*.good.invalid",), "good.invalid", False),
        (("*.good.invalid",), "a.shop.good.invalid", False),
        (("*.invalid",), "shop.good.invalid", False),
        (("s*p.good.invalid",), "shop.good.invalid", False),
        (("*",), "localhost", False),
        (("shop.good.invalid.evil.invalid",), "shop.good.invalid", False),
        (("good.invalid",), "shop.good.invalid", False),
        (("SHOP.good.invalid",), "shop.good.invalid", True),
        (("127.0.0.1",), "shop.good.invalid", False),
        (("127.0.0.1.invalid",), "127.0.0.1", False),
    ],
)
def test_names(visit: Callable[..., str], names: tuple[str, ...], host: str, good: bool) -> None:
    """RFC 9525 section 6."""
    root = Signed("root", authority=True)
    shown = Signed(host, root, hosts=names)
    if good:
        assert visit(root, [shown], host) == "secret"
    else:
        with pytest.raises(http.CertificateRefused, match="mismatch"):
            visit(root, [shown], host)
