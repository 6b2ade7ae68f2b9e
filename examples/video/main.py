"""Large files with range requests, so that a browser can seek in a video that it has not loaded.

scripts/run examples/video/main.py, then http://127.0.0.1:8000/ - VIDEO_DIR names the folder (default: this one).
"""

import html
import os
from pathlib import Path
from urllib.parse import quote

from evpy import Response, Router

FOLDER = Path(os.environ.get("VIDEO_DIR", Path(__file__).parent))

handle = Router()


def on_start():
    if not FOLDER.is_dir():
        raise NotADirectoryError(f"VIDEO_DIR={FOLDER}")


@handle.get("/")
def index(request):
    names = sorted(file.name for file in FOLDER.iterdir() if file.is_file() and not file.name.startswith("."))
    links = "".join(f'<li><a href="/media/{quote(name)}">{html.escape(name)}</a></li>\n' for name in names)
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Video</title><h1>Video</h1><ul>{links}</ul>'
    return Response(page, content_type="text/html; charset=utf-8")


@handle.get("/media/{name:path}")
def media(request, name):
    return Response.file(name, root=FOLDER)  # nothing outside of the folder, whatever the name is
