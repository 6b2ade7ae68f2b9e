"""Keys of pools: whatever makes a difference keeps connections apart, and no secret is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service_utils.pool import Connector, Key, Pool, Pools

KEY = Key("postgresql", "db", 5432, "app", "shop", secret="s3cret", tls=("verify", "ca.pem"), options=("utc",))


class Named(Connector[Key]):
    def __init__(self, key: Key) -> None:
        self.key = key

    def connect(self, timeout: float) -> Key:
        return self.key

    def close(self, connection: Key) -> None:
        pass


def make(key: Key) -> Pool[Key]:
    return Pool(Named(key), name=str(key))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "mysql"}, {"host": "other"}, {"port": 5433}, {"user": "admin"}, {"database": "x"}, {"secret": "other"},
        {"tls": None}, {"options": ()},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_nothing_is_shared_between_different_keys(change: dict[str, Any]) -> None:
    pools: Pools[Key] = Pools(make)
    mine, theirs = pools.get(KEY), pools.get(replace(KEY, **change))
    assert mine is not theirs
    assert mine is pools.get(replace(KEY))
    with mine.acquire() as own:
        assert own == KEY
    with theirs.acquire() as other:
        assert other != KEY
    assert pools.close()


def test_secrets_are_not_shown() -> None:
    assert str(KEY) == "postgresql://app@db:5432/shop"
    assert "s3cret" not in repr(KEY)
    assert "s3cret" not in repr(make(KEY))


def test_a_closed_pool_is_replaced() -> None:
    pools: Pools[Key] = Pools(make)
    first = pools.get(KEY)
    first.close()
    assert pools.get(KEY) is not first
