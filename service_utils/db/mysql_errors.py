"""What PyMySQL raises, as the errors of all engines."""

from __future__ import annotations

from evpy.errors import EvpyError
from service_utils.db.errors import DatabaseError, error_for

__all__ = ["interruption", "translated"]

# Error numbers of MySQL and MariaDB to SQLSTATE: theirs are coarse ("23000" for all of 23xxx) or of their own.
_STATES = {
    1062: "23505", 1586: "23505", 1169: "23505", 1451: "23503", 1452: "23503", 1216: "23503", 1217: "23503",
    1048: "23502", 1364: "23502", 1263: "23502", 3819: "23514", 4025: "23514", 1213: "40P01", 1020: "40001",
    1205: "55P03", 3572: "55P03", 1146: "42P01", 1051: "42P01", 1054: "42703", 1064: "42601", 1149: "42601",
    1050: "42P07", 1792: "25006", 1836: "25006", 1290: "25006", 1969: "57014", 3024: "57014", 1317: "57014",
    1044: "28000", 1045: "28000", 1698: "28000", 1142: "42501", 1143: "42501", 1370: "42501", 1227: "42501",
    1040: "53300", 1203: "53300", 1226: "53300", 1049: "08001", 2002: "08001", 2003: "08001", 2005: "08001",
    2026: "08001", 0: "08006", 2006: "08006", 2013: "08006", 2014: "08006", 2055: "08006", 1053: "57P01",
    1927: "57P01", 3169: "57P01", 1406: "22001", 1264: "22003", 1690: "22003", 1366: "22007", 1292: "22007",
    1365: "22012", 1235: "0A000",
}  # fmt: skip


def interruption(error: BaseException, before: BaseException | None) -> BaseException | None:
    """A deadline of evpy that the driver took for an error of its socket. ``before``: what was being handled when it
    was called; that is nobody's business here."""
    return _behind(error, before, EvpyError)


def _behind(error: BaseException, before: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    cause: BaseException | None = error
    while cause is not None and cause is not before:
        if isinstance(cause, kind):
            return cause
        cause = getattr(cause, "original_exception", None) or cause.__context__
    return None


def translated(error: Exception, before: BaseException | None, connecting: bool = False) -> DatabaseError:
    """``before``: as for ``interruption``."""
    cause = _behind(error, before, TimeoutError)
    number = error.args[0] if error.args and isinstance(error.args[0], int) else -1
    message = str(error.args[1]) if len(error.args) > 1 else str(error)
    state = _STATES.get(number) or getattr(error, "sqlstate", None) or "HY000"
    if number < 0 and "can not be used with MySQL" in message:  # nan, inf
        state = "22023"
    elif connecting and state.startswith("08"):
        state = "08001"
    elif cause is not None:
        state, message = "57014", f"the server has said nothing for too long: {message}"
    return error_for(state, f"{message} ({number})", "mysql")
