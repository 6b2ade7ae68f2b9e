"""What happens inside the interpreter that evrun started, before the script's first line.

Called by ``boot_site/sitecustomize.py``, that is, while Python imports ``site``: the module search path is complete,
the script's own directory not yet on it (its neighbours cannot shadow what is imported here), ``__main__`` still empty.

The order matters: first all traces in the environment and on ``sys.path`` go, then gevent patches the standard library
before anything has imported much of it, and last the ``sitecustomize`` that ours had hidden, if there is one, is
imported as if nothing had been. The process ends here with one line if the runtime cannot be had.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import warnings

__all__ = ["start"]

START_FAILED = 3  # the exit status of evserver for the same misfortune


def start(directory: str) -> None:
    """Set up the runtime as the environment orders; `directory` is the one that evrun added to the search path."""
    orders = os.environ.pop("_EVRUN", "").split()
    path = os.environ.pop("_EVRUN_PYTHONPATH", None)
    if path is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = path
    sys.path[:] = [entry for entry in sys.path if entry != directory]
    if len(orders) == 3 and orders[0] == str(os.getpid()):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # -W is about the script
                _prepare(patch=orders[1] == "1", threads=int(orders[2]))
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is one line and the end
            # Python would print an exception of sitecustomize and go on without the runtime, hence _exit.
            os.write(2, f"evrun: the runtime cannot start: {type(error).__name__}: {error}\n".encode())
            os._exit(START_FAILED)
    _import_hidden()


def _prepare(*, patch: bool, threads: int) -> None:
    if patch:
        from evpy.runtime.patch import patch_all

        patch_all()
    from gevent.hub import Hub, get_hub

    from evpy._core import cache_greenlet_stacks
    from evpy.runtime import dump

    cache_greenlet_stacks()

    # Now, because gevent would otherwise do it on the way out, with imports that call eval(): CPython then forgets that
    # the program died of a KeyboardInterrupt and exits with 1 instead of SIGINT's status.
    hub = get_hub()
    # Something may always come: a signal handler may set the event that the script waits for. Without anything to watch
    # the loop would end, and the waiting with "This operation would block forever"; Python waits.
    ever = hub.loop.async_()
    ever.start(lambda: None)
    # Ctrl-C while the hub waits: the hub passes the KeyboardInterrupt to the main greenlet, and Python prints it there.
    Hub.NOT_ERROR = (*Hub.NOT_ERROR, KeyboardInterrupt)
    dump.install(signal.SIGUSR1)
    if threads:
        from evpy.runtime.threads import offer_threads

        offer_threads(threads)


def _import_hidden() -> None:
    ours = sys.modules.pop("sitecustomize")
    try:
        importlib.import_module("sitecustomize")
    except ModuleNotFoundError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", ours)  # the import system wants to find what it is importing
