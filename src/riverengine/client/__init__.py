"""The client: inserts, administers and works jobs."""

from riverengine.client.client import Client
from riverengine.client.insert import InsertManyParams, InsertResult

__all__ = ["Client", "InsertManyParams", "InsertResult"]
