"""Reading mail: IMAP by IMAPClient, POP3 by the standard library, over streams that any hub and thread may use.

``open_imap`` gives an ``imapclient.IMAPClient`` (https://imapclient.readthedocs.io), ``open_pop3`` a ``poplib.POP3``:
all that they can do works, and waits on the hub of whoever calls. Each command has ``timeout`` seconds, and its answer
at most ``max_bytes``.

::

    with open_imap("imap.example", user="ann", password=...) as box:
        box.select_folder("INBOX", readonly=True)
        for number, found in box.fetch(box.search("UNSEEN"), ["RFC822"]).items():
            message = email.message_from_bytes(found[b"RFC822"], policy=email.policy.default)
"""

from __future__ import annotations

import base64
import functools
import imaplib
import poplib
import re
import ssl
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from evpy.errors import DeadlineExceeded, EvpyError
from service_utils.deadlines import DeadlinesPass
from service_utils.mail.errors import LoginFailed, MailUnavailable
from service_utils.mail.smtp import Token, is_local
from service_utils.mail.streams import MailTls, default_context, dial
from service_utils.security.secret_values import Secret

if TYPE_CHECKING:
    from imapclient import IMAPClient

__all__ = ["open_imap", "open_pop3"]

_ATOM = re.compile(r"[!#$&'+,./0-9:;<=>?@A-Z\[\]^_`a-z|}~-]+")  # RFC 3501 section 9
_CONTROL = re.compile(r"[\0-\x1f\x7f]")
MAX_LINE = 1_000_000  # bytes, as imaplib has it
TIMEOUT = 60.0
MAX_BYTES = 64 * 1024 * 1024


class _Imap4(imaplib.IMAP4):
    def __init__(self, host: str, port: int, dialled: Callable[[], Any]) -> None:
        self._dialled = dialled
        super().__init__(host, port)

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        self.host, self.port = host, port
        self.sock = self._dialled()
        self._reader = self.sock.makefile("rb")

    def read(self, size: int) -> bytes:
        stream: Any = self.sock
        if size > stream.limit:  # room for all of it would be made at once
            raise self.abort(f"a literal of {size} bytes; max_bytes is {stream.limit}")
        return self._reader.read(size)

    def readline(self) -> bytes:
        line = self._reader.readline(MAX_LINE + 1)
        if len(line) > MAX_LINE:
            raise self.error(f"a line of more than {MAX_LINE} bytes")
        return line

    def send(self, data: Any) -> None:
        self.sock.sendall(data)

    def shutdown(self) -> None:
        self._reader.close()
        self.sock.close()

    def secure(self, context: ssl.SSLContext) -> None:
        """STARTTLS. What was sent in clear text after the answer is thrown away with the old reader."""
        kind, text = self._simple_command("STARTTLS")
        if kind != "OK":
            raise MailUnavailable(f"{self.host}:{self.port} does not begin TLS: {text}")
        self.sock = MailTls(context).wrap_socket(self.sock, self.host)  # type: ignore[arg-type]
        self._reader = self.sock.makefile("rb")
        self._get_capabilities()

    def waiting(self) -> bool:
        """Waits until the deadline for something to read."""
        try:
            return bool(self._reader.peek(1))
        except EvpyError:  # a deadline of evpy is a TimeoutError, too
            raise
        except TimeoutError:
            return False


@functools.cache
def _client() -> Any:
    try:
        from imapclient import IMAPClient
        from imapclient.imapclient import _parse_untagged_response
    except ImportError as error:
        raise ImportError(f"IMAP needs IMAPClient: pip install 'evpy[mail]' ({error})") from error

    class Client(IMAPClient):  # type: ignore[misc, unused-ignore]
        """An IMAPClient over a stream."""

        def __init__(self, host: str, port: int, dialled: Callable[[], Any]) -> None:
            self._dialled = dialled
            super().__init__(host, port, ssl=False)

        def _create_IMAP4(self) -> _Imap4:  # noqa: N802
            return _Imap4(self.host, self.port, self._dialled)

        def _set_read_timeout(self) -> None:
            pass

        def __exit__(self, kind: object, *_: object) -> None:
            """Says good-bye; after an error it only hangs up: the server may be in the middle of something (IDLE)."""
            try:
                if kind is None:
                    self.logout()
            except EvpyError:  # a deadline of evpy
                raise
            except (imaplib.IMAP4.error, OSError):
                pass  # the connection has ended already
            finally:
                self.shutdown()

        def idle_check(self, timeout: float | None = None) -> list[Any]:
            """What the server has said since ``idle()``, at least one thing, or nothing after ``timeout`` seconds."""
            found = []
            imap, sock = self._imap, self._imap.sock
            sock.deadline = float("inf") if timeout is None else monotonic() + timeout
            while imap.waiting():
                sock.deadline = monotonic() + sock.each
                found.append(_parse_untagged_response(imap._get_line()))
                sock.deadline = 0.0  # whatever more is there already
            sock.deadline = float("inf")
            return found

    return Client


def open_imap(
    host: str,
    port: int | None = None,
    *,
    tls: str = "implicit",
    user: str = "",
    password: str | Secret = "",
    token: Token | None = None,
    context: ssl.SSLContext | None = None,
    timeout: float = TIMEOUT,
    max_bytes: int = MAX_BYTES,
) -> IMAPClient:
    """A mailbox, logged in. ``tls``: "implicit" (port 993), "starttls" (143), "none" (this host only if with a user).

    MailUnavailable, LoginFailed; later what IMAPClient raises. ImportError without IMAPClient.
    """
    _check(host, tls, user, password)
    port = port or (993 if tls == "implicit" else 143)
    where = f"{host}:{port}"
    context = context or default_context()
    dialled = functools.partial(_dial, host, port, tls, context, timeout, max_bytes)
    client: Any = None
    try:
        with DeadlinesPass():
            client = _client()(host, port, dialled)
            if tls == "starttls":
                client._imap.secure(context)
    except DeadlineExceeded:
        _end(client)
        raise
    except (imaplib.IMAP4.error, OSError) as error:
        _end(client)
        raise MailUnavailable(f"{where} cannot be reached: {error}") from error
    except BaseException:
        _end(client)
        raise
    if user:
        try:
            with DeadlinesPass():
                if token is not None:
                    client.oauth2_login(user, token() if callable(token) else token)
                else:
                    _imap_login(client, user, password.reveal() if isinstance(password, Secret) else password)
        except BaseException as error:
            _end(client)
            if isinstance(error, DeadlineExceeded):
                raise
            if isinstance(error, imaplib.IMAP4.abort):
                raise MailUnavailable(f"{where} has hung up: {error}") from error
            if isinstance(error, imaplib.IMAP4.error):
                raise LoginFailed(f"{where} does not accept {user}: {error}") from error
            if isinstance(error, OSError):
                raise MailUnavailable(f"{where} has hung up: {error}") from error
            raise
    return client


def _end(client: Any) -> None:
    if client is not None:
        client.shutdown()


class _Pop3(poplib.POP3):
    def __init__(self, host: str, port: int, dialled: Callable[[], Any]) -> None:
        self._dialled = dialled
        super().__init__(host, port)

    def _create_socket(self, timeout: Any) -> Any:
        return self._dialled()

    def oauth2(self, user: str, token: str) -> bytes:
        """AUTH XOAUTH2."""
        said = base64.b64encode(f"user={user}\x01auth=Bearer {token}\x01\x01".encode()).decode()
        return self._shortcmd(f"AUTH XOAUTH2 {said}")  # type: ignore[attr-defined, no-any-return]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Without an error: what was deleted is gone."""
        try:
            if kind is None:
                self.quit()
        finally:
            self.close()


def open_pop3(
    host: str,
    port: int | None = None,
    *,
    tls: str = "implicit",
    user: str = "",
    password: str | Secret = "",
    token: Token | None = None,
    context: ssl.SSLContext | None = None,
    timeout: float = TIMEOUT,
    max_bytes: int = MAX_BYTES,
) -> poplib.POP3:
    """A mailbox, logged in. ``tls``: "implicit" (port 995), "starttls" (110), "none" (this host only if with a user).

    MailUnavailable, LoginFailed; later what poplib raises.
    """
    _check(host, tls, user, password)
    port = port or (995 if tls == "implicit" else 110)
    context = context or default_context()
    stream: Any = None
    box: _Pop3 | None = None
    try:
        stream = _dial(host, port, tls, context, timeout, max_bytes)
        box = _Pop3(host, port, lambda: stream)
        if tls == "starttls":
            secured: Any = MailTls(context)
            box.stls(context=secured)
        if user:
            _login(box, user, password.reveal() if isinstance(password, Secret) else password, token)
    except BaseException as error:
        if box is not None:
            box.close()
        if stream is not None:  # poplib keeps it open if the greeting is not one
            stream.close()
        if isinstance(error, DeadlineExceeded):
            raise
        if isinstance(error, (poplib.error_proto, OSError)):
            raise MailUnavailable(f"{host}:{port} cannot be reached: {error}") from error
        raise
    return box


def _login(box: _Pop3, user: str, password: str, token: Token | None) -> None:
    try:
        if token is not None:
            box.oauth2(user, token() if callable(token) else token)
        else:
            box.user(user)
            box.pass_(password)
    except poplib.error_proto as error:
        raise LoginFailed(f"{box.host} does not accept {user}: {error}") from error


def _imap_login(client: Any, user: str, password: str) -> None:
    if not (user + password).isascii():  # which LOGIN cannot carry; RFC 4616 can
        client.plain_login(user, password)
        return
    if not _ATOM.fullmatch(user):  # imaplib quotes the password alone
        user = '"' + user.replace("\\", "\\\\").replace('"', '\\"') + '"'
    client.login(user, password)


def _check(host: str, tls: str, user: str, password: str | Secret) -> None:
    secret = password.reveal() if isinstance(password, Secret) else password
    if _CONTROL.search(user) or _CONTROL.search(secret):
        raise LoginFailed(
            f"{host}: a user or password with a control character is not sent: a line break would begin a command"
        )
    if tls not in ("implicit", "starttls", "none"):
        raise ValueError(f"tls={tls!r}: it is implicit, starttls or none")
    if user and tls == "none" and not is_local(host):
        raise LoginFailed(f"{host}: user and password are not sent in clear text; use tls='starttls' or 'implicit'")


def _dial(host: str, port: int, tls: str, context: ssl.SSLContext, timeout: float, limit: int) -> Any:
    try:
        stream = dial(host, port, monotonic() + timeout, context if tls == "implicit" else None)
    except ssl.SSLCertVerificationError as error:
        raise MailUnavailable(f"{host}:{port} is not who it should be: {error.verify_message}") from error
    stream.each, stream.limit = timeout, limit
    return stream
