"""Real servers and raw clients for tests over sockets.

``Server`` starts ``evserver`` in a process of its own, waits until it is ready, and proves at its end that it
stopped as it should. ``Client`` speaks bytes, so that a test can send what no HTTP library would.
"""

from serving.client import Answer, Client, exchange
from serving.load import Load
from serving.ports import free_port
from serving.server import Server

__all__ = ["Answer", "Client", "Load", "Server", "exchange", "free_port"]
