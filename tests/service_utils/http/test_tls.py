"""HTTPS: certificates that are wrong in every way, client certificates, names, redirects to clear text, proxies."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from peers import Peer, Visit, answer, redirect

from service_utils import http

Serve = Callable[..., Peer]
Make = Callable[..., http.Client]
DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.path = folder / f"{name}.pem"
        builder = self._builder(self.name, self.key).issuer_name(self.name)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.certificate = builder.add_extension(usage, critical=True).sign(self.key, hashes.SHA256())
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    @staticmethod
    def _builder(name: x509.Name, key: Any, since: int = -1, until: int = 30) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(name).public_key(key.public_key())
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now + since * DAY).not_valid_after(now + until * DAY)

    def sign(
        self, file: str, *names: str, since: int = -1, until: int = 30, own: bool = False, client: bool = False
    ) -> tuple[str, str]:
        """Paths of certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, file)])
        alternatives: list[x509.GeneralName] = []
        for one in names:
            try:
                alternatives.append(x509.IPAddress(ipaddress.ip_address(one)))
            except ValueError:
                alternatives.append(x509.DNSName(one))
        use = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        signer = key if own else self.key
        builder = self._builder(name, key, since, until).issuer_name(name if own else self.name)
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(signer, hashes.SHA256())
        paths = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return str(paths[0]), str(paths[1])


def server_side(certificate: tuple[str, str], authority: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority)
    return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def local(host: str, port: int) -> list[Any]:
    return [(socket.AF_INET, ("127.0.0.1", port))]


def test_https(serve: Serve, make: Make, authority: Authority) -> None:
    """Verified, with SNI and ALPN; bodies longer than a record; connections are kept."""
    context = server_side(authority.sign("good", "shop.invalid", "127.0.0.1"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    asked: list[Any] = []
    context.sni_callback = lambda sock, name, _: asked.append(name)
    peer = serve(lambda seen: answer(seen.body * 2), tls=context)
    client = make(verify=str(authority.path), resolver=http.Resolver(local))
    body = bytes(range(256)) * 2000
    for _ in range(3):
        assert client.post(f"https://shop.invalid:{peer.port}/", content=body).content == body * 2
    assert client.get(peer.url).ok
    assert (peer.connections, asked) == (2, ["shop.invalid", None])
    with client.stream("POST", f"https://shop.invalid:{peer.port}/", content=iter([body] * 5)) as response:
        assert sum(map(len, response.iter_bytes())) == 10 * len(body)


def test_early_answer_to_a_large_body(serve: Serve, make: Make, authority: Authority) -> None:
    """The server answers, reads no further and stays: that is the answer. Tickets for sessions, which come first, are
    none."""

    def talk(visit: Any) -> None:
        visit.request(body=False)
        visit.send(answer(b"too large", "413 Content Too Large"))
        over.wait(60)

    over = threading.Event()
    peer = serve(talk=talk, tls=server_side(authority.sign("good", "127.0.0.1")))
    try:
        client = make(peer.url, verify=str(authority.path))
        response = client.post("/", content=(bytes(65536) for _ in range(2000)))
        assert (response.status, response.content) == (413, b"too large")
        assert peer.connections == 1
    finally:
        over.set()


@pytest.mark.parametrize(
    ("names", "more", "why"),
    [
        (["127.0.0.1"], {"since": -30, "until": -1}, "expired"),
        (["127.0.0.1"], {"since": 1}, "not yet valid"),
        (["other.invalid"], {}, "IP address mismatch"),
        ([], {}, "IP address mismatch"),
        (["127.0.0.1"], {"own": True}, "self-signed"),
        (["127.0.0.1"], {"client": True}, "[Pp]urpose"),
    ],
)  # fmt: skip
def test_wrong_certificates(
    serve: Serve, make: Make, authority: Authority, names: list[str], more: dict[str, Any], why: str
) -> None:
    peer = serve(lambda seen: answer(b"never"), tls=server_side(authority.sign("wrong", *names, **more)))
    with pytest.raises(
        http.CertificateRefused, match=rf"127.0.0.1:{peer.port}: its certificate is not accepted: .*{why}"
    ):
        make(peer.url, verify=str(authority.path), retries=None).get("/")
    assert not peer.seen


def test_unknown_authority_and_wrong_name(serve: Serve, make: Make, authority: Authority, tmp_path: Path) -> None:
    peer = serve(lambda seen: answer(b"never"), tls=server_side(authority.sign("good", "shop.invalid", "127.0.0.1")))
    with pytest.raises(http.CertificateRefused, match="unable to get local issuer"):
        make(retries=None).get(peer.url)
    with pytest.raises(http.CertificateRefused, match=r"unable to get local issuer|signature"):
        make(retries=None, verify=str(Authority(tmp_path, "impostor").path)).get(peer.url)
    client = make(retries=None, verify=str(authority.path), resolver=http.Resolver(local))
    with pytest.raises(http.CertificateRefused, match=r"Hostname mismatch.*evil.invalid"):
        client.get(f"https://evil.invalid:{peer.port}/")
    assert not peer.seen


def test_not_tls(serve: Serve, make: Make, authority: Authority) -> None:
    """Clear text, old TLS, a server that says nothing: none of it is talked to."""
    plain = serve(talk=lambda visit: visit.send(answer(b"never") * 10))
    silent = serve(talk=Visit.gone)
    context = server_side(authority.sign("good", "127.0.0.1"))
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    client = make(retries=None, verify=str(authority.path))
    with pytest.raises(http.ConnectFailed, match="cannot connect"):
        client.get(plain.url.replace("http", "https"))
    with pytest.raises(http.ConnectTimedOut):
        client.get(silent.url.replace("http", "https"), timeout=http.Timeouts(connect=0.1))


def test_client_certificates(serve: Serve, make: Make, authority: Authority) -> None:
    """Shown to whom the client talks, not to where a redirect leads."""
    server = authority.sign("good", "127.0.0.1")
    mine = authority.sign("me", client=True)
    strict = serve(lambda seen: answer(b"hello"), tls=server_side(server, authority.path))
    peer = serve(lambda seen: redirect(strict.url), tls=server_side(server))
    client = make(verify=str(authority.path), certificate=mine, retries=None)
    assert client.get(strict.url).content == b"hello"
    with pytest.raises((http.ConnectionLost, http.ConnectFailed)):
        client.get(peer.url)
    with pytest.raises((http.ConnectionLost, http.ConnectFailed)):
        make(verify=str(authority.path), retries=None).get(strict.url)
    assert len(strict.seen) == 1


def test_redirect_to_clear_text(serve: Serve, make: Make, authority: Authority) -> None:
    plain = serve(lambda seen: answer(b"plain"))
    peer = serve(lambda seen: redirect(plain.url), tls=server_side(authority.sign("good", "127.0.0.1")))
    with pytest.raises(http.RedirectRefused, match=r"from https to http://.*allow_downgrade=True"):
        make(peer.url, verify=str(authority.path)).get("/")
    assert make(peer.url, verify=str(authority.path), allow_downgrade=True).get("/").content == b"plain"


def test_through_a_proxy(serve: Serve, make: Make, authority: Authority) -> None:
    """CONNECT; what the proxy says is not the server's word."""
    peer = serve(lambda seen: answer(seen.target), tls=server_side(authority.sign("good", "shop.invalid")))

    def talk(visit: Visit) -> None:
        seen = visit.request()
        assert seen is not None
        if seen.fields.get("proxy-authorization") != "Basic dTpw":
            visit.send(answer(b"who?", "407 Proxy Authentication Required"))
            return
        visit.send(b"HTTP/1.1 200 Connected\r\n\r\n")
        with socket.create_connection(("127.0.0.1", peer.port)) as onward:

            def back() -> None:
                with contextlib.suppress(OSError):
                    while data := onward.recv(65536):
                        visit.send(data)

            thread = threading.Thread(target=back)
            thread.start()
            while data := visit.sock.recv(65536):
                onward.sendall(data)
            with contextlib.suppress(OSError):
                onward.shutdown(socket.SHUT_RDWR)
            thread.join()

    proxy = serve(talk=talk)
    client = make("https://shop.invalid", verify=str(authority.path), proxy=f"http://u:p@127.0.0.1:{proxy.port}")
    assert [client.get(f"/{n}", auth="t").text for n in range(3)] == ["/0", "/1", "/2"]
    assert [(s.method, s.target) for s in proxy.seen] == [("CONNECT", "shop.invalid:443")]
    assert "authorization" not in proxy.seen[0].fields
    with pytest.raises(http.ConnectFailed, match="refuses: 407"):
        make("https://shop.invalid", verify=str(authority.path), proxy=proxy.url, retries=None).get("/")
