"""The twins in Python of what is compiled: EFIO_IMPL=python."""
