"""What the packages ask about gevent, without importing it: programs that do not use it do not pay for it."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["hub_to_wait_on", "in_greenlet", "original", "sleep"]

_modules = sys.modules


def hub_to_wait_on() -> Any:
    """The hub to which the caller can switch; None in a thread without one, and in the hub itself."""
    module = _modules.get("gevent._hub_local")
    hub = module.get_hub_if_exists() if module is not None else None
    if hub is None or _modules["greenlet"].getcurrent() is hub:
        return None
    return hub


def in_greenlet() -> bool:
    """Whether the caller can be switched out: it is a greenlet of a hub, and not the hub."""
    return hub_to_wait_on() is not None


def original(module: str, name: str) -> Any:
    """What is in a module of the standard library, unpatched."""
    monkey = _modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    __import__(module)
    return getattr(_modules[module], name)


def sleep(seconds: float) -> None:
    """Switches the greenlet of a hub, else lets the thread sleep."""
    if in_greenlet():
        _modules["gevent"].sleep(seconds)
    else:
        original("time", "sleep")(seconds)
