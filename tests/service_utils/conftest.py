"""Names are looked up by c-ares, whose thread and descriptors stay: they are there before anything is compared."""

from service_utils.names import usual

usual.resolve("localhost", 1, 60.0)
