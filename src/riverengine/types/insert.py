"""What an insert returns."""

from __future__ import annotations

from dataclasses import dataclass

from riverengine.types.job import JobRow


@dataclass(frozen=True, slots=True)
class InsertResult:
    """An inserted job; or, when skipped as a duplicate, the job that holds the unique key."""

    job: JobRow
    unique_skipped_as_duplicate: bool
