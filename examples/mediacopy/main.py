"""Copies a file while it streams it: the client sees the bytes, and a copy grows beside the original.

scripts/run examples/mediacopy/main.py, then curl -o out http://127.0.0.1:8000/name - MEDIA_DIR and COPY_DIR name the folders.
"""

import os
import tempfile
from pathlib import Path

from evpy import HTTPError, Response

MEDIA = Path(os.environ.get("MEDIA_DIR", Path(__file__).parent)).resolve()
COPIES = Path(os.environ.get("COPY_DIR", tempfile.gettempdir())).resolve()


def pieces(source, target):
    part = target.with_name(target.name + ".part")
    with source, open(part, "wb") as copy:
        while data := source.read(1 << 18):
            copy.write(data)
            yield data
    os.replace(part, target)  # only a whole copy gets the name


def handle(request):
    path = (MEDIA / request.path.lstrip("/")).resolve()
    if not path.is_relative_to(MEDIA) or not path.is_file():
        raise HTTPError(404, "no such file")
    headers = {"Content-Length": str(path.stat().st_size), "Content-Type": "application/octet-stream"}
    return Response.stream(pieces(open(path, "rb"), COPIES / path.name), headers=headers)
