"""The errors of formats.

::

    EvpyError
    └── FormatError
        ├── BadData         what was to be read is not of this format, or beyond a limit; also a ValueError
        └── PdfFailed       the page could not be printed: the browser is missing, has ended, or took too long
"""

from evpy.errors import EvpyError

__all__ = ["BadData", "FormatError", "PdfFailed"]


class FormatError(EvpyError):
    """Base of what formats raise on purpose."""


class BadData(FormatError, ValueError):
    """It cannot be read."""


class PdfFailed(FormatError):
    """There is no PDF."""
