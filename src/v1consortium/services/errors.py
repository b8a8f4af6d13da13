"""What can go wrong at a provider, seen from a job.

::

    ProviderError
    ├── TransientError      nothing was done: let the job try again
    │   └── AmbiguousError  it may have been done: look up, or repeat under the same key
    └── PermanentError      trying again cannot help: fail the workflow

An error never holds the provider's free text, a body, a credential or a person's data: only the
provider's name, the operation and a code.
"""

from __future__ import annotations

import re
from datetime import timedelta

_SAFE_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class ProviderError(Exception):
    """A call to a provider did not succeed; ``code`` is the provider's own code or ours.

    ``retry_after`` is how long the provider asked to be left alone (None: it did not say).
    """

    def __init__(
        self,
        provider: str,
        operation: str,
        code: str,
        retry_after: timedelta | None = None,
    ) -> None:
        code = code if _SAFE_CODE.fullmatch(code) else "unknown"
        super().__init__(f"{provider} {operation} failed: {code}")
        self.provider = provider
        self.operation = operation
        self.code = code
        self.retry_after = retry_after


class TransientError(ProviderError):
    """The provider did not do it, and may do it later."""


class AmbiguousError(TransientError):
    """The request may have been carried out although no usable answer came back.

    Before the write is repeated the caller must look up its effect, unless the write carries an
    idempotency key that the provider honours. ``replayed`` is True where the provider answered
    with the failure stored under that key: only a changed key then makes a new try, after a
    look-up.
    """

    def __init__(
        self,
        provider: str,
        operation: str,
        code: str,
        retry_after: timedelta | None = None,
        *,
        replayed: bool = False,
    ) -> None:
        super().__init__(provider, operation, code, retry_after)
        self.replayed = replayed


class PermanentError(ProviderError):
    """The provider refused, and will refuse again: a workflow's step is not tried again.

    ``configuration`` is True where our own settings are at fault (credentials, permissions): an
    operator has to be told. ``field`` names the input field at fault, if one is known.
    """

    permanent = True

    def __init__(
        self,
        provider: str,
        operation: str,
        code: str,
        retry_after: timedelta | None = None,
        *,
        configuration: bool = False,
        field: str | None = None,
    ) -> None:
        super().__init__(provider, operation, code, retry_after)
        self.configuration = configuration
        self.field = field
