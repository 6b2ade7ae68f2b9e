"""evserver: hashes the body piece by piece, as it arrives."""

from work import HELLO, digest


def handle(request):
    if request.method != "POST":
        return HELLO
    sha = digest()
    for piece in request.stream:
        sha.update(piece)
    return sha.hexdigest()
