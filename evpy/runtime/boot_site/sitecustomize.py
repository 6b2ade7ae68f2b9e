"""Python imports this module at its start, because evrun put its directory into PYTHONPATH. See evpy.runtime.boot."""

import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
_root = os.path.dirname(os.path.dirname(os.path.dirname(_here)))
try:
    from evpy.runtime import boot
except ModuleNotFoundError as _error:
    if _error.name not in {"evpy", "evpy.runtime"}:
        raise
    # evrun was started as a module from a checkout: what it found there, the script shall find too.
    sys.path.append(_root)
    from evpy.runtime import boot

boot.start(_here)
