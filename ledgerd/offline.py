"""The commands that ask, look or work once: through the running daemon where one runs, else on the data themselves."""

import random
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

import click
import orjson

from ledgerd import reach
from ledgerd.app import load_reference
from ledgerd.clock import SystemClock
from ledgerd.config import Config, Realm, parse_from, user_agent
from ledgerd.errors import (
    NotKnown,
    QueryRefused,
    StoreLocked,
    StoreUnavailable,
    UpstreamRefused,
    UpstreamUnavailable,
    UsageError,
)
from ledgerd.etl.runner import Runner, load_steps
from ledgerd.harvest.exchange_page import Digest, NeverWas, UnreadablePage, landable, read_answer
from ledgerd.harvest.harvest import Harvest
from ledgerd.harvest.market_harvester import hour_url
from ledgerd.ledger.query import FORMATS
from ledgerd.ledger.snapshot import nearest
from ledgerd.spool.spool import Spool
from ledgerd.store.engine import Engine
from ledgerd.store.migrate import Migrator
from ledgerd.store.migration import TABLE, load_migrations, plan, script, split_statements, states
from ledgerd.store.queries import schema_root
from ledgerd.supervise import Supervisor
from ledgerd.terminal import priced, steps, table, told, waiting, when
from ledgerd.upstream.body import UnreadableBody, decode
from ledgerd.upstream.client import Answer, Client, Limits, RequestRecord
from ledgerd.upstream.throttle import Throttle

GOOD = ("ok", "starting")
WHAT_IS_PRICED = 'ledgerd sql "SELECT DISTINCT realm, league FROM gold_currency_snapshot"'
READ_BY_PEOPLE = ("PrettyCompact", "Pretty", "Vertical", "Markdown")
"""Formats in which each of several results stands below its comment."""
LINES = ("TSV", "TSVWithNames", "TabSeparated", "TabSeparatedWithNames", "CSV", "CSVWithNames", "JSONEachRow")
"""Formats in which several results may simply follow each other."""
SHOWN = 5
"""How many markets a dry run prints."""


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
    migrations, applied = load_migrations(schema_root() / "migrations"), await _applied(config)
    if status or not dry_run:
        found = [(f"{each.version:04d}", each.name, each.state) for each in states(migrations, applied)]
        click.echo(table(("version", "name", "state"), found))
    if dry_run:
        click.echo(script(plan(migrations, applied)) or "-- nothing to run")


async def _apply(config: Config) -> None:
    async with reach.daemon(config) as running:
        if running:
            raise StoreLocked("The running daemon owns the data and has migrated it.", "See: ledgerd migrate --status")
    async with waiting(lambda: "migrating"), reach.stored(config, create=True) as engine:
        applied = await Migrator(engine, SystemClock()).apply()
    click.echo(f"applied {len(applied)} migrations; the schema is this version's")


async def _applied(config: Config) -> dict[int, str]:
    """Version to checksum of the migrations the database has taken; none where there is no database yet."""
    async with reach.daemon(config) as running:
        if not running and not reach.has_data(config):
            click.echo(f"There is no data in {config.daemon.data_dir} yet; ledgerd run makes it.", err=True)
            return {}
    async with waiting(lambda: "reading the schema"), reach.ledger(config, prices=False) as found:
        if (await found.sql(f"EXISTS TABLE {TABLE}", "TSV")).strip() != b"1":
            return {}
        rows = await found.sql(f"SELECT version, checksum FROM {TABLE}", "JSONEachRow")  # noqa: S608  a constant
    return {row["version"]: row["checksum"] for row in map(orjson.loads, rows.splitlines())}


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


async def etl_status(config: Config) -> None:
    """Print each step's watermark and backlog."""
    async with reach.daemon(config) as running:
        rows = (await running.get("/status"))["etl"] if running else None
    if rows is None:
        async with reach.stored(config) as engine:
            rows = [asdict(each) for each in await _runner(engine).look()]
    click.echo(steps(rows))


async def etl_run(config: Config) -> None:
    """Refine what waits, with progress. StoreUnavailable if a step failed: the others have done what they could."""
    async with reach.daemon(config) as running:
        if running:
            raise StoreLocked("The running daemon does this by itself.", "See how far it is: ledgerd etl status")
    total = 0
    async with waiting(lambda: f"{total} tasks done"), reach.stored(config) as engine:
        await Migrator(engine, SystemClock()).apply()
        runner = _runner(engine)
        while done := await runner.run_once():
            total += done
        failed = [f"{each.step} of {each.source}: {each.last_error}" for each in runner.status() if each.last_error]
    click.echo(f"{total} tasks done; " + ("some failed" if failed else "nothing waits"))
    if failed:
        raise StoreUnavailable("\n".join(failed), "\nWhat was done is kept; try the rest again: ledgerd etl run")


def _runner(engine: Engine) -> Runner:
    return Runner(engine, load_steps(), load_reference(), SystemClock(), rng=random.Random())  # noqa: S311  jitter


async def price(config: Config, name: str, *, realm: str | None, league: str | None, as_json: bool) -> None:
    """Print what a currency is worth, how sure that is and how old."""
    async with waiting(lambda: "loading prices"), reach.ledger(config) as found:
        realm, league = await _where(config, found, realm, league)
        try:
            answer = await found.get(f"/v1/{_quoted(realm)}/{_quoted(league)}/currency/{_quoted(name)}")
        except NotKnown as error:
            raise NotKnown(error.message, f"What has prices: {WHAT_IS_PRICED}") from error
    click.echo(_json(answer) if as_json else "\n".join(priced(answer)))


async def _where(config: Config, found: reach.Reach, realm: str | None, league: str | None) -> tuple[str, str]:
    """The realm and league to look in: as asked, else the first configured realm and its league with most prices."""
    order = {each.name: n for n, each in enumerate(config.realms)}
    places = [
        (order.get(there["realm"], len(order)), -each["currencies"], there["realm"], each["league"])
        for there in (await found.get("/v1/realms"))["realms"]
        for each in there["leagues"]
        if _is(realm, there["realm"]) and _is(league, each["league"])
    ]
    if places:
        return min(places)[2:]
    return realm or next(iter(order), "pc"), league or "Standard"


def _is(asked: str | None, name: str) -> bool:
    return asked is None or asked.casefold() == name.casefold()


async def harvest(
    config: Config, *, realm: str, kind: str, league: str | None, dry_run: bool, cursor: str | None
) -> None:
    """One page of a source: shown (``dry_run``) or kept."""
    if kind == "river":
        raise UsageError(
            "This version does not read the river yet.",
            f"Try: ledgerd harvest --realm {realm} --source exchange --once",
        )
    known = {each.name: each for each in config.realms}
    if realm not in known:
        raise UsageError(
            f"Realm {realm!r} is not configured; there is {', '.join(known) or 'none'}.",
            "Add a [[realm]] to the configuration, then: ledgerd check-config",
        )
    chosen = known[realm].model_copy(update={"exchange": True, **({"leagues": (league,)} if league else {})})
    try:
        await (_show_page(config, chosen, cursor) if dry_run else _keep_page(config, chosen))
    except UpstreamUnavailable as error:
        hint = f"Try again later: ledgerd harvest --realm {realm} --once --dry-run"
        raise UpstreamUnavailable(error.message, hint) from error


async def _keep_page(config: Config, realm: Realm) -> None:
    """Fetch one page and carry it to its commit, as the daemon would."""
    async with reach.daemon(config) as running:
        if running:
            raise StoreLocked(
                "The running daemon owns the data directory.",
                f"To look and keep nothing: ledgerd harvest --realm {realm.name} --once --dry-run",
            )
    clock, rng = SystemClock(), random.Random()  # noqa: S311  jitter
    config = config.model_copy(update={"realms": (realm,)})
    spool = Spool(
        config.spool_dir, bytes_max=config.spool.bytes_max, retain_s=config.spool.retain_h * 3600, clock=clock
    )
    async with AsyncExitStack() as stack:
        spool.open()
        stack.callback(spool.close)
        engine = await stack.enter_async_context(reach.stored(config, create=True))
        await Migrator(engine, clock).apply()
        harvest = Harvest(
            config,
            engine=engine,
            spool=spool,
            supervisor=Supervisor(clock, rng),
            clock=clock,
            rng=rng,
            on_commit=lambda what: click.echo(f"committed {what.batch.batch_id}: {what.rows} rows"),
        )
        async with waiting(lambda: "fetching and storing a page"):
            has_page = await harvest.once(realm)
        if not has_page:
            click.echo("the next hour is not published yet; nothing was kept")


async def _show_page(config: Config, realm: Realm, cursor: str | None) -> None:
    """Fetch one page and print what it is and where it leads."""
    if cursor is None:
        cursor = await _cursor(config, realm)
    asked = _hour(cursor, realm)
    async with waiting(lambda: "fetching a page"):
        answer = await _fetch(config, realm, asked)
    click.echo(f"asked   {'the oldest hour' if asked is None else when(str(asked))}")
    click.echo(f"answer  {answer.status}, {len(answer.body)} bytes {answer.encoding or 'plain'}")
    try:
        body = decode(answer.body, answer.encoding, config.upstream.decoded_bytes_max)
        meaning = read_answer(asked, answer.status, body)
    except (UnreadableBody, UnreadablePage) as error:
        raise UpstreamRefused(
            f"The answer cannot be used: {error}.",
            f"Look at it: curl -i {hour_url(config.upstream.exchange_url, realm.name, asked)}",
        ) from error
    click.echo("\n".join(_shown(meaning, body, realm.leagues)))


def _shown(meaning: object, body: bytes, leagues: Sequence[str]) -> Iterable[str]:
    """What a page means and holds."""
    if isinstance(meaning, NeverWas):
        yield f"means   these hours never were; next {when(str(meaning.next_hour))}"
        return
    if not isinstance(meaning, Digest):
        yield "means   not published yet: the same hour is asked again"
        return
    yield f"means   the digest of {when(str(meaning.hour))}; next {when(str(meaning.next_hour))}"
    page = landable(body)
    yield table(("league", "markets"), page.leagues.most_common())
    markets = [each for each in orjson.loads(page.body)["markets"] if "*" in leagues or each.get("league") in leagues]
    yield f"shown   {min(SHOWN, len(markets))} of {len(markets)} markets of {', '.join(leagues)}"
    yield from (orjson.dumps(market).decode() for market in markets[:SHOWN])


async def _cursor(config: Config, realm: Realm) -> str | None:
    """Where the running daemon stands; None if none runs."""
    async with reach.daemon(config) as running:
        sources = (await running.get("/status"))["sources"] if running else []
    return next((each["cursor"] for each in sources if each["name"] == f"exchange-{realm.name}"), None)


def _hour(cursor: str | None, realm: Realm) -> int | None:
    if cursor is None:
        return parse_from(realm.exchange_from, SystemClock().now())
    if not cursor.isascii() or not cursor.isdigit():
        raise UsageError(
            f"--cursor {cursor!r} is not a unix hour.",
            "As in: ledgerd harvest --realm pc --once --dry-run --cursor 1787119200",
        )
    return int(cursor)


async def _fetch(config: Config, realm: Realm, asked: int | None) -> Answer:
    async def forget(_: RequestRecord) -> None:
        """A dry run keeps nothing."""

    limits = Limits(config.upstream.timeout_s, config.upstream.body_bytes_max)
    throttle = Throttle(config.throttle.requests_per_s, config.throttle.backfill_requests_per_s)
    async with Client(
        user_agent=user_agent(config), limits=limits, throttle=throttle, clock=SystemClock(), remember=forget
    ) as client:
        url = hour_url(config.upstream.exchange_url, realm.name, asked)
        return await client.get(url, source=f"exchange-{realm.name}", realm=realm.name, cursor=str(asked or ""))


def _json(answer: object) -> str:
    return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode()


def _quoted(text: str) -> str:
    return quote(text, safe="")
