"""The tree at the head of errors.py is the tree in the code."""

from __future__ import annotations

import pickle
import re

import pytest

from evpy import errors


def drawn_tree() -> list[tuple[int, str]]:
    """(depth, class name) of each line of the drawing in the module head."""
    lines = re.findall(r"^    ([ │├└─]*)([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE)
    return [(len(indent) // 4, name) for indent, name in lines]


def real_tree(base: type[BaseException], depth: int) -> list[tuple[int, str]]:
    found = [(depth, base.__name__)]
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            found += real_tree(child, depth + 1)
    return found


def test_the_drawing_matches_the_classes() -> None:
    assert drawn_tree()[0] == (0, "Exception")
    assert sorted(drawn_tree()[1:]) == sorted(real_tree(errors.EvpyError, 1))


def test_the_export_list_is_complete() -> None:
    named = {name for _, name in drawn_tree()[1:]} | {"ExitCode"}
    assert set(errors.__all__) == named


@pytest.mark.parametrize(("error", "code"), [(errors.UsageError, 2), (errors.StartupError, 3), (errors.CrashError, 1)])
def test_exit_codes(error: type[errors.ExitError], code: int) -> None:
    assert error("x").exit_code == code


def test_a_deadline_is_a_timeout_that_a_handler_can_catch() -> None:
    with pytest.raises(TimeoutError):
        raise errors.DeadlineExceeded
    with pytest.raises(Exception, match="deadline of the request"):
        raise errors.DeadlineExceeded
    assert issubclass(errors.DeadlineExceeded, errors.EvpyError)
    assert errors.DeadlineExceeded.status == 504


def test_a_lost_client_is_a_connection_error() -> None:
    assert isinstance(errors.ClientDisconnected(), ConnectionError)
    assert isinstance(errors.ClientDisconnected(), errors.EvpyError)


def test_http_error_carries_the_answer() -> None:
    error = errors.HTTPError(405, headers={"Allow": "GET"})
    assert (error.status, error.detail, error.headers) == (405, "Method Not Allowed", (("Allow", "GET"),))
    assert str(errors.HTTPError(404, "no such user")) == "404 no such user"
    assert errors.HTTPError(401, headers=[("A", "1"), ("A", "2")]).headers == (("A", "1"), ("A", "2"))


@pytest.mark.parametrize("status", [0, 200, 302, 399, 600])
def test_http_error_is_an_error_status(status: int) -> None:
    with pytest.raises(ValueError, match="400 to 599"):
        errors.HTTPError(status)


def test_a_status_without_a_name_has_the_phrase_of_its_class() -> None:
    assert errors.HTTPError(499).detail == "Bad Request"
    assert errors.HTTPError(599).detail == "Internal Server Error"


@pytest.mark.parametrize(
    "error",
    [
        errors.UsageError("bad"),
        errors.HTTPError(404, "gone", {"X": "1"}),
        errors.BodyTooLarge(10),
        errors.DeadlineExceeded(),
        errors.ClientDisconnected(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickling(error: errors.EvpyError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
