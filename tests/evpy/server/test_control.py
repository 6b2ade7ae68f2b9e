"""Which request a stack belongs to. The control thread at work is tested in test_supervisor.py and test_inline.py."""

from __future__ import annotations

import sys
from typing import Any

from evpy._core import RequestBase
from evpy.server.control import request_in


class KnownRequest(RequestBase):
    """A request whose id can be asked for without a segment."""

    id = "00ff"  # type: ignore[assignment]


def inner() -> Any:
    return sys._getframe()


def outer(request: object) -> Any:
    return inner()


def test_it_is_a_local_variable_of_the_frame_or_a_caller() -> None:
    request = KnownRequest.__new__(KnownRequest)
    frame = outer(request)
    assert request_in(frame, [request]) == "00ff"


def test_a_request_that_does_not_run_on_the_thread_is_not_the_one() -> None:
    frame = outer(KnownRequest.__new__(KnownRequest))
    assert request_in(frame, []) is None
    assert request_in(frame, [KnownRequest.__new__(KnownRequest)]) is None


def test_one_that_is_over_has_no_id() -> None:
    request = RequestBase.__new__(RequestBase)
    assert request_in(outer(request), [request]) is None


def test_no_python_code() -> None:
    assert request_in(None, []) is None
