"""Files with range requests: browsers can seek in a large video.

scripts/run examples/video/main.py, then http://127.0.0.1:8000/ - VIDEO_DIR names the folder (default: this one).
"""

import html
import os
from pathlib import Path
from urllib.parse import quote

from evpy import Response, Router

FOLDER = Path(os.environ.get("VIDEO_DIR", Path(__file__).parent))
handle = Router()


@handle.get("/")
def index(request):
    names = sorted(p.name for p in FOLDER.iterdir() if p.is_file())
    items = "".join(f'<li><a href="/media/{quote(n)}">{html.escape(n)}</a></li>' for n in names)
    return Response(f"<!doctype html><meta charset='utf-8'><title>Media</title><ul>{items}</ul>",
                    headers={"Content-Type": "text/html; charset=utf-8"})


@handle.get("/media/{name:path}")
def media(request, name):
    return Response.file(name, root=FOLDER)
