"""The commands that ask, look or work once: through the running daemon where one runs, else on the data themselves."""

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click
import orjson

from ledgerd import reach
from ledgerd.clock import SystemClock
from ledgerd.config import Config
from ledgerd.errors import (
    CannotStart,
    QueryRefused,
    StoreLocked,
    StoreUnavailable,
    UsageError,
)
from ledgerd.spelling import nearest
from ledgerd.sql.query import FORMATS
from ledgerd.store.engine import SERVER
from ledgerd.store.engines import make_engine
from ledgerd.store.migrate import Migrator
from ledgerd.store.migration import TABLE, load_migrations, plan, script, split_statements, states
from ledgerd.store.queries import schema_root
from ledgerd.terminal import table, told, waiting

GOOD = ("ok", "starting")
READ_BY_PEOPLE = ("PrettyCompact", "Pretty", "Vertical", "Markdown")
"""Formats in which each of several results stands below its comment."""
LINES = ("TSV", "TSVWithNames", "TabSeparated", "TabSeparatedWithNames", "CSV", "CSVWithNames", "JSONEachRow")
"""Formats in which several results may simply follow each other."""


def template_text() -> str:
    """``config.toml`` as it is shipped: every key with its default and what it means."""
    packaged = schema_root() / "config.toml"
    beside = Path(str(schema_root())).parent / "config.toml"  # a checkout
    return (packaged if packaged.is_file() else beside).read_text(encoding="utf-8")


async def migrate(config: Config, *, status: bool, dry_run: bool, apply: bool) -> None:
    """List, print or run migrations; the list by default."""
    if apply:
        await _apply(config)
        return
    migrations = load_migrations(schema_root() / "migrations")
    wants_states = status or not dry_run
    applied = await _applied(config, may_be_away=not wants_states)
    if wants_states:
        found = [(f"{each.version:04d}", each.name, each.state) for each in states(migrations, applied)]
        click.echo(table(("version", "name", "state"), found))
    if dry_run:
        store = config.clickhouse
        click.echo(script(plan(migrations, applied), store.cluster, store.database) or "-- nothing to run")


async def _apply(config: Config) -> None:
    async with reach.daemon(config) as running:
        if running:
            raise StoreLocked("The running daemon owns the data and has migrated it.", "See: ledgerd migrate --status")
    async with waiting(lambda: "migrating"), reach.stored(config, create=True) as engine:
        applied = await Migrator(engine, SystemClock(), cluster=config.clickhouse.cluster).apply()
    click.echo(f"applied {len(applied)} migrations; the schema is this version's")


async def _applied(config: Config, *, may_be_away: bool) -> dict[int, str]:
    """Version to checksum of the migrations the database has taken; none where there is no database yet.

    ``may_be_away``: a server that does not answer is taken for an empty one.
    """
    if config.clickhouse.engine == SERVER:
        return await _applied_on_server(config, may_be_away=may_be_away)
    async with reach.daemon(config) as running:
        if not running and not reach.has_data(config):
            click.echo(f"There is no data in {config.daemon.data_dir} yet; ledgerd run makes it.", err=True)
            return {}
    async with waiting(lambda: "reading the schema"), reach.ledger(config, prices=False) as found:
        if (await found.sql(f"EXISTS TABLE {TABLE}", "TSV")).strip() != b"1":
            return {}
        rows = await found.sql(f"SELECT version, checksum FROM {TABLE}", "JSONEachRow")  # noqa: S608  a constant
    return {row["version"]: row["checksum"] for row in map(orjson.loads, rows.splitlines())}


async def _applied_on_server(config: Config, *, may_be_away: bool) -> dict[int, str]:
    engine = make_engine(config)
    try:
        async with waiting(lambda: "reading the schema"):
            await engine.open()
            return await Migrator(engine, SystemClock(), cluster=config.clickhouse.cluster).applied()
    except (CannotStart, StoreUnavailable) as error:
        if not may_be_away:
            raise
        click.echo(f"{error}\nShown is what an empty database would be given.", err=True)
        return {}
    finally:
        await engine.close()


async def status(config: Config, *, as_json: bool) -> int:
    """Print the daemon's status; the exit code: 0 well, 1 not."""
    async with reach.daemon(config) as running:
        if running is None:
            raise StoreUnavailable(f"No daemon serves {config.daemon.data_dir}.", "Start it with: ledgerd run")
        answer = await running.get("/status")
    click.echo(_json(answer) if as_json else "\n".join(told(answer)))
    return 0 if answer["state"] in GOOD else 1


async def sql(config: Config, query: str, fmt: str) -> None:
    """Print what each of some read-only queries returns; they end with a semicolon at the end of a line."""
    if config.clickhouse.engine == SERVER:
        where = f"--host {urlsplit(config.clickhouse.url).hostname} --database {config.clickhouse.database}"
        raise UsageError(
            "The data are on a server of yours, which answers queries itself.",
            f"Type: clickhouse-client {where} --query {shlex.quote(query)}",
        )
    if fmt not in FORMATS:
        near = nearest(fmt, FORMATS)
        meant = f" Did you mean {near[0]}?" if near else f" There are: {', '.join(FORMATS)}."
        raise UsageError(f"There is no format named {fmt[:50]!r}.{meant}", "See: ledgerd sql --help")
    queries = split_statements(query)
    if len(queries) > 1 and fmt not in READ_BY_PEOPLE + LINES:
        raise UsageError(
            f"There are {len(queries)} statements, and {fmt} holds the result of one.",
            f"Send one, or use one of: {', '.join(READ_BY_PEOPLE + LINES)}. See: ledgerd sql --help",
        )
    headed = list(_headed(query, queries)) if len(queries) > 1 else [("", query)]
    async with waiting(lambda: "the engine is at it"), reach.ledger(config, prices=False) as found:
        for number, (heading, one) in enumerate(headed, 1):
            try:
                result = await found.sql(one, fmt)
            except QueryRefused as error:
                which = f"Statement {number} of {len(headed)}: " if len(headed) > 1 else ""
                raise QueryRefused(f"{which}{error.message}", error.hint) from error
            if heading and fmt in READ_BY_PEOPLE:
                sys.stdout.buffer.write(f"{heading}\n".encode())
            sys.stdout.buffer.write(result)
            if len(headed) > 1 and fmt in READ_BY_PEOPLE:
                sys.stdout.buffer.write(b"\n")
            sys.stdout.buffer.flush()


def _headed(text: str, queries: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each of ``queries``, the statements of ``text`` in their order, with the comment lines right above it."""
    past = 0
    for query in queries:
        found = re.compile(rf"^[ \t]*{re.escape(query)}", re.MULTILINE).search(text, past)
        above = text[past : found.start()].rstrip("\n").rpartition("\n\n")[2] if found else ""
        past = found.end() if found else past
        yield "\n".join(line for line in above.splitlines() if line.startswith("--")), query


def _json(answer: object) -> str:
    return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode()
