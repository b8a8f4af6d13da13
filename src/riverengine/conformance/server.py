"""Answers requests: one JSON object a line, one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import BinaryIO

from riverengine.conformance.contract import METHODS
from riverengine.conformance.errors import (
    CONNECTION_ERRORS,
    INTERNAL,
    InvalidRequestError,
    ParseError,
    UnknownMethodError,
    code_of,
)
from riverengine.conformance.json_text import ReadObject, read_json, write_json
from riverengine.conformance.method import Method
from riverengine.conformance.session import Call, Session
from riverengine.types.job import Json

_LOGGER = logging.getLogger("riverengine.conformance")
_MEMBERS = {"id", "jsonrpc", "method", "params"}
_LONGEST_LINE = 64 * 1024 * 1024
_RETRIES = 3
_RETRY_SECONDS = 0.02
_PIPE_BYTES = 32 * 1024
"""An answer up to this size is written at once: a pipe holds it."""


async def serve(session: Session, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer every line of ``requests`` until it ends."""
    async for line in _lines(requests):
        answer = (await answer_line(session, line)).encode() + b"\n"
        if len(answer) <= _PIPE_BYTES:
            _write(answers, answer)
        else:
            await asyncio.to_thread(_write, answers, answer)


async def _lines(requests: BinaryIO) -> AsyncIterator[bytes]:
    """The lines of a pipe, read by the event loop; of a file, by a thread."""
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    try:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), requests
        )
    except ValueError:
        while line := await asyncio.to_thread(requests.readline):
            yield line
        return
    try:
        while line := await reader.readline():
            yield line
    finally:
        transport.close()


async def answer_line(session: Session, line: bytes) -> str:
    """The answer to one line, whatever the line holds."""
    request_id: int | str | None = None
    try:
        try:
            text = line.decode()
            request = read_json(text)
        except ValueError:
            raise ParseError("the line is no JSON text") from None
        request_id = _id_of(request)
        name, params = _method_of(request)
        method = METHODS.get(name)
        if method is None:
            raise UnknownMethodError(f"there is no method {name!r}")
        method.params.check(params, "params")
        result = await _result(method, session, Call(params, text))
        return f'{{"id":{write_json(request_id)},"jsonrpc":"2.0","result":{write_json(result)}}}'
    except Exception as error:
        code = code_of(error)
        _LOGGER.log(
            logging.ERROR if code == INTERNAL else logging.INFO,
            "answered with %d",
            code,
            exc_info=error,
        )
        failure = {"code": code, "message": str(error) or type(error).__name__}
        return write_json({"error": failure, "id": request_id, "jsonrpc": "2.0"})


async def _result(method: Method, session: Session, call: Call) -> Json:
    """Run a method, one that reads several times: a fault may have ended the pool's connections."""
    for _ in range(_RETRIES if method.reads else 0):
        try:
            return await method.run(session, call)
        except CONNECTION_ERRORS:
            await asyncio.sleep(_RETRY_SECONDS)
    return await method.run(session, call)


def _id_of(request: Json) -> int | str:
    if not isinstance(request, dict):
        raise InvalidRequestError("a request is an object")
    if isinstance(request, ReadObject) and request.repeated is not None:
        raise InvalidRequestError(f"{request.repeated} is given twice")
    request_id: Json = request.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, int | str):
        raise InvalidRequestError("id must be an integer or a string")
    return request_id


def _method_of(request: dict[str, Json]) -> tuple[str, Json]:
    """Name and parameters of a well-formed request."""
    if request.get("jsonrpc") != "2.0":
        raise InvalidRequestError("jsonrpc must be 2.0")
    unknown = request.keys() - _MEMBERS
    if unknown:
        raise InvalidRequestError(f"a request has no member {min(unknown)}")
    name: Json = request.get("method")
    if not isinstance(name, str) or not name:
        raise InvalidRequestError("method must be a name")
    params: Json = request.get("params", {})
    if not isinstance(params, dict | list):
        raise InvalidRequestError("params must be an object")
    return name, params


def _write(answers: BinaryIO, answer: bytes) -> None:
    answers.write(answer)
    answers.flush()
