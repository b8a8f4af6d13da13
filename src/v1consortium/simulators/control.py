"""``/_control``: the switchboard that every HTTP simulator has.

``POST`` arms a fault (:mod:`.faults`), or carries out an ``action``: ``release`` lets held requests
go on, others belong to one simulator. ``GET`` tells the counters of accepted effects, the records,
the armed faults and how many requests are ``held``. ``DELETE`` forgets it all, with
``?only=faults`` only the faults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from v1consortium.simulators.faults import FaultBoard
from v1consortium.simulators.store import Record, Store

Actions = Mapping[str, Callable[[], None]]


def control_route(
    store: Store,
    board: FaultBoard,
    *,
    path: str = "/_control",
    tables: Sequence[str] = (),
    actions: Actions | None = None,
) -> Route:
    """The control endpoint of one simulator; ``tables`` are those it tells."""
    known: Actions = {"release": board.release, **(actions or {})}

    async def control(request: Request) -> Response:
        if request.method == "GET":
            state: Record = {
                "effects": store.effects(),
                "faults": board.listing(),
                "held": board.held,
                "records": {table: list(store.records(table).values()) for table in tables},
            }
            return JSONResponse(state)
        if request.method == "DELETE":
            board.clear()
            if request.query_params.get("only") != "faults":
                store.reset()
            return Response(status_code=204)
        try:
            wish = await request.json()
            if not isinstance(wish, dict):
                raise ValueError("a JSON object is wanted")
            if "action" in wish:
                if wish["action"] not in known:
                    raise ValueError(f"unknown action; known: {', '.join(sorted(known))}")
                known[wish["action"]]()
            else:
                board.arm(wish)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return Response(status_code=204)

    return Route(path, control, methods=["GET", "POST", "DELETE"])
