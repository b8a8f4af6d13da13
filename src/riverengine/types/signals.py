"""Control flow raised out of a worker: not errors.

They derive from ``BaseException`` so that a broad ``except Exception`` in user code cannot swallow
them.
"""

from __future__ import annotations

from datetime import timedelta


class JobSignal(BaseException):
    """Root of the signals a worker may raise instead of returning."""


class JobCancel(JobSignal):
    """Raised by a worker: finish the job as ``cancelled``, never retry it.

    ``reason`` is stored as the attempt's error: ``JobCancelError: <reason>``.
    """

    def __init__(self, reason: str | BaseException) -> None:
        super().__init__(f"JobCancelError: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[type[JobCancel], tuple[str]]:
        return JobCancel, (str(self.reason),)


class JobSnooze(JobSignal):
    """Raised by a worker: run the job again after ``duration`` without using up an attempt.

    duration: zero runs it again at once; negative ones raise ``ValueError``, numbers ``TypeError``.
    """

    def __init__(self, duration: timedelta) -> None:
        given: object = duration
        if not isinstance(given, timedelta):
            raise TypeError("JobSnooze: duration must be a timedelta")
        if duration < timedelta(0):
            raise ValueError("JobSnooze: duration must be >= 0")
        super().__init__(f"JobSnoozeError: {duration}")
        self.duration = duration

    def __reduce__(self) -> tuple[type[JobSnooze], tuple[timedelta]]:
        return JobSnooze, (self.duration,)
