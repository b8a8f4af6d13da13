"""The client: inserts, administers and works jobs."""

from riverengine.client.client import Client
from riverengine.client.insert import InsertManyParams, InsertResult
from riverengine.client.jobs import JobListParams

__all__ = ["Client", "InsertManyParams", "InsertResult", "JobListParams"]
