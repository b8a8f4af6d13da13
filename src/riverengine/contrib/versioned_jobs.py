"""Brings args of older releases up to date before their jobs are worked.

Workers then know the newest form only. Source: rivercontrib's versionedjob.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping

from riverengine.types.job import JobRow, Json
from riverengine.work.go_json import encode_json

Transform = Callable[[dict[str, Json]], dict[str, Json]]
"""Turns the stored args of any version, a copy of its own, into those of the newest."""


class VersionedJobs:
    """A hook: ``Config(hooks=[VersionedJobs({"greet": upgrade_greet})])``.

    The stored row keeps its args. What a transform raises fails the attempt.
    """

    def __init__(self, transforms: Mapping[str, Transform]) -> None:
        """transforms: by kind."""
        self._transforms = dict(transforms)

    async def work_begin(self, job: JobRow) -> JobRow | None:
        """The row with args of the newest version."""
        transform = self._transforms.get(job.kind)
        if transform is None:
            return None
        upgraded = transform(json.loads(job.encoded_args))
        return dataclasses.replace(job, encoded_args=encode_json(upgraded, "args"))
