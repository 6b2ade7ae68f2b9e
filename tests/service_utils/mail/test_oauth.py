"""Tokens of Google and Microsoft, from servers of the tests."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from service_utils.mail import LoginFailed, MailUnavailable, gmail_token, outlook_token

#: not ours: these libraries warn of Pythons to come
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture
def google() -> Iterator[Any]:
    class Server(http.server.ThreadingHTTPServer):
        answer = 200, {"access_token": "t1", "expires_in": 3600, "token_type": "Bearer"}
        asked = 0

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            server: Any = self.server
            server.asked += 1
            body = json.dumps(server.answer[1]).encode()
            self.send_response(server.answer[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def account(port: int) -> dict[str, Any]:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {
        "type": "service_account",
        "client_email": "robot@example.org",
        "private_key": pem,
        "token_uri": f"http://127.0.0.1:{port}/token",
    }


def test_gmail(google: Any) -> None:
    port = google.server_port
    token = gmail_token(account(port), "ann@example.org")
    assert [g.get() for g in [gevent.spawn(token) for _ in range(3)]] == ["t1"] * 3
    assert google.asked == 1
    google.answer = 400, {"error": "unauthorized_client", "error_description": "no delegation"}
    with pytest.raises(LoginFailed, match="no delegation"):
        gmail_token(account(port), "ann@example.org")()


class Answer:
    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status_code = status
        self.text = json.dumps(body)
        self.headers: dict[str, str] = {}

    def raise_for_status(self) -> None:
        assert self.status_code < 400


class Microsoft:
    """Stands for requests."""

    def __init__(self) -> None:
        self.answer = Answer(200, {"access_token": "m1", "expires_in": 3600, "token_type": "Bearer"})
        self.asked = 0
        self.fails = False

    def get(self, url: str, **_: Any) -> Answer:
        base = "https://login.microsoftonline.com/tenant/oauth2/v2.0"
        return Answer(
            200,
            {
                "token_endpoint": f"{base}/token",
                "authorization_endpoint": f"{base}/authorize",
                "device_authorization_endpoint": f"{base}/devicecode",
                "issuer": "https://login.microsoftonline.com/tenant/v2.0",
            },
        )

    def post(self, url: str, **_: Any) -> Answer:
        self.asked += 1
        if self.fails:
            raise OSError("no network")
        return self.answer

    def close(self) -> None:
        pass


def test_outlook() -> None:
    microsoft = Microsoft()
    token = outlook_token("id", "secret", "tenant", http_client=microsoft)
    assert [gevent.spawn(token).get(), token()] == ["m1", "m1"]
    assert microsoft.asked == 1
    refused = Microsoft()
    refused.answer = Answer(401, {"error": "invalid_client", "error_description": "wrong secret"})
    with pytest.raises(LoginFailed, match="wrong secret"):
        outlook_token("id", "secret", "tenant", http_client=refused)()
    away = Microsoft()
    away.fails = True
    with pytest.raises(MailUnavailable, match="no network"):
        outlook_token("id", "secret", "tenant", http_client=away)()
