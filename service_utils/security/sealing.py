"""Sealing: authenticated encryption with nothing to choose and nothing to get wrong.

XAES-256-GCM (https://c2sp.org/XAES-256-GCM): AES-256-GCM under a key derived for each message from 24 random bytes, so
that random nonces never run out, however much is sealed under one key. The primitives are those of ``cryptography``.

::

    version 1 | key id 4 | nonce 24 | ciphertext | tag 16

Version and key id are authenticated, too. The first key seals, all of them open: put a new key in front, and drop the
old one when nothing sealed by it is left.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import os
from collections.abc import Sequence
from typing import Any

from efio import run_blocking
from service_utils.security.errors import BadKey, CannotOpen
from service_utils.security.secret_values import Secret

__all__ = ["Sealer"]

VERSION = b"\x01"
HEAD = 1 + 4
NONCE = 24
TAG = 16
OFFLOAD = 1024 * 1024  # bytes: more is given to a thread


class Sealer:
    """Seals and opens with one or several keys of 32 random bytes, or Secrets that hold them in base64.

    ``Sealer.new_key()`` makes one. BadKey for another length; ImportError without cryptography.
    """

    def __init__(self, keys: bytes | Secret | Sequence[bytes | Secret]) -> None:
        several = [keys] if isinstance(keys, (bytes, Secret)) else list(keys)
        if not several:
            raise BadKey("give at least one key: Sealer.new_key()")
        self._keys: dict[bytes, _Xaes] = {}
        for key in several:
            raw = _decode(key) if isinstance(key, Secret) else key
            name = hashlib.sha256(b"service_utils.security.sealing key id\0" + raw).digest()[:4]
            if name in self._keys:
                raise BadKey("one of the keys is given twice")
            self._keys[name] = _Xaes(raw)
        self._first = next(iter(self._keys))

    @staticmethod
    def new_key() -> bytes:
        """32 random bytes."""
        return os.urandom(32)

    def seal(self, data: bytes, *, bound_to: str | bytes = b"") -> bytes:
        """The sealed data, 45 bytes longer. It opens only where the same ``bound_to`` is given (such as the user's id:
        so nobody can use the sealed value of another one)."""
        head = VERSION + self._first
        return _offloaded(self._keys[self._first].encrypt, head, data, _aad(head, bound_to))

    def open(self, sealed: bytes, *, bound_to: str | bytes = b"") -> bytes:
        """What was sealed. CannotOpen, which does not say why, for everything else."""
        key = self._keys.get(sealed[1:HEAD])
        if sealed[:1] != VERSION or key is None or len(sealed) < HEAD + NONCE + TAG:
            raise CannotOpen("this was not sealed with any of the keys")
        return _offloaded(key.decrypt, sealed[HEAD:], _aad(sealed[:HEAD], bound_to))

    def seal_text(self, text: str, *, bound_to: str | bytes = b"") -> str:
        """The same for texts: URL-safe base64, good for cookies and links."""
        return base64.urlsafe_b64encode(self.seal(text.encode(), bound_to=bound_to)).rstrip(b"=").decode()

    def open_text(self, sealed: str, *, bound_to: str | bytes = b"") -> str:
        """The text that was sealed. CannotOpen."""
        try:
            raw = base64.b64decode(sealed.encode("ascii") + b"=" * (-len(sealed) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise CannotOpen("this was not sealed with any of the keys") from None
        try:
            return self.open(raw, bound_to=bound_to).decode()
        except UnicodeDecodeError:
            raise CannotOpen("what was sealed is not text: use open") from None


class _Xaes:
    """XAES-256-GCM with one key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise BadKey(f"a key for sealing has 32 random bytes, this one {len(key)}; make one by Sealer.new_key()")
        aes = _cipher(key).encryptor()
        block = int.from_bytes(aes.update(bytes(16)))  # the subkey of CMAC, NIST SP 800-38B section 6.1
        self._subkey = ((block << 1) ^ (0x87 if block >> 127 else 0)) & ((1 << 128) - 1)
        self._key = key

    def _derive(self, half: bytes) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        blocks = b"".join(
            (int.from_bytes(b"\x00" + bytes([number]) + b"X\x00" + half) ^ self._subkey).to_bytes(16)
            for number in (1, 2)
        )
        return AESGCM(_cipher(self._key).encryptor().update(blocks))

    def encrypt(self, head: bytes, data: bytes, aad: bytes) -> bytes:
        nonce = os.urandom(NONCE)
        return b"".join((head, nonce, self.encrypt_with(nonce, data, aad)))

    def encrypt_with(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        return bytes(self._derive(nonce[:12]).encrypt(nonce[12:], data, aad))

    def decrypt(self, sealed: bytes, aad: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            return bytes(self._derive(sealed[:12]).decrypt(sealed[12:NONCE], sealed[NONCE:], aad))
        except InvalidTag:
            raise CannotOpen("this was not sealed with any of the keys") from None


def _cipher(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    except ImportError as error:
        raise ImportError(f"sealing needs cryptography: pip install 'evpy[security]' ({error})") from error
    return Cipher(algorithms.AES(key), modes.ECB())  # single blocks of a key derivation, never data


def _aad(head: bytes, bound_to: str | bytes) -> bytes:
    return head + (bound_to.encode() if isinstance(bound_to, str) else bound_to)


def _offloaded(function: functools.partial[bytes] | Any, *arguments: bytes) -> bytes:
    if max(map(len, arguments)) > OFFLOAD:
        return bytes(run_blocking(function, *arguments))
    return bytes(function(*arguments))


def _decode(secret: Secret) -> bytes:
    text = secret.reveal()
    try:
        return base64.b64decode(
            text + "=" * (-len(text) % 4), b"-_" if "-" in text or "_" in text else None, validate=True
        )
    except (binascii.Error, ValueError):
        raise BadKey(f"{secret!r} is not base64 of 32 bytes") from None
