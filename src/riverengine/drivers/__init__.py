"""Other libraries' connections: the same statements in a caller's transaction of any of them.

A driver is recognised by type and imported only then, so none of them is a dependency. For a
library that is not known here, implement :class:`DriverExecutor` and give its instance as ``tx``.
"""

from riverengine.drivers.executor import Database, DriverDatabase, DriverExecutor, DriverRecord
from riverengine.drivers.placeholders import named_arguments, named_placeholders
from riverengine.drivers.recognise import (
    AsyncSource,
    AsyncTransaction,
    SyncSource,
    SyncTransaction,
)

__all__ = [
    "AsyncSource",
    "AsyncTransaction",
    "Database",
    "DriverDatabase",
    "DriverExecutor",
    "DriverRecord",
    "SyncSource",
    "SyncTransaction",
    "named_arguments",
    "named_placeholders",
]
