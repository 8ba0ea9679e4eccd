"""The commands that ask, look or work once: through the running daemon where one runs, else on the data themselves."""

import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

import click
import orjson

from ledgerd import reach
from ledgerd.app import load_reference
from ledgerd.clock import SystemClock, rfc3339
from ledgerd.config import Config, Realm, parse_from, user_agent
from ledgerd.errors import StoreLocked, UpstreamRefused, UsageError
from ledgerd.etl.runner import Runner, load_steps
from ledgerd.harvest.exchange_page import Digest, NeverWas, UnreadablePage, landable, read_answer
from ledgerd.harvest.harvest import Harvest
from ledgerd.harvest.market_harvester import hour_url
from ledgerd.spool.spool import Spool
from ledgerd.store.engine import Engine
from ledgerd.store.migrate import Migrator
from ledgerd.supervise import Supervisor
from ledgerd.upstream.body import UnreadableBody, decode
from ledgerd.upstream.client import Answer, Client, Limits, RequestRecord
from ledgerd.upstream.throttle import Throttle

WELL = ("ok", "starting")
SHOWN = 5
"""How many markets a dry run prints."""


async def migrate(config: Config, *, status: bool, dry_run: bool, apply: bool) -> None:
    """List, print or run migrations; the list by default."""
    async with reach.daemon(config) as running:
        if running and apply:
            raise StoreLocked("The running daemon owns the data and has migrated it.", "ledgerd status")
        if running:
            query = "SELECT version, name, applied_at FROM poe_schema_migrations ORDER BY version"
            click.echo((await running.sql(query, "PrettyCompact")).decode(), nl=False)
            return
    async with reach.stored(config, create=apply) as engine:
        migrator = Migrator(engine, SystemClock())
        if apply:
            applied = await migrator.apply()
            click.echo(f"applied {len(applied)} migrations; the schema is this version's")
            return
        if status or not dry_run:
            states = [(f"{each.version:04d}", each.name, each.state) for each in await migrator.status()]
            click.echo(_table(("version", "name", "state"), states))
        if dry_run:
            click.echo(await migrator.dry_run() or "-- nothing to run")


async def status(config: Config, *, as_json: bool) -> int:
    """Print the daemon's status; the exit code: 0 well, 1 not."""
    async with reach.daemon(config) as running:
        if running is None:
            click.echo(f"No daemon serves {config.daemon.data_dir}. Start it with: ledgerd run", err=True)
            return 1
        told = await running.get("/status")
    if as_json:
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo("\n".join(_told(told)))
    return 0 if told["state"] in WELL else 1


def _told(told: Mapping[str, Any]) -> Iterable[str]:
    """A status as a person reads it."""
    store, spool = told["store"], told["spool"]
    yield f"ledgerd {told['version']} is {told['state']}, up {told['uptime_s']:.0f} s"
    yield f"store   {store['state']} ({store['engine']} {store['version']})" + _because(store["last_error"])
    yield f"spool   {spool['state']}, {spool['pages']} pages, {spool['bytes']} of {spool['bytes_max']} bytes"
    if told["config"]["last_reload_error"]:
        yield f"reload  refused: {told['config']['last_reload_error']}"
    yield ""
    sources = [
        (
            each["name"],
            each["state"],
            _when(each["cursor"]),
            _span(each["lag_s"]),
            each["errors"],
            each["last_error"] or "",
        )
        for each in told["sources"]
    ]
    yield _table(("source", "state", "next", "lag", "errors", "last error"), sources)
    yield ""
    steps = [(each["step"], each["source"], each["state"], each["watermark"], each["behind"]) for each in told["etl"]]
    yield _table(("step", "source", "state", "watermark", "behind"), steps)


async def sql(config: Config, query: str, fmt: str) -> None:
    """Print what one read-only query returns."""
    async with reach.ledger(config) as found:
        sys.stdout.buffer.write(await found.sql(query, fmt))


async def etl_status(config: Config) -> None:
    """Print each step's watermark and backlog."""
    async with reach.daemon(config) as running:
        if running:
            rows = (await running.get("/status"))["etl"]
        else:
            async with reach.stored(config) as engine:
                rows = [asdict(each) for each in await _runner(engine).look()]
    shown = [
        (each["step"], each["source"], str(each["state"]), each["watermark"], each["behind"], each["last_error"] or "")
        for each in rows
    ]
    click.echo(_table(("step", "source", "state", "watermark", "behind", "last error"), shown))


async def etl_run(config: Config) -> None:
    """Refine what waits, with progress."""
    async with reach.daemon(config) as running:
        if running:
            raise StoreLocked("The running daemon does this by itself.", "See how far it is: ledgerd etl status")
    async with reach.stored(config) as engine:
        await Migrator(engine, SystemClock()).apply()
        runner, total = _runner(engine), 0
        while done := await runner.run_once():
            total += done
            click.echo(f"\r{total} tasks done", nl=False, err=True)
        click.echo(f"\r{total} tasks done; nothing waits", err=True)
        for each in runner.status():
            if each.last_error:
                click.echo(f"{each.step} of {each.source}: {each.last_error}", err=True)


def _runner(engine: Engine) -> Runner:
    return Runner(engine, load_steps(), load_reference(), SystemClock(), rng=random.Random())  # noqa: S311  jitter


async def price(config: Config, name: str, *, realm: str | None, league: str | None, as_json: bool) -> None:
    """Print what a currency is worth, how sure that is and how old."""
    async with reach.ledger(config) as found:
        realm, league = await _where(found, realm, league)
        told = await found.get(f"/v1/{realm}/{_quoted(league)}/currency/{_quoted(name)}")
    if as_json:
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        return
    click.echo("\n".join(_priced(told, realm, league)))


async def _where(found: reach.Reach, realm: str | None, league: str | None) -> tuple[str, str]:
    """The realm and league to look in: as asked, else where the most currencies are priced."""
    realms = (await found.get("/v1/realms"))["realms"]
    places = [
        (each["currencies"], place["realm"], each["league"])
        for place in realms
        for each in place["leagues"]
        if realm in {None, place["realm"]} and league in {None, each["league"]}
    ]
    if places:
        _, best_realm, best_league = max(places)
        return best_realm, best_league
    return realm or "pc", league or "Standard"


def _priced(told: Mapping[str, Any], realm: str, league: str) -> Iterable[str]:
    one, evidence = told["price"], told["price"]["evidence"]
    yield f"{one['name']} in {realm}/{league}"
    yield f"  {_number(one['chaos'])} chaos   {_number(one['divine'])} divine"
    yield "  " + "   ".join(f"{span} {_percent(one[f'change_{span}'])}" for span in ("1h", "24h", "7d"))
    yield f"  confidence {one['confidence']:.2f}" + (" (low sample)" if one["low_sample"] else "")
    yield f"  from {evidence['units']} units in {evidence['markets']} markets, {evidence['hours_24h']} of the last 24 h"
    yield f"  as of {told['as_of']}" + (" (stale)" if told["stale"] else "")


async def harvest(
    config: Config, *, realm: str, kind: str, league: str | None, dry_run: bool, cursor: str | None
) -> None:
    """One page of a source: shown (``dry_run``) or kept."""
    if kind == "river":
        raise UsageError(
            "This version does not read the river yet.", "ledgerd harvest --realm pc --source exchange --once"
        )
    known = {each.name: each for each in config.realms}
    if realm not in known:
        raise UsageError(
            f"Realm {realm!r} is not configured; {', '.join(known)} are.", "Add a [[realm]] to config.toml"
        )
    chosen = known[realm].model_copy(update={"exchange": True, **({"leagues": (league,)} if league else {})})
    if dry_run:
        await _show_page(config, chosen, cursor)
    else:
        await _keep_page(config, chosen)


async def _keep_page(config: Config, realm: Realm) -> None:
    """Fetch one page and carry it to its commit, as the daemon would."""
    async with reach.daemon(config) as running:
        if running:
            raise StoreLocked("The running daemon owns the data directory.", "To look without keeping: add --dry-run")
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
        if not await harvest.once(realm):
            click.echo("the next hour is not published yet; nothing was kept")


async def _show_page(config: Config, realm: Realm, cursor: str | None) -> None:
    """Fetch one page and print what it is and where it leads."""
    if cursor is None:
        cursor = await _cursor(config, realm)
    asked = _hour(cursor, realm)
    answer = await _fetch(config, realm, asked)
    click.echo(f"asked   {'the oldest hour' if asked is None else _when(str(asked))}")
    click.echo(f"answer  {answer.status}, {len(answer.body)} bytes {answer.encoding or 'plain'}")
    try:
        body = decode(answer.body, answer.encoding, config.upstream.decoded_bytes_max)
        meaning = read_answer(asked, answer.status, body)
    except (UnreadableBody, UnreadablePage) as error:
        raise UpstreamRefused(
            f"The answer cannot be used: {error}.", "Try again, or look at the URL with: curl -i"
        ) from error
    click.echo("\n".join(_shown(meaning, body, realm.leagues)))


def _shown(meaning: object, body: bytes, leagues: Sequence[str]) -> Iterable[str]:
    """What a page means and holds."""
    if isinstance(meaning, NeverWas):
        yield f"means   these hours never were; next {_when(str(meaning.next_hour))}"
    if not isinstance(meaning, Digest):
        yield "means   not published yet: the same hour is asked again" if not isinstance(meaning, NeverWas) else ""
        return
    yield f"means   the digest of {_when(str(meaning.hour))}; next {_when(str(meaning.next_hour))}"
    page = landable(body)
    yield _table(("league", "markets"), page.leagues.most_common())
    markets = [each for each in orjson.loads(page.body)["markets"] if "*" in leagues or each.get("league") in leagues]
    for market in markets[:SHOWN]:
        yield orjson.dumps(market).decode()


async def _cursor(config: Config, realm: Realm) -> str | None:
    """Where the running daemon stands; None if none runs."""
    async with reach.daemon(config) as running:
        sources = (await running.get("/status"))["sources"] if running else []
    return next((each["cursor"] for each in sources if each["name"] == f"exchange-{realm.name}"), None)


def _hour(cursor: str | None, realm: Realm) -> int | None:
    if cursor is None:
        return parse_from(realm.exchange_from, SystemClock().now())
    if not cursor.isascii() or not cursor.isdigit():
        raise UsageError(f"--cursor {cursor!r} is not a unix hour.", "As in: --cursor 1787119200")
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


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows under their heads, columns aligned."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _because(error: str | None) -> str:
    return f": {error}" if error else ""


def _when(cursor: str | None) -> str:
    return rfc3339(int(cursor)) if cursor and cursor.isdigit() else cursor or "-"


def _span(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds / 60:.0f} min"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:+.1%}"


def _quoted(text: str) -> str:
    return quote(text, safe="")
