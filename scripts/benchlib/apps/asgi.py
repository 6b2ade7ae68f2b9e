"""ASGI applications (asgi.readthedocs.io, HTTP part)."""

import os

from work import FILE, HELLO, PIECE, burn, digest

HEADERS = [(b"content-type", b"text/plain"), (b"content-length", str(len(HELLO)).encode())]
START = {"type": "http.response.start", "status": 200, "headers": HEADERS}
BODY = {"type": "http.response.body", "body": HELLO}


async def hello(scope, receive, send):
    if scope["type"] != "http":
        return
    await send(START)
    await send(BODY)


async def tail(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/slow":
        burn()
    await send(START)
    await send(BODY)


async def upload(scope, receive, send):
    if scope["type"] != "http":
        return
    sha = digest()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        sha.update(message.get("body", b""))
        more = message.get("more_body", False)
    text = sha.hexdigest().encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


async def download(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] != "/file":
        await hello(scope, receive, send)
        return
    size = os.stat(FILE).st_size
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    with open(FILE, "rb") as file:
        while piece := file.read(PIECE):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
