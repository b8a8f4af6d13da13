"""Measurements a client emits while it works."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar


class MetricName(StrEnum):
    """Names of River's metrics."""

    JOB_GET_AVAILABLE_DURATION = "job_get_available_duration"
    JOB_GET_AVAILABLE_COUNT = "job_get_available_count"


@dataclass(frozen=True, slots=True)
class JobGetAvailableDurationMetric:
    """How long a successful fetch from ``queue`` took."""

    name: ClassVar[MetricName] = MetricName.JOB_GET_AVAILABLE_DURATION
    duration: timedelta
    queue: str


@dataclass(frozen=True, slots=True)
class JobGetAvailableCountMetric:
    """How many jobs a successful fetch from ``queue`` claimed; 0 is a metric too."""

    name: ClassVar[MetricName] = MetricName.JOB_GET_AVAILABLE_COUNT
    count: int
    queue: str


Metric = JobGetAvailableDurationMetric | JobGetAvailableCountMetric
