"""WSGI applications (PEP 3333)."""

import os

from work import FILE, HELLO, PIECE, burn, digest

TEXT = [("Content-Type", "text/plain"), ("Content-Length", str(len(HELLO)))]


def hello(environ, start_response):
    start_response("200 OK", list(TEXT))
    return [HELLO]


def tail(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        burn()
    start_response("200 OK", list(TEXT))
    return [HELLO]


def upload(environ, start_response):
    sha = digest()
    left = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"]
    while left > 0 and (piece := body.read(min(PIECE, left))):
        sha.update(piece)
        left -= len(piece)
    text = sha.hexdigest().encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text]


def download(environ, start_response):
    if environ["PATH_INFO"] != "/file":
        return hello(environ, start_response)
    size = os.stat(FILE).st_size
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))])
    file = open(FILE, "rb")  # noqa: SIM115 - the server closes it after sending
    wrapper = environ.get("wsgi.file_wrapper")
    return wrapper(file, PIECE) if wrapper else iter(lambda: file.read(PIECE), b"")
