"""A DNS server on a free port of 127.0.0.1 (the same for UDP and TCP) that answers what a test says."""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Self

from flows import PATIENCE

A, CNAME, SOA, AAAA = 1, 5, 6, 28
NOTHING_LIKE_THAT, SERVER_FAILED = 3, 2  # RFC 1035 section 4.1.1

Record = tuple[str, int, int, str]  # name, type, seconds, value
Answer = Sequence[Record] | int | bytes | None  # records, an error, an answer of any kind, or silence


def name_to_wire(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".") if label) + b"\0"


def _value(kind: int, value: str) -> bytes:
    if kind in (A, AAAA):
        return ipaddress.ip_address(value).packed
    if kind == SOA:  # the seconds for which "no such name" holds
        return name_to_wire("ns.test") + name_to_wire("admin.test") + struct.pack(">IIIII", 1, 1, 1, 1, int(value))
    return name_to_wire(value)


def response(query: bytes, answer: Answer, *, truncated: bool = False) -> bytes:
    """The message for an answer."""
    if isinstance(answer, bytes):
        return answer
    end = query.index(b"\0", 12) + 5
    error = answer if isinstance(answer, int) else 0
    records = [] if isinstance(answer, int) or answer is None else list(answer)
    told = [r for r in records if r[1] != SOA]
    flags = 0x8180 | error | (0x0200 if truncated else 0)
    if error == 0 and told == [] and any(r[1] == SOA and r[0].startswith("!") for r in records):
        flags |= NOTHING_LIKE_THAT
    if truncated:
        return query[:2] + struct.pack(">HHHHH", flags, 1, 0, 0, 0) + query[12:end]
    head = query[:2] + struct.pack(">HHHHH", flags, 1, len(told), len(records) - len(told), 0)
    body = b""
    for name, kind, seconds, value in (*told, *(r for r in records if r[1] == SOA)):
        data = _value(kind, value)
        body += name_to_wire(name.removeprefix("!")) + struct.pack(">HHIH", kind, 1, seconds, len(data)) + data
    return head + query[12:end] + body


class DnsServer:
    """``reply(name, type)`` tells; ``asked`` has the questions as they came. ``cut``: UDP answers say "ask by TCP".
    ``first(query)``: messages that are sent before each answer by UDP."""

    def __init__(
        self, reply: Callable[[str, int], Answer], *, cut: bool = False,
        first: Callable[[bytes], list[bytes]] = lambda query: [],
    ) -> None:  # fmt: skip
        self.reply, self.cut, self.first = reply, cut, first
        self.asked: list[tuple[str, int]] = []
        self.by_tcp = 0
        while True:
            self._tcp = socket.create_server(("127.0.0.1", 0))
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with contextlib.suppress(OSError):
                self._udp.bind(self._tcp.getsockname())
                break
            self._tcp.close()
            self._udp.close()
        self.address = f"127.0.0.1:{self._tcp.getsockname()[1]}"
        self._end, self._ended = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        peers: list[socket.socket] = []
        while True:
            ready, _, _ = select.select([self._udp, self._tcp, self._ended, *peers], [], [])
            if self._ended in ready:
                break
            for sock in ready:
                if sock is self._udp:
                    query, sender = self._udp.recvfrom(4096)
                    for message in self.first(query):
                        self._udp.sendto(message, sender)
                    if (message := self._answer(query)) is not None:
                        self._udp.sendto(message, sender)
                elif sock is self._tcp:
                    peers.append(self._tcp.accept()[0])
                elif not self._answer_by_tcp(sock):
                    peers.remove(sock)
                    sock.close()
        for sock in peers:
            sock.close()

    def _answer_by_tcp(self, sock: socket.socket) -> bool:
        head = sock.recv(2, socket.MSG_WAITALL)
        if len(head) < 2:
            return False
        query = sock.recv(int.from_bytes(head), socket.MSG_WAITALL)
        self.by_tcp += 1
        message = self._answer(query, tcp=True)
        if message is not None:
            sock.sendall(len(message).to_bytes(2) + message)
        return True

    def _answer(self, query: bytes, tcp: bool = False) -> bytes | None:
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode())
            at += 1 + length
        name, kind = ".".join(labels).lower(), int.from_bytes(query[at + 1 : at + 3])
        self.asked.append((name, kind))
        answer = self.reply(name, kind)
        return None if answer is None else response(query, answer, truncated=self.cut and not tcp)

    def stop(self) -> None:
        self._end.close()
        self._thread.join(PATIENCE)
        for sock in (self._udp, self._tcp, self._ended):
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
