"""One socket, several hubs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 60  # seconds
PRELUDE = """
import socket, threading
import evpy, gevent

a, b = socket.socketpair()

def there(function, *args):
    return evpy.run_on_any(function, *args)

def soon(function, *args):
    gevent.spawn_later(0.02, function, *args)

def talk(text):
    soon(b.sendall, text)   # after a has begun to wait
    return a.recv(100)
"""
CASES = {
    "it goes to and fro": (
        "print(talk(b'1'), there(talk, b'2').result(), talk(b'3'), there(talk, b'4').result())",
        "b'1' b'2' b'3' b'4'",
    ),
    "its timeout goes with it": (
        """a.settimeout(0.02)
def late():
    try:
        a.recv(1)
    except TimeoutError as error:
        return str(error)
print(late(), there(late).result(), late())""",
        "timed out timed out timed out",
    ),
    "one reads here, another one writes there": (
        """def write():
    a.sendall(bytes(4 << 20))
    return 'written'
reader = gevent.spawn(a.recv, 1)
gevent.sleep(0)
writer = there(write)
got = 0
while got < 4 << 20:
    got += len(b.recv(1 << 20))
print(writer.result())
b.sendall(b'x')
print(reader.get())""",
        "written\nb'x'",
    ),
    "a write that waits elsewhere has its timeout": (
        """def write():
    try:
        a.sendall(bytes(64 << 20))
    except TimeoutError as error:
        return str(error)
reader = gevent.spawn(a.recv, 1)
gevent.sleep(0)
a.settimeout(0.05)
print(there(write).result())
b.sendall(b'x')
print(reader.get())""",
        "timed out\nb'x'",
    ),
    "closed there, read no more here": (
        """print(talk(b'1'))
there(a.close).result()
print(a.fileno(), b.recv(1))
try:
    a.recv(1)
except OSError as error:
    print(error)""",
        "b'1'\n-1 b''\n[Errno 9] Bad file descriptor",
    ),
    "closed there while somebody waits here": (
        """def read():
    try:
        return a.recv(1)
    except OSError as error:
        return str(error)
reader = gevent.spawn(read)
gevent.sleep(0)
there(a.close).result()
print(reader.get(), b.recv(1))""",
        "[Errno 9] File descriptor was closed in another greenlet b''",
    ),
    "a connection of a pool": (
        """import http.client, http.server
class Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', '5')
        self.end_headers()
        gevent.sleep(0.01)
        self.wfile.write(b'hello')
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Hello)
gevent.spawn(server.serve_forever)
connection = http.client.HTTPConnection(*server.server_address)
def get():
    connection.request('GET', '/')
    return connection.getresponse().read()
print(get(), there(get).result(), get(), there(get).result())""",
        "b'hello' b'hello' b'hello' b'hello'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_sockets_on_any_thread(case: str) -> None:
    code, expected = CASES[case]
    evrun = Path(sys.executable).with_name("evrun")
    got = subprocess.run(
        [evrun, "--threads", "1", "-c", PRELUDE + code], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (got.stdout, got.stderr) == (expected + "\n", "")
