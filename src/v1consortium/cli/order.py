"""``v1consortium order``: orders of which nobody knows whether the laboratory holds them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from v1consortium.cli.output import print_json, print_table, short_time
from v1consortium.cli.session import EXIT_FAILED, fail, opened, run
from v1consortium.queries.drug_test_order import (
    order_get,
    order_list_unsettled,
    order_reopen,
    order_set_ordered,
)

app = typer.Typer(no_args_is_help=True, help="Settle drug-test orders of unknown outcome.")

Id = Annotated[UUID, typer.Argument(metavar="ORDER", help="the order's id")]


@app.command("list")
def list_command(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List orders not known to be accepted or refused, the oldest first."""

    async def command() -> None:
        async with opened() as session:
            found = await order_list_unsettled(session.manager.pool, limit=1_000)
        if as_json:
            print_json([{"order_id": str(o.order_id), "state": o.state.value} for o in found])
            return
        print_table(
            ["order", "workflow", "state", "submissions", "submitted", "site"],
            [
                (
                    o.order_id,
                    o.workflow_id,
                    o.state,
                    o.submissions,
                    short_time(o.submitted_at),
                    o.site_code,
                )
                for o in found
            ],
            empty="Every order is settled.",
        )

    run(command)


@app.command()
def confirm(
    order_id: Id,
    quest_order_id: Annotated[str, typer.Option(help="the laboratory's order id")],
    reference_test_id: Annotated[str, typer.Option(help="the laboratory's reference test id")],
) -> None:
    """Note that the laboratory does hold the order; then retry its workflow."""

    async def command() -> None:
        async with opened() as session:
            settled = await order_set_ordered(
                session.manager.pool,
                order_id=order_id,
                quest_order_id=quest_order_id,
                reference_test_id=reference_test_id,
            )
            order = await order_get(session.manager.pool, order_id=order_id)
        if not settled or order is None:
            raise fail(f"order {order_id} is not open: see `v1consortium order list`", EXIT_FAILED)
        typer.echo(f"order {order_id} is confirmed")
        typer.echo(f"Next: v1consortium workflow retry {order.workflow_id}")

    run(command)


@app.command()
def reopen(order_id: Id) -> None:
    """Note that the laboratory does not hold the order: it may be sent again."""

    async def command() -> None:
        async with opened() as session:
            reopened = await order_reopen(session.manager.pool, order_id=order_id)
            order = await order_get(session.manager.pool, order_id=order_id)
        if not reopened or order is None:
            raise fail(f"order {order_id} cannot be reopened", EXIT_FAILED)
        typer.echo(f"order {order_id} is open again")
        typer.echo(f"Next: v1consortium workflow retry {order.workflow_id}")

    run(command)
