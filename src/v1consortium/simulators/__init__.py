"""Servers that behave like the providers, for tests and for ``make demo``.

``python -m v1consortium.simulators`` runs all of them in one process. They keep what they accepted,
count it by business key, and can be told to fail: see :mod:`.faults`.
"""
