"""Keys that several tests use: making one for RSA takes a while."""

from __future__ import annotations

import pytest

from service_utils.security import Key


@pytest.fixture(scope="session")
def rsa_pem() -> bytes:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture(scope="session")
def rsa_key(rsa_pem: bytes) -> Key:
    return Key.from_pem(rsa_pem, "RS256", kid="rsa")
