"""Args every workflow job carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class BaseJobArgs:
    """Which step of which workflow a job is; the data are in the workflow's context.

    Subclasses set ``kind``.
    """

    kind: ClassVar[str]

    workflow_id: str
    workflow_type: str
    step_name: str
    org_id: str = ""
    user_id: str = ""
