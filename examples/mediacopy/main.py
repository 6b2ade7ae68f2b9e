"""Copies a file while it streams it: the client gets the bytes, and a copy grows beside the original.

scripts/run examples/mediacopy/main.py, then curl -o copy http://127.0.0.1:8000/main.py
MEDIA_DIR and COPY_DIR name the folders (default: this one, and copies in it).
"""

import os
import tempfile
from pathlib import Path

from evpy import HTTPError, Response, Router

MEDIA = Path(os.environ.get("MEDIA_DIR", Path(__file__).parent))
COPIES = Path(os.environ.get("COPY_DIR", Path(__file__).with_name("copies")))

handle = Router()


def on_start():
    COPIES.mkdir(exist_ok=True)


def pieces(source, target):
    """The bytes of ``source``. A copy gets its name when it is whole; what is left of one that is not is removed."""
    with source, tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as copy:
        try:
            while piece := source.read(1 << 18):
                copy.write(piece)
                yield piece  # the client sets the pace; when it leaves, the generator is closed here
            copy.flush()
            os.replace(copy.name, target)
        except BaseException:
            os.unlink(copy.name)
            raise


@handle.get("/{name}")
def media(request, name):
    path = MEDIA / name
    if name not in os.listdir(MEDIA) or not path.is_file():
        raise HTTPError(404)
    headers = {"Content-Length": str(path.stat().st_size)}
    return Response.stream(pieces(path.open("rb"), COPIES / name), headers=headers)
