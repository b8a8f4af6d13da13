"""Errors of the adapter, with the codes the suite compares."""

from __future__ import annotations

import asyncpg

from riverengine.types.errors import (
    AmbiguousCommitError,
    DatabaseUnavailableError,
    NotFoundError,
    RiverError,
    StopTimeoutError,
)

INTERNAL = -32000
NOT_FOUND = -32001
REJECTED = -32002
DATABASE = -32003


class RpcError(Exception):
    """An answer other than a result; ``code`` is the contract's."""

    code = INTERNAL


class ParseError(RpcError):
    """The line is no JSON text."""

    code = -32700


class InvalidRequestError(RpcError):
    """The line is no request."""

    code = -32600


class UnknownMethodError(RpcError):
    """The contract has no such method."""

    code = -32601


class InvalidParamsError(RpcError):
    """A parameter is unknown, missing or of the wrong type."""

    code = -32602


class MissingError(RpcError):
    """A transaction handle or barrier does not exist."""

    code = NOT_FOUND


class RejectedError(RpcError):
    """The request contradicts the adapter's state, or waited in vain."""

    code = REJECTED


class UnsupportedError(RpcError):
    """The parameter is valid, but this implementation does not offer it."""

    code = -32004


CONNECTION_ERRORS = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""What a statement meets on a connection that PostgreSQL ended."""

_DATABASE_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    DatabaseUnavailableError,
    AmbiguousCommitError,
    OSError,
)


def code_of(error: Exception) -> int:
    """The contract's code for an exception out of a method."""
    match error:
        case RpcError():
            return error.code
        case NotFoundError():
            return NOT_FOUND
        case StopTimeoutError():
            return REJECTED
        case _ if isinstance(error, _DATABASE_ERRORS) or _is_refusal_of_the_database(error):
            return DATABASE
        case RiverError() | ValueError() | OverflowError():
            return REJECTED
    return INTERNAL


def _is_refusal_of_the_database(error: Exception) -> bool:
    """Whether the engine only gave PostgreSQL's error a name."""
    return isinstance(error, RiverError) and isinstance(error.__cause__, asyncpg.PostgresError)
