"""Uploads of any size without memory growth.

scripts/run examples/upload/main.py --max-body-at /form=0 --max-body-at /hash=0, then http://127.0.0.1:8000/
  curl -F file=@big.iso http://127.0.0.1:8000/form    a form: each file is spooled to a temporary one ($TMPDIR)
  curl -T big.iso http://127.0.0.1:8000/hash          the bare bytes, hashed while they arrive
"""

import hashlib

import evpy
from evpy import Response, Router

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Upload</title>
<h1>Upload</h1>
<form method="post" action="/form" enctype="multipart/form-data">
  <input type="file" name="file" multiple> <button>Upload</button>
</form>"""

handle = Router()


def sha256(read):
    digest = hashlib.sha256()
    while piece := read(1 << 20):
        digest.update(piece)
        evpy.sleep()  # hashing does not wait for anything: let other requests have their turn
    return digest.hexdigest()


@handle.get("/")
def page(request):
    return Response(PAGE, content_type="text/html; charset=utf-8")


@handle.post("/form")
def form(request):
    return [
        {"field": file.name, "filename": file.filename, "size": file.size, "sha256": sha256(file.read)}
        for _, file in request.form.files.pairs()
    ]


@handle.route("/hash", methods=["PUT", "POST"])
def raw(request):
    return {"sha256": sha256(request.stream.read)}
