"""evserver: one path burns CPU, every other one answers at once."""

from work import HELLO, burn


def handle(request):
    if request.path == "/slow":
        burn()
    return HELLO
