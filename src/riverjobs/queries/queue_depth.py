"""How much work waits in River's queues."""

from __future__ import annotations

from collections.abc import Sequence

from riverengine.queries.statement import Executor, statement

_DEPTHS = statement("queue_depth.sql", "queue_depths", package="riverjobs.queries.sql")


async def queue_depths(
    db: Executor, *, schema: str | None
) -> Sequence[tuple[str, str, int, float]]:
    """Queue, state and number of unfinished jobs, and the seconds the oldest due one waits."""
    return [
        (record["queue"], record["state"], record["number"], float(record["oldest_wait"]))
        for record in await db.fetch(_DEPTHS.sql(schema))
    ]
