"""Names to addresses by c-ares (pycares), asked from any thread, answered in a thread of its own.

c-ares reads /etc/hosts and resolv.conf (and reads them again when they change), knows search domains, follows aliases,
asks for both families at once, goes on to the next server, repeats over TCP what was cut off, sorts addresses by RFC
6724, and says how long an answer holds. It blocks nobody and belongs to no hub. gevent's own binding of it tells no
times, and its channels belong to a hub and break with it, so they cannot serve clients that all hubs and threads share.

What c-ares does not know is the rest of nsswitch.conf: mDNS, LDAP, systemd-resolved. As in Go's resolver
(``net/conf.go``), where the line ``hosts`` names more than ``files`` and ``dns``, and for names in ``.local``, the
system is asked (``usual_lookup``). It is also asked when c-ares fails in another way than by "there is no such name".
"""

from __future__ import annotations

import errno
import os
from _socket import EAI_NONAME, SOCK_STREAM, gaierror
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from service_utils.names import Address, Done, Lookup, SystemLookup
from service_utils.pool.native import native_lock

if TYPE_CHECKING:
    import pycares

__all__ = ["AresLookup", "usual_lookup"]

_KNOWN = {"files", "dns"}


class AresLookup:
    """Looks names up by c-ares. ImportError without pycares (``pip install 'evpy[http]'``).

    ``servers``: "ADDRESS" or "ADDRESS:PORT" in place of those of the system; ``domains``: to search in.
    ``timeout``: seconds that a server gets for the first of ``tries``. ``otherwise``: asked when c-ares fails.
    """

    def __init__(
        self, *, servers: Sequence[str] = (), domains: Sequence[str] = (), timeout: float | None = None,
        tries: int | None = None, otherwise: Lookup | None = None,
    ) -> None:  # fmt: skip
        import pycares

        self._cares = pycares
        known = pycares.errno
        self._missing = (known.ARES_ENOTFOUND, known.ARES_ENODATA, known.ARES_EBADNAME)
        self._settings: dict[str, Any] = {
            "servers": list(servers) or None, "domains": list(domains) or None, "timeout": timeout, "tries": tries,
        }  # fmt: skip
        self._otherwise = otherwise
        self._lock = native_lock()
        self._channel: pycares.Channel | None = None
        self._pid = 0

    def begin(self, host: str, port: int, done: Done) -> None:
        if self._otherwise is not None and host.rstrip(".").lower().endswith(".local"):
            return self._otherwise.begin(host, port, done)

        def answered(result: Any, error: int | None) -> None:
            """In c-ares's thread, or at once."""
            if error is None:
                return done([_address(node) for node in result.nodes], _time_to_live(result))
            if error not in self._missing and self._otherwise is not None:
                return self._otherwise.begin(host, port, done)
            text = f"{host}: {self._cares.errno.strerror(error)}"
            return done(gaierror(EAI_NONAME, text) if error in self._missing else OSError(errno.EIO, text), None)

        try:
            self._usable().getaddrinfo(host, port, type=SOCK_STREAM, callback=answered)
        except UnicodeError as error:
            done(gaierror(EAI_NONAME, f"{host}: {error}"), None)
        return None

    def _usable(self) -> pycares.Channel:
        channel = self._channel
        if channel is not None and self._pid == os.getpid():
            return channel
        with self._lock:
            if self._channel is None or self._pid != os.getpid():
                # After a fork the old one must not be touched, not even ended: its thread is the parent's.
                _of_the_parent.append(self._channel)
                settings = {name: value for name, value in self._settings.items() if value is not None}
                self._channel, self._pid = self._cares.Channel(**settings), os.getpid()
            return self._channel

    def close(self) -> None:
        """Ends its thread; what is still looked up fails."""
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None and self._pid == os.getpid():
            channel.close()


_of_the_parent: list[Any] = []


def _address(node: Any) -> Address:
    host, port, *scope = node.addr
    return int(node.family), (host.decode("ascii"), port, *scope)


def _time_to_live(result: Any) -> float | None:
    """Of the records, the shortest; None if there were none, as in /etc/hosts."""
    times = [item.ttl for item in (*result.nodes, *result.cnames) if item.ttl > 0]
    return float(min(times)) if times else None


def usual_lookup(nsswitch: str = "/etc/nsswitch.conf") -> Lookup:
    """c-ares, where it is installed and sees all that the system sees; else the system's lookup."""
    system = SystemLookup()
    if not _is_simple(nsswitch):
        return system
    try:
        return AresLookup(otherwise=system)
    except ImportError:
        return system


def _is_simple(path: str) -> bool:
    """Whether hosts come from files and DNS alone (which is what holds without the file)."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.partition("#")[0].split() for line in file]
    except OSError:
        return True
    sources = next((words[1:] for words in lines if words[:1] == ["hosts:"]), ["files", "dns"])
    return bool(sources) and set(sources) <= _KNOWN
