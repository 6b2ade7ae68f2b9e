"""evserver: sends a large file."""

from work import FILE, HELLO

from evpy import Response


def handle(request):
    if request.path == "/file":
        return Response.file(FILE, content_type="application/octet-stream")
    return HELLO
