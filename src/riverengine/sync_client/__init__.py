"""Inserting and administering jobs from synchronous code."""

from riverengine.sync_client.client import SyncClient

__all__ = ["SyncClient"]
