"""Sessions of users: data in Redis under an unguessable id.

What is stored is the hash of the id, so that whoever reads the database cannot take over a session. A session that was
deleted does not come back because somebody still saves it. After a login, ``renew`` gives it another id (session
fixation).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Any

import msgspec
import redis

from service_utils.redis.connection import BINARY

__all__ = ["Sessions"]

_id = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class Sessions:
    """``lifetime``: seconds after the last use. Data is a dict of plain values (msgpack)."""

    def __init__(self, client: redis.Redis, lifetime: float = 3600.0, *, prefix: str = "session:") -> None:
        if lifetime <= 0:
            raise ValueError(f"Sessions(lifetime={lifetime}): give seconds, above 0")
        self.client = client
        self.prefix = prefix
        self._px = int(lifetime * 1000) or 1

    def _key(self, session: str) -> str | None:
        if not _id.fullmatch(session):
            return None
        return self.prefix + hashlib.sha256(session.encode()).hexdigest()

    def create(self, data: dict[str, Any]) -> str:
        """Its id: 43 characters, for a cookie that is Secure and HttpOnly."""
        session = secrets.token_urlsafe(32)
        self.client.set(str(self._key(session)), msgspec.msgpack.encode(data), px=self._px)
        return session

    def load(self, session: str) -> dict[str, Any] | None:
        """Its data; None when there is no such session (any more). Begins its lifetime anew."""
        key = self._key(session)
        client: Any = self.client
        data = client.execute_command("GETEX", key, "PX", self._px, **BINARY) if key else None
        return None if data is None else msgspec.msgpack.decode(data, type=dict[str, Any])

    def save(self, session: str, data: dict[str, Any]) -> bool:
        """Replaces its data; False when there is no such session any more."""
        key = self._key(session)
        return bool(key and self.client.set(key, msgspec.msgpack.encode(data), px=self._px, xx=True))

    def renew(self, session: str) -> str | None:
        """Another id for the same session; None when there is none."""
        key, fresh = self._key(session), secrets.token_urlsafe(32)
        if key is None:
            return None
        try:
            self.client.rename(key, str(self._key(fresh)))
        except redis.ResponseError as error:
            if "no such key" not in str(error):
                raise
            return None
        return fresh

    def delete(self, session: str) -> None:
        """Whether or not there is one."""
        key = self._key(session)
        if key:
            self.client.delete(key)
