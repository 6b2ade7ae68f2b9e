"""The one pool under every client of service_utils: databases, Redis, HTTP, mail.

::

    pool = Pool(connector, size=10)
    with pool.acquire(timeout=2) as connection:
        ...
"""

from service_utils.pool._lease import Lease
from service_utils.pool.client import PooledClient
from service_utils.pool.connector import Connector
from service_utils.pool.core import Pool, PoolStatistics
from service_utils.pool.errors import LeaseOver, PoolClosed, PoolError, PoolExhausted
from service_utils.pool.holders import Holding
from service_utils.pool.keys import Key, Pools

__all__ = [
    "Connector",
    "Holding",
    "Key",
    "Lease",
    "LeaseOver",
    "Pool",
    "PoolClosed",
    "PoolError",
    "PoolExhausted",
    "PoolStatistics",
    "PooledClient",
    "Pools",
]
