"""What is wrong with SQL before any database has seen it."""

from evpy.errors import EvpyError

__all__ = ["SQLError"]


class SQLError(EvpyError, ValueError):
    """The text, or what was given for it, makes no sense. The message names the place, by line."""
