"""The client: inserts, administers and works jobs."""

from riverengine.client.client import Client
from riverengine.client.health import ClientHealth, NotificationState
from riverengine.client.insert import InsertManyParams
from riverengine.client.insert_client import InsertClient
from riverengine.types.insert import InsertResult

__all__ = [
    "Client",
    "ClientHealth",
    "InsertClient",
    "InsertManyParams",
    "InsertResult",
    "NotificationState",
]
