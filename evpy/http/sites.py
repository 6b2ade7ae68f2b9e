"""Applications that consist of several scripts: a directory whose files are its URLs, and a script that maps requests.

Both load a script when it is first asked for and keep it. Neither lets a URL reach a file that was not meant: segments
that are empty, begin with a dot or an underscore, or hold a slash, backslash or NUL are 404 before any file is touched.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from evpy.errors import HTTPError
from evpy.http.request import decode_path
from evpy.http.scripts import Scripts
from evpy.http.signature import signature_problem

if TYPE_CHECKING:
    from evpy.http.request import RequestMixin

Handler = Callable[..., Any]

log = logging.getLogger("evpy.handler")


class Directory:
    """``/a/b`` is answered by ``handle(request)`` of ``a/b.py`` or ``a/b/index.py``, ``/`` by ``index.py``."""

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts
        self._paths: dict[str, str] = {}  # raw path of a URL -> script; of existing scripts only, so it is bounded

    def __call__(self, request: RequestMixin) -> Any:
        handler = self.find(request.raw_path)
        if handler is None:
            raise HTTPError(404)
        request._own_cache()["endpoint"] = handler
        return handler(request)

    def find(self, raw_path: str) -> Handler | None:
        """The function for a raw path; None when there is none. HTTPError 400 when the path is not UTF-8."""
        path = self._paths.get(raw_path)
        if path is None:
            path = self._script_for(raw_path)
            if path is None:
                return None
        try:
            module = self.scripts.get(path)
        except FileNotFoundError:  # it was there before
            if os.path.exists(os.path.join(self.scripts.directory, path)):
                raise  # the script itself misses a file
            self._paths.pop(raw_path, None)
            return None
        if raw_path.isascii() and "%" not in raw_path:  # one spelling each: others are found, but not remembered
            self._paths[raw_path] = path
        handler: Handler | None = getattr(module, "handle", None)
        if handler is None:
            log.warning("%s has no function handle(request): %s is answered with 404", path, raw_path)
        return handler

    def _script_for(self, raw_path: str) -> str | None:
        if not raw_path.startswith("/"):
            return None
        segments = [decode_path(segment) for segment in raw_path[1:].split("/")]
        index = segments[-1] == ""
        if index:
            segments.pop()
        if not all(map(_is_safe, segments)):
            return None
        stem = "/".join(segments)
        for path in (None if index else f"{stem}.py", f"{stem}/index.py" if stem else "index.py"):
            if path is not None and os.path.isfile(os.path.join(self.scripts.directory, path)):
                return path
        return None


class Mapping:
    """A mapping script: ``map_request(request)`` names the function that answers, as ``"file.py:function"``.

    The file is relative to the mapping script; ``"file.py"`` alone means its ``handle``, None means 404. An answer that
    names nothing raises MappingError, which the client sees as 500.
    """

    def __init__(self, scripts: Scripts, map_request: Handler, where: str) -> None:
        self.scripts = scripts
        self.map_request = map_request
        self.where = where
        self._checked: dict[str, tuple[ModuleType, Handler]] = {}

    def __call__(self, request: RequestMixin) -> Any:
        answer = self.map_request(request)
        if answer is None:
            raise HTTPError(404)
        handler = self.find(answer)
        request._own_cache()["endpoint"] = handler
        return handler(request)

    def find(self, answer: object) -> Handler:
        """The function that an answer of ``map_request`` names."""
        if not isinstance(answer, str):
            raise MappingError(f'{self.where} returned {type(answer).__name__}, not "file.py:function" or None')
        path, _, name = answer.partition(":")
        name = name or "handle"
        if not path.endswith(".py") or not all(map(_is_safe, path.split("/"))) or name.startswith("_"):
            raise MappingError(f'{self.where} returned {answer!r}, not "file.py:function" within its directory')
        try:
            module = self.scripts.get(path)
        except FileNotFoundError:
            if os.path.exists(os.path.join(self.scripts.directory, path)):
                raise
            raise MappingError(f"{self.where} returned {answer!r}, but there is no such file") from None
        known = self._checked.get(answer)
        if known is not None and known[0] is module:
            return known[1]
        handler: Handler | None = getattr(module, name, None)
        if handler is None:
            raise MappingError(f"{self.where} returned {answer!r}, but {path} has no {name}")
        problem = signature_problem(handler)
        if problem:
            raise MappingError(f"{self.where} returned {answer!r}: {problem}")
        self._checked[answer] = (module, handler)
        return handler


class MappingError(RuntimeError):
    """A mapping script gave an answer that names no function."""


def _is_safe(segment: str) -> bool:
    return segment != "" and segment[0] not in "._" and not any(c in segment for c in "/\\\0")
