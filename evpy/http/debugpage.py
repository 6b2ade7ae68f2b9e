"""The page that a developer sees when a handler fails under ``--debug``: frames, source lines, local variables.

Never shown without ``--debug``: local variables are the inside of the application. Even so, values whose names sound
like secrets are masked, every text is escaped, the page carries a Content-Security-Policy under which nothing in it can
run, and a ``repr`` that fails or never ends its text cannot break or flood the page.
"""

from __future__ import annotations

import html
import re
import reprlib
import traceback
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from evpy.http.usercode import is_ours, relative, user_traceback

if TYPE_CHECKING:
    from evpy.http.request import RequestMixin

FIELDS = [
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
]

CONTEXT = 4  # source lines before and after the one that failed
MAX_FRAMES = 60
MAX_LOCALS = 60
MAX_REPR = 400

_secret = re.compile("passw|secret|token|credential|authorization|cookie|api_?key|private_?key|session", re.IGNORECASE)

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem;
       color: #222; background: #fff }
h1 { font-size: 1.3rem; margin: 0 } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem }
pre, code, table { font: 13px/1.5 ui-monospace, monospace } pre { margin: .3rem 0; overflow-x: auto }
.message { white-space: pre-wrap; overflow-wrap: anywhere; color: #a40000; font-size: 1.05rem }
details { border: 1px solid #ddd; border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem }
summary { cursor: pointer } .ours { color: #888 } .hit { background: #fde8e8; display: block }
td { vertical-align: top; padding: .1rem .8rem .1rem 0; overflow-wrap: anywhere } td:first-child { white-space: nowrap }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #1b1b1b } .message { color: #ff8a80 }
  .hit { background: #4a2020 } details { border-color: #444 } }
"""


def page(request: RequestMixin, error: BaseException) -> bytes:
    """The whole page, UTF-8."""
    title = f"{type(error).__name__} at {request.method} {request.target}"
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        f"<title>{_escape(title[:200])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_escape(title)}</h1>",
    ]
    for heading, one in _chain(error):
        parts.append(f"<h2>{heading}</h2>" if heading else "")
        parts.append(f"<p class=message>{_escape(type(one).__name__)}: {_escape(_message(one))}</p>")
        parts.extend(_frames(user_traceback(one.__traceback__)))
    parts.append("<h2>Request</h2>")
    parts.append(_table([("id", request.id), ("client", repr(request.client)), *_masked(request.raw_headers())]))
    parts.append("<h2>Traceback</h2><pre>" + _escape(text(error)) + "</pre></body></html>\n")
    return "".join(parts).encode("utf-8", "replace")


def text(error: BaseException) -> str:
    """The traceback as Python prints it, from the application's first frame on."""
    return "".join(traceback.format_exception(type(error), error, user_traceback(error.__traceback__)))


def _chain(error: BaseException) -> list[tuple[str, BaseException]]:
    """The error and what led to it, newest first, as in a printed traceback but upside down."""
    chain = [("", error)]
    seen = {id(error)}
    while len(chain) < 10:
        if error.__cause__ is not None:
            heading, error = "The direct cause was", error.__cause__
        elif error.__context__ is not None and not error.__suppress_context__:
            heading, error = "It happened while this was being handled", error.__context__
        else:
            break
        if id(error) in seen:
            break
        seen.add(id(error))
        chain.append((heading, error))
    return chain


def _frames(tb: TracebackType | None) -> list[str]:
    entries = []
    while tb is not None:
        entries.append((tb.tb_frame, tb.tb_lineno))
        tb = tb.tb_next
    skipped = len(entries) - MAX_FRAMES
    if skipped > 0:
        entries = entries[: MAX_FRAMES // 2] + entries[-MAX_FRAMES // 2 :]
    shown = [_frame(frame, line, last=index == len(entries) - 1) for index, (frame, line) in enumerate(entries)]
    if skipped > 0:
        shown.insert(MAX_FRAMES // 2, f"<p>... {skipped} frames left out ...</p>")
    return shown


def _frame(frame: FrameType, lineno: int, *, last: bool) -> str:
    code = frame.f_code
    ours = is_ours(code.co_filename)
    where = f"{relative(code.co_filename)}:{lineno} in {code.co_qualname}"
    return (
        f"<details{'' if ours and not last else ' open'}><summary class={'ours' if ours else 'yours'}>"
        f"<code>{_escape(where)}</code></summary>{_source(frame, lineno)}"
        f"{_table(_locals(frame))}</details>"
    )


def _source(frame: FrameType, lineno: int) -> str:
    import linecache

    lines = []
    for number in range(max(1, lineno - CONTEXT), lineno + CONTEXT + 1):
        line = linecache.getline(frame.f_code.co_filename, number, frame.f_globals)
        if line:
            row = _escape(f"{number:5} {line.rstrip()[:300]}")
            lines.append(f"<span class=hit>{row}</span>" if number == lineno else row + "\n")
    return f"<pre>{''.join(lines)}</pre>"


def _locals(frame: FrameType) -> list[tuple[str, str]]:
    found = [(name, value) for name, value in frame.f_locals.items() if not name.startswith("__")]
    rows = [(name, "(masked)" if _secret.search(name) else _repr(value)) for name, value in found[:MAX_LOCALS]]
    if len(found) > MAX_LOCALS:
        rows.append(("...", f"{len(found) - MAX_LOCALS} more"))
    return rows


def _masked(fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, "(masked)" if _secret.search(name) else value) for name, value in fields]


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{_escape(name)}</td><td>{_escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>" if cells else ""


def _repr(value: object) -> str:
    short = reprlib.Repr()
    short.maxstring = short.maxother = MAX_REPR
    short.maxdict = short.maxlist = short.maxtuple = short.maxset = short.maxfrozenset = 12
    try:
        return short.repr(value)[: 4 * MAX_REPR]
    except Exception as error:  # noqa: BLE001 - the application's __repr__ may do anything
        return f"<{type(value).__name__} whose repr failed: {type(error).__name__}>"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - so may its __str__
        return f"(its __str__ failed: {type(broken).__name__})"


def _escape(value: str) -> str:
    return html.escape(value, quote=True)
