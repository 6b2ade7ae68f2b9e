"""Tarantool, by its official driver, on the common pool and on sockets that any hub and any thread may use.

::

    client = connect("tarantool://user:password@127.0.0.1:3301")
    client.insert("item", (1, "tea"))
    client.select("item", 1, into=dict)
    client.call("total", "2026")
"""

from service_utils.tarantool.client import Tarantool, connect

__all__ = ["Tarantool", "connect"]
