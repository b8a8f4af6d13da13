"""Which of a driver's errors tells of a unique key, and whether a COMMIT may have happened.

Drivers have error classes of their own; all carry PostgreSQL's SQLSTATE somewhere.
"""

from __future__ import annotations

from riverengine.types.errors import DuplicateInBatchError, RiverError, UniqueConflictError

_UNIQUE_INDEX = "river_job_unique_idx"
_UNIQUE_VIOLATION = "23505"
_CARDINALITY_VIOLATION = "21000"
_DEADLOCK = "40P01"
_BREAKS = ("08", "57P01", "57P02", "57P03")


def sqlstate_of(error: BaseException) -> str | None:
    """The SQLSTATE of a driver's error, also of one wrapped by SQLAlchemy or Django.

    None for an error that did not come from the server.
    """
    found = origin_of(error)
    state = getattr(found, "sqlstate", None) or getattr(found, "pgcode", None)
    return state if isinstance(state, str) else None


def conflict_of(error: Exception) -> RiverError | None:
    """The typed error of a unique job's conflict; None for any other error."""
    state = sqlstate_of(error)
    if state == _CARDINALITY_VIOLATION:
        return DuplicateInBatchError()
    if state == _UNIQUE_VIOLATION and _constraint(error).startswith(_UNIQUE_INDEX):
        return UniqueConflictError()
    return None


def is_deadlock(error: BaseException) -> bool:
    """Whether the transaction was the one that gave way to others it stood crosswise to."""
    return sqlstate_of(error) == _DEADLOCK


def commit_is_ambiguous(error: BaseException) -> bool:
    """Whether a COMMIT that raised this may have happened all the same.

    An error the server sent in answer, such as a violated deferred constraint, says it did not.
    """
    state = sqlstate_of(error)
    return state is None or state.startswith(_BREAKS)


def origin_of(error: BaseException) -> BaseException:
    """The driver's own error, which quotes no args: SQLAlchemy keeps it as ``orig``, Django as the
    cause.
    """
    found = error
    for _ in range(4):
        if getattr(found, "sqlstate", None) or getattr(found, "pgcode", None):
            break
        inner = getattr(found, "orig", None) or found.__cause__
        if not isinstance(inner, BaseException):
            break
        found = inner
    return found


def _constraint(error: BaseException) -> str:
    found: BaseException | None = origin_of(error)
    while found is not None:
        name = getattr(found, "constraint_name", None) or getattr(
            getattr(found, "diag", None), "constraint_name", None
        )
        if isinstance(name, str):
            return name
        found = found.__cause__
    return ""
