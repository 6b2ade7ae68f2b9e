"""Which implementation is used: the compiled one, or its twin in Python, slower and simple enough to be read.

EFIO_IMPL=python chooses the twin, EFIO_IMPL=native (the default) the compiled one; asked once, at the first import. The
twins are the oracle of the tests, which run on both, and the description of what the compiled code does.
"""

import os

__all__ = ["PYTHON"]

_chosen = os.environ.get("EFIO_IMPL") or "native"
if _chosen not in ("native", "python"):
    raise ImportError(f"EFIO_IMPL={_chosen}: there are 'native' (the default) and 'python'")

PYTHON = _chosen == "python"
