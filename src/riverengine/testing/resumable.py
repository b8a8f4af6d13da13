"""Options of inserts that make a job look as if earlier attempts had got some way.

Source: rivertest/resumable.go at v0.51.1.
"""

from __future__ import annotations

import dataclasses

from riverengine.insert.options import InsertOpts
from riverengine.types.job import Json
from riverengine.work.resumable import CURSOR_KEY, STEP_KEY, encode_cursor


def resumable_step_after(opts: InsertOpts | None, step: str) -> InsertOpts:
    """Options of a job whose earlier attempt completed ``step``: the work begins behind it.

    opts: other options to keep.
    """
    return _with_metadata(opts, {STEP_KEY: step})


def resumable_step_at_cursor(opts: InsertOpts | None, step: str, cursor: object) -> InsertOpts:
    """Options of a job whose earlier attempt stopped inside ``step``, at ``cursor``.

    opts: other options to keep; cursors they hold for other steps stay.  cursor: what the step
    would have saved.  The steps before ``step`` are skipped; it runs, with the cursor.  Raises
    ``ArgsEncodeError`` for values JSON cannot hold.
    """
    given = (opts.metadata if opts is not None else None) or {}
    cursors = {**(given.get(CURSOR_KEY) or {}), step: encode_cursor(cursor)}
    return _with_metadata(opts, {STEP_KEY: step, CURSOR_KEY: cursors})


def _with_metadata(opts: InsertOpts | None, added: dict[str, Json]) -> InsertOpts:
    opts = opts or InsertOpts()
    return dataclasses.replace(opts, metadata={**(opts.metadata or {}), **added})
