"""evserver: the least handler that answers something."""


def handle(request):
    return b"Hello, World!"
