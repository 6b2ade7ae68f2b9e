"""Connections to one of several addresses: happy eyeballs (RFC 8305 section 5).

The addresses are tried in their order, the next one 250 ms after the one before or as soon as that has failed; the
first that answers wins and the others are closed. So an IPv6 address that leads nowhere costs a quarter of a second,
not the whole deadline.
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import sys
from time import monotonic
from typing import Any

from service_utils.names import Address
from service_utils.waiting import WRITE, hub_to_wait_on, poller

__all__ = ["dial"]

STAGGER = 0.25  # seconds, RFC 8305 section 5
_TIMEOUT = object()


def dial(addresses: list[Address], deadline: float) -> _socket.socket:
    """A connected, non-blocking socket. OSError of the last failure; TimeoutError."""
    waiting = list(addresses)
    trying: list[_socket.socket] = []
    problem: OSError | None = None
    start = 0.0
    won: _socket.socket | None = None
    try:
        while won is None:
            now = monotonic()
            if now >= deadline:
                raise TimeoutError("no answer")
            if waiting and (not trying or now >= start):
                start = now + STAGGER
                try:
                    sock = _begin(waiting.pop(0), trying)
                except OSError as error:
                    problem = error
                    start = now
                else:
                    if sock is not None:
                        won = sock
                continue
            if not trying:
                raise problem or OSError("there is no address")
            for sock in _writable(trying, min(deadline, start if waiting else deadline) - now):
                code = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
                if not code:
                    won = sock
                    break
                problem = OSError(code, os.strerror(code))
                trying.remove(sock)
                sock.close()
                start = now
    finally:
        for sock in trying:
            if sock is not won:
                sock.close()
    won.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    won.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
    return won


def _begin(address: Address, trying: list[_socket.socket]) -> _socket.socket | None:
    """Begins to connect; the socket if it is connected at once."""
    sock = _socket.socket(address[0], _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    trying.append(sock)
    sock.setblocking(False)
    code = sock.connect_ex(address[1])
    if not code:
        return sock
    if code != errno.EINPROGRESS:
        trying.remove(sock)
        sock.close()
        raise OSError(code, os.strerror(code))
    return None


def _writable(socks: list[_socket.socket], timeout: float) -> list[_socket.socket]:
    """Those of which the outcome is known, none after the timeout."""
    timeout = max(timeout, 0.0)
    hub = hub_to_wait_on()
    if hub is None:
        looking = poller()
        by_number = {sock.fileno(): sock for sock in socks}
        for number in by_number:
            looking.register(number, select.POLLOUT)
        return [by_number[number] for number, _ in looking.poll(timeout * 1000 + 1)]
    current: Any = sys.modules["greenlet"].getcurrent()
    watchers = [(hub.loop.io(sock.fileno(), WRITE), sock) for sock in socks]
    timer = hub.loop.timer(timeout)
    woken: Any = None
    try:
        for watcher, sock in watchers:
            watcher.start(current.switch, sock)
        timer.start(current.switch, _TIMEOUT)
        while woken is not _TIMEOUT and woken not in socks:  # whatever else switches here is not meant
            woken = hub.switch()
    finally:
        for watcher in (timer, *(watcher for watcher, _ in watchers)):
            watcher.stop()
            watcher.close()
    return [] if woken is _TIMEOUT else [woken]
