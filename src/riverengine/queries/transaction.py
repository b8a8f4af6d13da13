"""Whether a transaction can still be committed."""

from __future__ import annotations

from riverengine.queries.statement import Executor, statement

_TRANSACTION_CHECK = statement("transaction.sql", "transaction_check")


async def transaction_check(tx: Executor) -> None:
    """Raises the driver's error when an error aborted the transaction."""
    await tx.fetchval(_TRANSACTION_CHECK.sql(None))
