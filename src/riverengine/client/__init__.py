"""The client: inserts, administers and works jobs."""

from riverengine.client.client import Client
from riverengine.client.insert import InsertManyParams
from riverengine.client.insert_client import InsertClient
from riverengine.client.jobs import JobListParams
from riverengine.types.insert import InsertResult

__all__ = ["Client", "InsertClient", "InsertManyParams", "InsertResult", "JobListParams"]
