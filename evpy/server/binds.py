"""Addresses to listen on: text to ``Bind``, ``Bind`` to listening sockets, and away with them.

=====================  =======================================================================================
``127.0.0.1:8000``     IPv4; ``[::1]:8000`` IPv6 (and only that); ``name:8000`` every address of the name
``:8000``              every interface, IPv4 and, where there is one, IPv6
``8000``               127.0.0.1:8000; port 0 is any free port
``unix:/run/x.sock``   Unix socket; ``--unix-mode`` sets its permissions
``fd:3``               a listening socket that systemd (sd_listen_fds(3)) or another parent has opened
=====================  =======================================================================================

All sockets are bound before the first one listens, so that a server that cannot have all of its addresses has
accepted nothing. A left-over Unix socket is told from a live one by connecting to it: only a refused connection means
that nobody will ever answer there. What is alive, or is no socket, is never removed. ``close_all`` unlinks exactly
the inodes that this process made, and so neither a successor's socket of the same name nor anything from a forked
child.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from evpy.errors import StartupError

__all__ = ["Bind", "Listeners", "address_of", "inherited_binds", "open_all", "parse_bind"]

DEFAULT_HOST = "127.0.0.1"
MAX_UNIX_PATH = 107  # bytes; sun_path is 108 with its NUL (unix(7))
MAX_LISTENERS = 16  # the segment has room for as many
FIRST_INHERITED_FD = 3  # SD_LISTEN_FDS_START

Address = tuple[str, int] | tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class Bind:
    """One address. ``str()`` gives the text form that ``parse_bind`` reads."""

    kind: Literal["tcp", "unix", "fd"]
    host: str = ""  # tcp: "" is every interface; an IPv6 address without its brackets
    port: int = 0  # tcp: 0 is any free port
    path: str = ""  # unix
    fd: int = -1  # fd

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        if self.kind == "fd":
            return f"fd:{self.fd}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_bind(text: str) -> Bind:
    """Reads one address; ValueError says what is wrong with it and how it is written."""
    scheme, colon, rest = text.partition(":")
    if scheme == "unix" and colon:
        return _parse_unix(text, rest)
    if scheme == "fd" and colon:
        if not re.fullmatch(r"[1-9][0-9]{0,5}|0", rest) or int(rest) < FIRST_INHERITED_FD:
            raise ValueError(f"{text!r}: a descriptor is written fd:3; 0 to 2 are the standard streams")
        return Bind("fd", fd=int(rest))
    if "/" in text:
        hint = f"unix:{text}" if text.startswith(("/", ".")) else text.rpartition("//")[2].partition("/")[0]
        raise ValueError(f"{text!r} is a path or a URL, not an address; write {hint!r}")
    if text.isascii() and text.isdigit():
        return Bind("tcp", DEFAULT_HOST, _parse_port(text, text))
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        raise ValueError(f"{text!r} has no port; write '{text}:8000'")
    if host.startswith("["):
        return Bind("tcp", _parse_ipv6(text, host), _parse_port(text, port))
    if ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address needs brackets; write '[{host}]:{port}'")
    if host == "*":
        raise ValueError(f"{text!r}: every interface is written ':{port}'")
    _check_host(text, host)
    return Bind("tcp", host, _parse_port(text, port))


def _parse_unix(text: str, path: str) -> Bind:
    size = len(os.fsencode(path))
    if not path or "\0" in path:
        raise ValueError(f"{text!r} has no usable path; write 'unix:/run/name.sock'")
    if size > MAX_UNIX_PATH:
        raise ValueError(
            f"{text!r}: the path has {size} bytes, a Unix socket's may have {MAX_UNIX_PATH}; use a shorter one"
        )
    return Bind("unix", path=path)


def _parse_port(text: str, port: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"{text!r}: the port is a number from 0 to 65535")
    return int(port)


def _parse_ipv6(text: str, bracketed: str) -> str:
    if not bracketed.endswith("]"):
        raise ValueError(f"{text!r}: the bracket of the IPv6 address is not closed; write '[ADDRESS]:PORT'")
    host = bracketed[1:-1]
    try:
        socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        raise ValueError(f"{text!r}: {host!r} is not an IPv6 address") from None
    return host


def _check_host(text: str, host: str) -> None:
    if re.fullmatch(r"[0-9.]+", host):
        try:
            socket.inet_pton(socket.AF_INET, host)
        except OSError:
            raise ValueError(f"{text!r}: {host!r} is not an IPv4 address") from None
    elif host and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})", host):
        raise ValueError(f"{text!r}: {host!r} is not a host name")


def inherited_binds(environ: Mapping[str, str]) -> tuple[str, ...]:
    """``fd:3`` ... for the sockets that systemd passes to this very process (LISTEN_PID, LISTEN_FDS); else nothing."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not re.fullmatch("[0-9]{1,4}", count):
        return ()
    return tuple(f"fd:{FIRST_INHERITED_FD + n}" for n in range(int(count)))


class Listeners:
    """The open listening sockets of one server, non-blocking, in the order of their addresses."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.foreign: set[int] = set()  # descriptors that came from outside, where others may go on using them
        self._made: list[tuple[str, int, int]] = []  # absolute path, device, inode of each Unix socket
        self._owner = os.getpid()

    def __len__(self) -> int:
        return len(self.sockets)

    def __iter__(self) -> Iterator[socket.socket]:
        return iter(self.sockets)

    def filenos(self) -> list[int]:
        return [sock.fileno() for sock in self.sockets]

    def addresses(self) -> list[str]:
        """What is really listened on: the port that stands for 0, every address of a name."""
        return [address_of(sock) for sock in self.sockets]

    def close_all(self) -> None:
        """Closes the sockets and unlinks the Unix paths that this process has made. May be called twice."""
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()
        made, self._made = self._made, []
        if self._owner != os.getpid():
            return
        for path, device, inode in made:
            with contextlib.suppress(OSError):
                status = os.lstat(path)
                if (status.st_dev, status.st_ino) == (device, inode):
                    os.unlink(path)


def open_all(
    binds: Iterable[Bind], *, backlog: int, unix_mode: int | None = None, inheritable: bool = True
) -> Listeners:
    """Opens every address or none. StartupError names the address and the way out.

    ``backlog`` is that of listen(2), capped by net.core.somaxconn; ``unix_mode`` the permissions of Unix sockets (None:
    the process's umask decides); ``inheritable`` sockets survive exec.
    """
    listeners = Listeners()
    texts: list[str] = []
    try:
        for bind in binds:
            for sock in _open_one(bind, unix_mode, listeners):
                sock.setblocking(False)
                sock.set_inheritable(inheritable)
                texts.append(str(bind))
        if len(listeners) > MAX_LISTENERS:
            raise StartupError(
                f"{len(listeners)} listening sockets are too many, {MAX_LISTENERS} is the limit; use fewer --bind"
            )
        for text, sock in zip(texts, listeners, strict=True):
            try:
                sock.listen(backlog)
            except OSError as error:  # another socket of the address had been bound, and now listens
                others = [address_of(other) for its, other in zip(texts, listeners, strict=True) if its != text]
                raise _refusal(text, error, others) from None
    except BaseException:
        listeners.close_all()
        raise
    return listeners


def address_of(sock: socket.socket) -> str:
    """The local address of a socket as ``parse_bind`` reads it."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{os.fsdecode(name)}"
    return str(Bind("tcp", name[0], name[1]))


def _open_one(bind: Bind, unix_mode: int | None, listeners: Listeners) -> list[socket.socket]:
    """Binds the sockets of one address and registers them in ``listeners``, which closes them after a failure."""
    start = len(listeners)
    if bind.kind == "fd":
        sock = _adopt(bind.fd)
        listeners.sockets.append(sock)
        listeners.foreign.add(sock.fileno())
    elif bind.kind == "unix":
        _open_unix(bind, unix_mode, listeners)
    else:
        _open_tcp(bind, listeners)
    return listeners.sockets[start:]


def _open_tcp(bind: Bind, listeners: Listeners) -> None:
    others = listeners.addresses()
    port = bind.port
    missing: OSError | None = None
    opened = False
    for family, address in _resolve(bind):
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # a kernel without IPv6
            missing = error
            continue
        listeners.sockets.append(sock)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address[0], port, *address[2:]))
        except OSError as error:
            listeners.sockets.pop().close()
            if error.errno != errno.EADDRNOTAVAIL:
                raise _refusal(str(bind), error, others) from None
            missing = error  # localhost is ::1 too, also on a machine without IPv6: one of them is enough
            continue
        opened = True
        port = port or sock.getsockname()[1]  # the free port that stands for 0 is the same for each address of the name
    if missing is not None and not opened:
        raise _refusal(str(bind), missing)


def _resolve(bind: Bind) -> list[tuple[socket.AddressFamily, Address]]:
    if not bind.host:
        return [(socket.AF_INET, ("0.0.0.0", bind.port)), (socket.AF_INET6, ("::", bind.port, 0, 0))]
    try:
        found = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StartupError(
            f"cannot listen on {bind}: the host name {bind.host!r} does not resolve ({reason})"
        ) from None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))  # type: ignore[misc]


def _open_unix(bind: Bind, mode: int | None, listeners: Listeners) -> None:
    path = os.path.abspath(bind.path)
    _clear_stale(bind)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listeners.sockets.append(sock)
    try:
        if mode is not None:
            os.fchmod(sock.fileno(), mode)  # never wider than asked, not even before the chmod below
        sock.bind(bind.path)
        status = os.lstat(path)
        listeners._made.append((path, status.st_dev, status.st_ino))
        if mode is not None:
            os.chmod(path, mode)  # what the umask had taken away
    except OSError as error:
        raise _refusal(str(bind), error) from None


def _clear_stale(bind: Bind) -> None:
    """Removes a Unix socket that nobody listens on; StartupError for anything else in its place."""
    try:
        if not stat.S_ISSOCK(os.lstat(bind.path).st_mode):
            raise StartupError(
                f"cannot listen on {bind}: the path exists and is not a socket; remove it or choose another"
            )
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refusal(str(bind), error) from None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(bind.path)
    if code == errno.ENOENT:
        return
    if code != errno.ECONNREFUSED:  # connected; or its queue is full, it is of another type, we may not ask: alive
        raise StartupError(
            f"cannot listen on {bind}: another server is using it; stop that one or choose another --bind"
        )
    try:
        os.unlink(bind.path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartupError(
            f"cannot listen on {bind}: the left-over socket cannot be removed ({error.strerror})"
        ) from None


def _adopt(fd: int) -> socket.socket:
    """The listening socket behind an inherited descriptor."""
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise StartupError(f"cannot listen on fd:{fd}: the descriptor is not a socket")
    except OSError:
        raise StartupError(
            f"cannot listen on fd:{fd}: no such descriptor; start evserver from a .socket unit or name an address"
        ) from None
    sock = socket.socket(fileno=fd)
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()  # not ours to close
        raise StartupError(
            f"cannot listen on fd:{fd}: not a listening stream socket (in a .socket unit: ListenStream=, Accept=no)"
        )
    return sock


def _refusal(text: str, error: OSError, others: Iterable[str] = ()) -> StartupError:
    """A failed socket call as one line with a way out; ``others`` are the addresses that this server already has."""
    port = text.rpartition(":")[2]
    if error.errno == errno.EADDRINUSE:
        own = [other for other in others if _overlap(text, other)]
        if own:
            reason = f"the address is in use, and this server itself already has {own[0]}; drop one of the two"
        else:
            reason = "the address is in use; stop the other server"
            reason += f" (ss -ltnp 'sport = :{port}' shows it)" if port.isdigit() else ""
            reason += " or choose another --bind"
    elif error.errno in (errno.EACCES, errno.EPERM) and port.isdigit():
        reason = (
            "no permission; ports below 1024 need root, CAP_NET_BIND_SERVICE or net.ipv4.ip_unprivileged_port_start"
        )
    elif error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        reason = "this machine has no such address; 'ip address' lists what it has, ':PORT' means all of them"
    elif error.errno == errno.ENOENT:
        reason = "the directory of the socket does not exist; create it first"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        reason = f"{error.strerror}; the directory of the socket must be writable for this user"
    else:
        reason = error.strerror or str(error)
    return StartupError(f"cannot listen on {text}: {reason}")


def _overlap(text: str, other: str) -> bool:
    """Whether two TCP addresses cannot be listened on together."""
    one, two = parse_bind(text), parse_bind(other)
    wildcards = {"", "0.0.0.0", "::"}
    return (
        one.port == two.port
        and "tcp" == one.kind == two.kind
        and (":" in one.host) == (":" in two.host)
        and (one.host == two.host or not wildcards.isdisjoint((one.host, two.host)))
    )
