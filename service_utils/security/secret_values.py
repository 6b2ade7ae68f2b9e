"""Secrets from the places where orchestrators put them, held so that they do not show themselves by accident.

For ``load_secret("DB_PASSWORD")``, first found, first taken:

1. the file that the environment variable ``DB_PASSWORD_FILE`` names
2. the environment variable ``DB_PASSWORD``
3. the file ``DB_PASSWORD`` or ``db_password`` in ``$CREDENTIALS_DIRECTORY`` (systemd), in /run/secrets (Docker)

One newline at the end of a file is not part of the secret: editors put it there.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NoReturn

from service_utils.security.errors import MissingSecret
from service_utils.security.hashing import same

__all__ = ["Secret", "load_secret"]

MAX_SIZE = 1024 * 1024  # bytes
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Secret:
    """A text that neither repr, str, logs, tracebacks nor pickle show. ``reveal()`` gives it."""

    __slots__ = ("_value", "name")

    def __init__(self, value: str, name: str = "") -> None:
        self._value = value
        self.name = name

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def reveal_bytes(self) -> bytes:
        """The text as UTF-8."""
        return self._value.encode()

    def __repr__(self) -> str:
        return f"<Secret {self.name or 'without a name'}>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and same(self._value, other._value)

    __hash__ = None  # type: ignore[assignment] # a hash would tell

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} does not travel: load it where it is needed")


def load_secret(name: str, default: str | None = None, *, folders: tuple[str, ...] = ("/run/secrets",)) -> Secret:
    """The secret of this name. MissingSecret when it is nowhere and there is no default; ValueError for a bad name.

    A file that is named but cannot be read is an error, even if there were other places.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r}: the name of a secret has letters, digits, _ and -")
    named = os.environ.get(f"{name}_FILE")
    if named:
        return Secret(_read(Path(named), f"{name}_FILE"), name)
    value = os.environ.get(name)
    if value:
        return Secret(value, name)
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    places = [Path(folder) for folder in (credentials, *folders) if folder]
    for place in places:
        for spelling in dict.fromkeys((name, name.lower())):
            if (place / spelling).is_file():
                return Secret(_read(place / spelling, "secret"), name)
    if default is not None:
        return Secret(default, name)
    tried = ", ".join([f"the variables {name}_FILE and {name}", *(f"the folder {place}" for place in places)])
    raise MissingSecret(f"the secret {name} is missing; looked for it in {tried}")


def _read(path: Path, what: str) -> str:
    try:
        if path.stat().st_size > MAX_SIZE:
            raise MissingSecret(f"{what} {path} has more than {MAX_SIZE} bytes: that is no secret")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MissingSecret(f"{what} {path} cannot be read: {error}") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise MissingSecret(f"{what} {path} is empty")
    return text
