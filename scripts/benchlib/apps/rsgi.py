"""RSGI applications (granian's own interface)."""

from work import FILE, HELLO, burn, digest

HEADERS = [("content-type", "text/plain")]


async def hello(scope, proto):
    proto.response_bytes(200, HEADERS, HELLO)


async def tail(scope, proto):
    if scope.path == "/slow":
        burn()
    proto.response_bytes(200, HEADERS, HELLO)


async def upload(scope, proto):
    sha = digest()
    async for piece in proto:
        sha.update(piece)
    proto.response_str(200, HEADERS, sha.hexdigest())


async def download(scope, proto):
    if scope.path != "/file":
        await hello(scope, proto)
        return
    proto.response_file(200, [("content-type", "application/octet-stream")], FILE)
