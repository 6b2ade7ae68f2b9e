"""Tarantool's errors in the tree of ``service_utils.db.errors``: its numbers to SQLSTATE.

The numbers: https://www.tarantool.io/en/doc/latest/reference/reference_lua/errcodes/ (src/box/errcode.h).
"""

from __future__ import annotations

from service_utils.db.errors import DatabaseError, error_for

__all__ = ["lost", "refused"]

_STATES = {
    2: "53200",  # MEMORY_ISSUE
    3: "23505",  # TUPLE_FOUND: duplicate key
    7: "25006",  # READONLY
    18: "22000", 19: "22000", 20: "22000", 23: "22000", 24: "22000", 26: "22000",  # types and counts of keys and fields
    28: "42000", 29: "42000",  # UNKNOWN_UPDATE_OP, UPDATE_FIELD
    33: "42883",  # NO_SUCH_PROC
    35: "42704",  # NO_SUCH_INDEX_ID
    36: "42P01",  # NO_SUCH_SPACE
    37: "42703",  # NO_SUCH_FIELD_NO
    39: "22000",  # FIELD_COUNT
    42: "42501",  # ACCESS_DENIED
    45: "28000",  # NO_SUCH_USER
    47: "28P01",  # PASSWORD_MISMATCH
    55: "42501",
    77: "08006",  # NO_CONNECTION
    78: "57014",  # TIMEOUT
    97: "40001",  # TRANSACTION_CONFLICT
    108: "42704",  # NO_SUCH_INDEX_NAME
    170: "53200",
    216: "42703",  # NO_SUCH_FIELD_NAME_IN_SPACE
}  # fmt: skip


def refused(number: int, message: str) -> DatabaseError:
    """What the server says to a request."""
    error = error_for(_STATES.get(number, ""), message, "tarantool")
    error.args = (f"{message} ({number})",)
    return error


def lost(message: str, *, connecting: bool = False) -> DatabaseError:
    """The connection is broken, or could not be made."""
    return error_for("08001" if connecting else "08006", message, "tarantool")
