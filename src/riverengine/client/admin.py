"""What every client offers, whether it works jobs or not."""

from __future__ import annotations

from riverengine.client.insert import InsertApi
from riverengine.client.job_lists import JobListApi
from riverengine.client.job_many import JobManyApi
from riverengine.client.jobs import JobApi
from riverengine.client.notify import NotifyApi
from riverengine.client.queues import QueueApi


class AdminApi(InsertApi, JobApi, JobListApi, JobManyApi, NotifyApi, QueueApi):
    """Inserting jobs, and administering jobs and queues."""
