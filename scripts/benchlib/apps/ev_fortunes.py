"""examples/fortunes, with a path that burns 20 ms of CPU."""

import runpy
from pathlib import Path

from work import burn

_main = runpy.run_path(str(Path(__file__).parents[3] / "examples/fortunes/main.py"))
handle, on_start, json = _main["handle"], _main["on_start"], _main["json"]


@handle.get("/slow")
def slow(request):
    burn()
    return json(request)
