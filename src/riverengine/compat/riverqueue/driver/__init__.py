"""Drivers of the clients; there is one, as in ``riverqueue``."""
