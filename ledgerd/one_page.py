"""``ledgerd harvest``: one page of a source by hand, shown or kept."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import click
import orjson

from ledgerd import reach
from ledgerd.clock import SystemClock
from ledgerd.config import Config, Realm, parse_from, user_agent
from ledgerd.errors import StoreLocked, UpstreamRefused, UpstreamUnavailable, UsageError
from ledgerd.harvest.exchange_page import Digest, NeverWas, UnreadablePage, landable, read_answer
from ledgerd.harvest.harvest import THROTTLE_FILE, Harvest
from ledgerd.harvest.lanes import LEAGUELESS
from ledgerd.harvest.market_harvester import hour_url
from ledgerd.harvest.river_page import CHANGE_ID, Change, Gist, UnreadableRiverPage, changes, gist
from ledgerd.harvest.river_source import HEAD, OLDEST, river_url
from ledgerd.harvest.strands import EXCHANGE, RIVER, has_credentials, oauth_of
from ledgerd.spool.spool import Spool
from ledgerd.store.migrate import Migrator
from ledgerd.supervise import Supervisor
from ledgerd.terminal import table, waiting, when
from ledgerd.upstream.body import UnreadableBody, decode
from ledgerd.upstream.client import Answer, Client, Limits, RequestRecord
from ledgerd.upstream.throttle import Throttle

SHOWN = 5
"""How many markets or changes a dry run prints."""
TEXT_MAX = 2_000
"""How much of a change it prints: a stash can be megabytes."""


async def harvest(
    config: Config, *, realm: str, kind: str, league: str | None, dry_run: bool, cursor: str | None
) -> None:
    """One page of a source: shown (``dry_run``) or kept."""
    known = {each.name: each for each in config.realms}
    if realm not in known:
        raise UsageError(
            f"Realm {realm!r} is not configured; there is {', '.join(known) or 'none'}.",
            "Add a [[realm]] to the configuration, then: ledgerd check-config",
        )
    if kind == RIVER:
        _check_river(config, realm)
    chosen = known[realm].model_copy(update={kind: True, **({"leagues": (league,)} if league else {})})
    show = _show_river if kind == RIVER else _show_hour
    try:
        await (show(config, chosen, cursor) if dry_run else _keep_page(config, kind, chosen))
    except UpstreamUnavailable as error:
        raise UpstreamUnavailable(error.message, f"Try again later: {_looking(realm, kind)}") from error


def _looking(realm: str, kind: str) -> str:
    """What to type for a dry run."""
    source = "" if kind == EXCHANGE else f" --source {kind}"
    return f"ledgerd harvest --realm {realm}{source} --once --dry-run"


def _check_river(config: Config, realm: str) -> None:
    """UsageError where there is no river to ask for."""
    if realm == "poe2":
        raise UsageError("Path of Exile 2 has no public stashes.", "Try: ledgerd harvest --realm poe2 --once --dry-run")
    if not has_credentials(config):
        raise UsageError(
            "The river needs upstream.client_id and its secret, which are not configured.",
            f"Without them there is the exchange: ledgerd harvest --realm {realm} --once --dry-run",
        )


async def _keep_page(config: Config, kind: str, realm: Realm) -> None:
    """Fetch one page and carry it to its commit, as the daemon would."""
    async with reach.daemon(config) as running:
        if running:
            raise StoreLocked(
                "The running daemon owns the data directory.",
                f"To look and keep nothing: {_looking(realm.name, kind)}",
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
        await Migrator(engine, clock, cluster=config.clickhouse.cluster).apply()
        harvest = Harvest(
            config,
            engine=engine,
            spool=spool,
            supervisor=Supervisor(clock, rng),
            clock=clock,
            rng=rng,
            on_commit=lambda what: click.echo(
                f"committed {what.batch.batch_id}: {what.rows} rows; next {what.batch.next_cursor}"
            ),
        )
        async with waiting(lambda: "fetching and storing a page"):
            has_page = await harvest.once(kind, realm)
        if not has_page:
            what = "this is the end of the river for now" if kind == RIVER else "the next hour is not published yet"
            click.echo(f"{what}; nothing was kept")


async def _show_hour(config: Config, realm: Realm, cursor: str | None) -> None:
    """Fetch one hour of the exchange and print what it is and where it leads."""
    asked = _hour(cursor or await _cursor(config, EXCHANGE, realm), realm)
    url = hour_url(config.upstream.exchange_url, realm.name, asked)
    async with waiting(lambda: "fetching a page"), _client(config) as client:
        answer = await client.get(url, source=f"{EXCHANGE}-{realm.name}", realm=realm.name, cursor=str(asked or ""))
    click.echo(f"asked   {'the oldest hour' if asked is None else when(str(asked))}")
    click.echo(_answered(answer))
    try:
        body = decode(answer.body, answer.encoding, config.upstream.decoded_bytes_max)
        meaning = read_answer(asked, answer.status, body)
    except (UnreadableBody, UnreadablePage) as error:
        raise UpstreamRefused(
            f"The answer cannot be used: {error}.",
            f"Look at it: curl -i {url}",
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


async def _show_river(config: Config, realm: Realm, cursor: str | None) -> None:
    """Fetch one page of the river and print what it holds and where it leads."""
    asked = cursor or await _cursor(config, RIVER, realm)
    if asked is None:
        asked = "" if realm.river_from == OLDEST else realm.river_from
    if asked == HEAD:
        raise UsageError(
            "Nothing says where to look: no daemon stands anywhere, and its live end has to be searched for.",
            f"Keep a page, which names the next id: ledgerd harvest --realm {realm.name} --source river --once",
        )
    if asked and not CHANGE_ID.fullmatch(asked):
        raise UsageError(
            f"--cursor {asked!r} is not a change id.",
            f"As in: ledgerd harvest --realm {realm.name} --source river --once --dry-run --cursor 1-2-3-4-5",
        )
    url = river_url(config.upstream.api_url, config.upstream.stash_api_path, realm.name, asked)
    async with waiting(lambda: "fetching a page"), _client(config) as client:
        oauth = oauth_of(config, client, SystemClock())
        if oauth is None:
            raise RuntimeError("credentials were checked before")
        answer = await oauth.get(url, source=f"{RIVER}-{realm.name}", realm=realm.name, cursor=asked)
    click.echo(f"asked   {asked or 'the beginning of history'}")
    click.echo(_answered(answer))
    try:
        body = decode(answer.body, answer.encoding, config.upstream.decoded_bytes_max)
        found, stashes = gist(body), changes(body)
    except (UnreadableBody, UnreadableRiverPage) as error:
        raise UpstreamRefused(
            f"The answer cannot be used: {error}.", "See what the daemon does: ledgerd status"
        ) from error
    click.echo("\n".join(_shown_river(found, stashes, realm.leagues)))


def _shown_river(found: Gist, stashes: Sequence[Change], leagues: Sequence[str]) -> Iterable[str]:
    """What a page of the river means and holds."""
    if found.is_empty:
        yield "means   the end of the river for now: the same id is asked again"
        return
    yield f"means   {len(stashes)} changes; next {found.next_change_id}"
    named = [str(change.stash.get("league") or LEAGUELESS) for change in stashes]
    items = Counter[str]()
    for league, change in zip(named, stashes, strict=True):
        held = change.stash.get("items")
        items[league] += len(held) if isinstance(held, list) else 0
    yield table(("league", "changes", "items"), [(name, n, items[name]) for name, n in Counter(named).most_common()])
    wanted = [change for league, change in zip(named, stashes, strict=True) if "*" in leagues or league in leagues]
    yield f"shown   {min(SHOWN, len(wanted))} of {len(wanted)} changes of {', '.join(leagues)}"
    yield from (change.text[:TEXT_MAX] for change in wanted[:SHOWN])


def _answered(answer: Answer) -> str:
    return f"answer  {answer.status}, {len(answer.body)} bytes {answer.encoding or 'plain'}"


async def _cursor(config: Config, kind: str, realm: Realm) -> str | None:
    """Where the running daemon stands; None if none runs."""
    async with reach.daemon(config) as running:
        sources = (await running.get("/status"))["sources"] if running else []
    return next((each["cursor"] for each in sources if each["name"] == f"{kind}-{realm.name}"), None)


def _hour(cursor: str | None, realm: Realm) -> int | None:
    if cursor is None:
        return parse_from(realm.exchange_from, SystemClock().now())
    if not cursor.isascii() or not cursor.isdigit():
        raise UsageError(
            f"--cursor {cursor!r} is not a unix hour.",
            "As in: ledgerd harvest --realm pc --once --dry-run --cursor 1787119200",
        )
    return int(cursor)


@asynccontextmanager
async def _client(config: Config) -> AsyncIterator[Client]:
    """A client whose requests nobody books; upstream's limits it knows from the daemon's file, and adds to that."""

    async def forget(_: RequestRecord) -> None:
        """A dry run keeps nothing."""

    limits = Limits(config.upstream.timeout_s, config.upstream.body_bytes_max)
    folder = config.daemon.data_dir
    throttle = Throttle(
        config.throttle.requests_per_s,
        config.throttle.backfill_requests_per_s,
        state_path=folder / THROTTLE_FILE if folder.is_dir() else None,
    )
    throttle.restore()
    async with Client(
        user_agent=user_agent(config), limits=limits, throttle=throttle, clock=SystemClock(), remember=forget
    ) as client:
        yield client
