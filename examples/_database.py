"""Gives an example a database of its own; nothing in here is part of the examples.

``--database-url`` names a database in which a schema is made and dropped; without it a private
PostgreSQL is started for the run.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from riverengine.embedded import start_postgres
from riverengine.schema import bundled_lines
from riverengine.testing.schemas import TestSchemas


def run(
    main: Callable[[str], Awaitable[None]],
    description: str | None,
    *,
    lines: Sequence[str] = bundled_lines(),
) -> None:
    """Run an example's ``main`` on a database migrated for it.

    lines: the migration lines to apply; none for an empty schema.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--database-url", metavar="URL", help="default: a private PostgreSQL for this run"
    )
    url = parser.parse_args().database_url
    with ExitStack() as stack:
        if url is None:
            url = stack.enter_context(_private_postgres())
        schemas = TestSchemas(url, lines)
        stack.callback(schemas.close)
        asyncio.run(_called(main, _in_schema(url, schemas.take())))


async def _called(main: Callable[[str], Awaitable[None]], url: str) -> None:
    await main(url)


@contextmanager
def _private_postgres() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="riverengine-example-") as folder:
        # PostgreSQL runs as another account when the example runs as root.
        Path(folder).chmod(0o755)
        with start_postgres(Path(folder, "data"), durable=False) as server:
            yield server.url


def _in_schema(url: str, schema: str) -> str:
    parts = urlsplit(url)
    query = [*parse_qsl(parts.query), ("search_path", f'"{schema}"')]
    return urlunsplit(parts._replace(query=urlencode(query)))
