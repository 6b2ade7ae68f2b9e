"""Uploads of any size without memory growth.

scripts/run examples/upload/main.py --max-body 0
  curl -F 'file=@big.iso' http://127.0.0.1:8000/form      multipart, spooled to a temporary file
  curl -T big.iso http://127.0.0.1:8000/hash              raw body, hashed while it arrives
"""

import hashlib

from evpy import Response, Router

PAGE = """<!doctype html><meta charset="utf-8"><title>Upload</title>
<form method="post" action="/form" enctype="multipart/form-data">
  <input type="file" name="file" multiple> <button>Upload</button>
</form>"""

handle = Router()


@handle.get("/")
def page(request):
    return Response(PAGE, headers={"Content-Type": "text/html; charset=utf-8"})


def sha256_of(read):
    digest = hashlib.sha256()
    while data := read(1 << 20):
        digest.update(data)
    return digest.hexdigest()


@handle.post("/form")
def form(request):
    files = request.form.files
    return [
        {"field": f.name, "filename": f.filename, "type": f.content_type, "size": f.size, "sha256": sha256_of(f.read)}
        for f in files.values()
    ]


@handle.route("/hash", methods=["PUT", "POST"])
def whole(request):
    return {"sha256": sha256_of(request.stream.read)}
