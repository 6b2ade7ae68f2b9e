"""What a handler script sees of HTTP: requests, responses, forms, routes, files and server-sent events.

The names for users are re-exported by ``evpy`` itself; nothing is imported here, so that a worker pays only for what
its handlers touch.
"""
