"""Structured logging that never makes a scheduler wait, on the standard logging module.

::

    from service_utils.logging import FileSink, bind, configure

    configure("info,shop.db=debug", [FileSink("shop.log", max_bytes=50_000_000)])
    bind(user="ann")  # in every line of this request from now on, as is the request's id
    logging.getLogger("shop").info("sold", extra={"item": 5})
"""

from service_utils.logging.context import bind, bound
from service_utils.logging.files import ConsoleSink, FileSink
from service_utils.logging.network import SyslogSink, TcpSink
from service_utils.logging.setup import SinkHandler, configure, set_level
from service_utils.logging.sinks import Sink, SinkStatistics

__all__ = [
    "ConsoleSink",
    "FileSink",
    "Sink",
    "SinkHandler",
    "SinkStatistics",
    "SyslogSink",
    "TcpSink",
    "bind",
    "bound",
    "configure",
    "set_level",
]
