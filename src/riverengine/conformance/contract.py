"""Every method of the contract, and the handshake that lists them.

Source: conformance/adapter/contract.json of riverqueue/river, adapter version 18.
"""

from __future__ import annotations

from importlib.metadata import version

from riverengine.conformance import (
    calculations,
    database,
    jobs,
    queues,
    runtime,
    transactions,
)
from riverengine.conformance.method import Method
from riverengine.conformance.session import Call, Session
from riverengine.conformance.shapes import Members
from riverengine.schema.line import MAIN_LINE, bundled_migrations
from riverengine.types.job import Json

ADAPTER_VERSION = 18
PROTOCOL_REVISION = 1
IMPLEMENTATION = "python"
PROFILE = "postgres-full-v1"
CAPABILITIES = (
    *("barriers", "cancel", "custom_schema", "deterministic_controls", "extensions"),
    *("fault_injection", "get", "insert", "job_crud", "leadership", "lifecycle", "maintenance"),
    *("migrate", "notifications", "periodic_jobs", "poll_only", "queues", "reset"),
    *("resumable_jobs", "retry", "scheduler", "subscriptions", "transactions", "unique_jobs"),
    "work",
)


async def _handshake(session: Session, call: Call) -> Json:
    return {
        "adapter_version": ADAPTER_VERSION,
        "application_name": session.application_name,
        "backend": "postgres",
        "capabilities": list(CAPABILITIES),
        "implementation": IMPLEMENTATION,
        "implementation_version": version("riverjobs"),
        "methods": list(METHODS),
        "migration_lines": {MAIN_LINE: bundled_migrations(MAIN_LINE)[-1].version},
        "profile": PROFILE,
        "protocol_revision": PROTOCOL_REVISION,
    }


_ALL = (
    Method("handshake", Members(), _handshake),
    *calculations.METHODS,
    *database.METHODS,
    *jobs.METHODS,
    *queues.METHODS,
    *runtime.METHODS,
    *transactions.METHODS,
)

METHODS = {method.name: method for method in sorted(_ALL, key=lambda each: each.name)}
"""By name, in the contract's order."""
