"""The 103 core scenarios: name, tier, the file that plays it, what it asserts.

Source: conformance/scenarios/core.json of River's repository at 0efc67a, whose names these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TIERS = ("codec", "storage", "runtime", "mixed", "chaos", "performance")
"""River's tiers, in the order of the table."""


@dataclass(frozen=True)
class Scenario:
    """One scenario; ``note`` tells where v0.51.1 or our runner differs from the suite's age."""

    tier: str
    file: str
    name: str
    asserts: str
    note: str = ""


def _scenarios() -> list[Scenario]:
    text = Path(__file__).with_name("scenarios.txt").read_text(encoding="utf-8")
    return [
        Scenario(*(part.strip() for part in line.split("|")))
        for line in text.splitlines()
        if not line.startswith("#")
    ]


SCENARIOS: Sequence[Scenario] = _scenarios()
"""Every scenario, by tier."""

METHODS: Sequence[str] = (
    "barrier_create",
    "barrier_release",
    "benchmark_enqueue",
    "cancel",
    "clock_set",
    "connection_count",
    "cron_next",
    "delete",
    "delete_many",
    "fault_disconnect_application",
    "fault_disconnect_listeners",
    "fault_expire_leader",
    "get",
    "handshake",
    "insert",
    "insert_many",
    "leader",
    "list",
    "listener_count",
    "migrate",
    "queue_add",
    "queue_get",
    "queue_list",
    "queue_pause",
    "queue_remove",
    "queue_resume",
    "queue_update",
    "raw_finalize",
    "raw_insert_exact_json",
    "raw_insert_full_row",
    "raw_insert_no_notify",
    "raw_job_exact_json",
    "raw_job_row",
    "raw_job_timestamps",
    "raw_notifications",
    "request_resign",
    "reset",
    "retry",
    "retry_delay",
    "rng_seed",
    "runtime_stats",
    "start",
    "stop",
    "tx_begin",
    "tx_cancel",
    "tx_commit",
    "tx_delete",
    "tx_delete_many",
    "tx_fail",
    "tx_get",
    "tx_insert",
    "tx_insert_many",
    "tx_list",
    "tx_queue_get",
    "tx_queue_list",
    "tx_queue_pause",
    "tx_queue_resume",
    "tx_queue_update",
    "tx_retry",
    "tx_rollback",
    "tx_update",
    "unique_key",
    "update",
    "wait",
    "work",
)
"""Methods of the adapters, in the contract's order."""

CAPABILITIES = frozenset(
    {
        "barriers",
        "cancel",
        "custom_schema",
        "deterministic_controls",
        "extensions",
        "fault_injection",
        "get",
        "insert",
        "job_crud",
        "leadership",
        "lifecycle",
        "maintenance",
        "migrate",
        "notifications",
        "periodic_jobs",
        "poll_only",
        "queues",
        "reset",
        "resumable_jobs",
        "retry",
        "scheduler",
        "subscriptions",
        "transactions",
        "unique_jobs",
        "work",
    }
)
"""Capabilities that the handshake has to name."""
