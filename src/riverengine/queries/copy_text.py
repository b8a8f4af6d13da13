"""Rows in the text form of COPY, which no driver's codecs can change.

A caller may have set JSON codecs on the connection: in binary form they would encode once more, or
refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from riverengine.insert.plan import InsertPlan

_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_NULL = "\\N"


def copy_text(plans: Sequence[InsertPlan], now: datetime) -> bytes:
    """Lines for the columns of ``job_insert_copy``. now: fills times the plans leave open."""
    moment = now.isoformat()
    return "".join([_line(plan, moment) for plan in plans]).encode()


def _line(plan: InsertPlan, now: str) -> str:
    created, scheduled = plan.created_at, plan.scheduled_at
    key, states, tags = plan.unique_key, plan.unique_states, plan.tags
    return (
        f"{_escaped(plan.encoded_args)}\t{created.isoformat() if created else now}"
        f"\t{_escaped(plan.kind)}\t{plan.max_attempts}\t{_escaped(plan.metadata_json)}"
        f"\t{plan.priority}\t{_escaped(plan.queue)}"
        f"\t{scheduled.isoformat() if scheduled else now}\t{plan.state.value}"
        f"\t{_array(tags) if tags else '{}'}\t{_NULL if key is None else _bytea(key)}"
        f"\t{_NULL if states is None else f'{states:08b}'}\n"
    )


def _escaped(text: str) -> str:
    # Most texts need no escape, and looking costs less than translating.
    if "\\" in text or "\n" in text or "\r" in text or "\t" in text:
        return text.translate(_ESCAPES)
    return text


def _array(tags: Sequence[str]) -> str:
    quoted = (tag.replace("\\", "\\\\").replace('"', '\\"') for tag in tags)
    return _escaped('{"' + '","'.join(quoted) + '"}')


def _bytea(value: bytes) -> str:
    return f"\\\\x{value.hex()}"
