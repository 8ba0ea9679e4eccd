"""Batch → bronze → commit → retire: the only door into bronze, the same for every source."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from ledgerd.clock import Clock, wait_for
from ledgerd.errors import ChainBroken, QueryRefused, StoreUnavailable
from ledgerd.events import BatchCommitted, JournalCommitted, Noted, Quarantined, emit
from ledgerd.failpoint import failpoint
from ledgerd.spool.patience import Patience
from ledgerd.spool.record import JSON, Page
from ledgerd.spool.spool import Batch, Stream
from ledgerd.store.engine import Engine, Row
from ledgerd.store.faults import is_repeatable
from ledgerd.store.queries import load_queries
from ledgerd.supervise import Heart, Stop

QUARANTINE_COLUMNS = (
    "source", "realm", "cursor", "reason", "payload", "payload_bytes", "batch_id", "page_seq", "retrieved_at",
)  # fmt: skip
CHECKPOINT_COLUMNS = (
    "source", "realm", "seq", "batch_id", "cursor", "next_cursor", "pages", "rows", "rows_skipped",
    "rows_quarantined", "leagues", "transform", "token", "retrieved_at", "committed_at",
)  # fmt: skip

MISMATCH = "the engine stored another number of rows than the page holds"
"""The reason a whole page is quarantined beside the rows it did give."""


@dataclass(frozen=True, slots=True)
class SealRules:
    """When an open batch is sealed: at so many pages, so many bytes, or so many seconds after its first page."""

    pages_max: int
    bytes_max: int
    after_s: float


@dataclass(frozen=True, slots=True)
class Insert:
    """One block for one table. ``suffix`` tells the inserts of a batch apart in their tokens."""

    table: str
    columns: Sequence[str]
    rows: list[Row]
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Landed:
    """What a batch becomes: its inserts, and how many rows each page must have given once they are in.

    ``skipped``: rows left out before any insert, by league, because nobody asked for it.
    """

    inserts: list[Insert]
    expected: Mapping[int, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """What a page became: rows in bronze, in quarantine, and left out by the engine as nobody's league."""

    stored: int = 0
    quarantined: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        """All rows of the page the engine saw."""
        return self.stored + self.quarantined + self.skipped


@dataclass(frozen=True, slots=True)
class Counted:
    """What a batch became, by page number, and the rows in bronze by league.

    ``newest``: of each of these leagues, the newest hour in the batch, unix seconds, where its rows have hours;
    ``skipped``: rows the engine left out, by league, because nobody asked for it.
    """

    pages: Mapping[int, Found]
    leagues: Mapping[str, int]
    newest: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Repaired:
    """A slower way in for pages that came short, and how many rows a full reading says they hold."""

    inserts: list[Insert] = field(default_factory=list)
    expected: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Committed:
    """A batch that ETL may read now; ``next_cursor`` is where its source stands, ``skipped`` what nobody asked for."""

    source: str
    batch: Batch
    rows: int
    by_league: Mapping[str, int]
    newest: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)


class Landing(Protocol):
    """How the batches of one source become rows. Everything the rows depend on is in the pages and the recipe."""

    source: str
    realm: str
    is_journal: bool
    """True for our own records: they have no checkpoint and no ETL."""

    def recipe(self) -> dict[str, JSON]:
        """What a batch sealed now is sealed with: lanes, transform."""
        ...

    def land(self, batch: Batch, recipe: Mapping[str, JSON], pages: Sequence[Page]) -> Landed:
        """The rows of a batch; runs in a thread; equal arguments, equal rows."""
        ...

    def place(self, cursor: str) -> str:
        """``cursor`` as a person reads it."""
        ...

    async def count(self, engine: Engine, batch: Batch) -> Counted:
        """What ``batch`` became."""
        ...

    def repair(
        self, batch: Batch, recipe: Mapping[str, JSON], pages: Sequence[Page], short: Mapping[int, Found]
    ) -> Repaired:
        """What can be done for the pages in ``short``; runs in a thread; equal arguments, equal rows."""
        ...


def writer_name(stream: str) -> str:
    """The service that carries the pages of ``stream``."""
    return f"writer-{stream}"


class Writer:
    """Seals one stream's pages into batches and carries each to its commit, in order, however often it is interrupted.

    Every step may be repeated: an insert has the batch's token, the commit row one of its own, retiring is a rename.
    """

    def __init__(
        self,
        stream: Stream,
        landing: Landing,
        engine: Engine,
        *,
        rules: SealRules,
        clock: Clock,
        on_commit: Callable[[Committed], None] = lambda _: None,
    ) -> None:
        """``rules`` may be replaced while running; ``on_commit`` is told of each batch once it is visible."""
        self.name = writer_name(stream.name)
        self.rules = rules
        self._stream = stream
        self._landing = landing
        self._engine = engine
        self._clock = clock
        self._on_commit = on_commit
        self._woken = asyncio.Event()
        self._patience = Patience()

    async def frozen(self) -> None:
        """A page was frozen. A full batch is closed here, not when the engine is back: it must not grow meanwhile."""
        if self._is_full():
            await self._stream.seal(self._landing.recipe())
        self._woken.set()

    async def run(self, stop: Stop, heart: Heart) -> None:
        """Service: carry what an earlier run left, then seal and carry until the stop, then once more."""
        while not stop.is_set:
            await self._carry_all(heart)
            wait_s = self._due_in_s()
            if wait_s is None or wait_s > 0:
                await self._rest(stop, heart, wait_s)
            else:
                await self._stream.seal(self._landing.recipe())
        await self.flush(heart)

    async def flush(self, heart: Heart) -> None:
        """Seal whatever is open and carry every sealed batch to its commit."""
        await self._stream.seal(self._landing.recipe())
        await self._carry_all(heart)

    async def _rest(self, stop: Stop, heart: Heart, wait_s: float | None) -> None:
        """Wait for a page, for the batch to be due, or for the stop."""
        self._woken.clear()
        await heart.rest(stop, self._woken.wait() if wait_s is None else wait_for(self._woken, self._clock, wait_s))

    def _due_in_s(self) -> float | None:
        """Seconds until the open batch is to be sealed; None while nothing is open."""
        stream, rules = self._stream, self.rules
        if stream.open_pages == 0 or stream.open_since_ms is None:
            return None
        if self._is_full():
            return 0.0
        return max(0.0, stream.open_since_ms / 1000 + rules.after_s - self._clock.now())

    def _is_full(self) -> bool:
        return self._stream.open_pages >= self.rules.pages_max or self._stream.open_bytes >= self.rules.bytes_max

    async def _carry_all(self, heart: Heart) -> None:
        while batches := self._stream.sealed():  # again: more may have been sealed meanwhile
            for batch in batches:
                await self._carry(batch)
                heart.beat()

    async def _carry(self, batch: Batch) -> None:
        """One batch, from wherever an earlier attempt stopped to retired."""
        if self._landing.is_journal or not await self._is_committed(batch):
            await self._store(batch)
        await self._stream.retire(batch)

    async def _is_committed(self, batch: Batch) -> bool:
        """Whether ``batch`` has its commit row. ChainBroken when another harvester's batch has its number."""
        rows = await self._engine.rows(
            load_queries()["is_committed"],
            {"source": self._landing.source, "seq": batch.seq, "batch": batch.batch_id if batch.recipe else ""},
        )  # without its seal a batch has lost its name; its number tells
        own, newest = rows[0]
        if newest and not own:
            raise ChainBroken(
                f"{self._landing.source}: another ledgerd went on from here with {newest}; {batch.batch_id} must wait.",
                f"Let one of them harvest it. To give up what waits here, stop, then: mv {batch.path.parent} elsewhere",
            )
        return bool(own)

    async def _store(self, batch: Batch) -> None:
        pages = await self._stream.pages(batch)
        if not pages:  # the disk took them all; start-up has kept the bytes and told of the gap
            return
        recipe = batch.recipe or self._landing.recipe()
        landed = await asyncio.to_thread(self._landing.land, batch, recipe, pages)
        failpoint("insert_sent")
        unfit = await self._insert_or_split(batch, landed.inserts, len(pages))
        failpoint("insert_acked")
        if self._landing.is_journal:
            emit(
                JournalCommitted(
                    self._landing.source, batch.batch_id, batch.pages, len(pages) - len(unfit), batch.next_cursor
                )
            )
            return
        counted = await self._verified(batch, recipe, pages, landed, unfit)
        await self._commit(batch, recipe, landed, counted)

    async def _verified(
        self,
        batch: Batch,
        recipe: Mapping[str, JSON],
        pages: Sequence[Page],
        landed: Landed,
        unfit: Mapping[int, str] = MappingProxyType({}),
    ) -> Counted:
        """Count each page's rows against the page; repair what came short, quarantine what stays short or is unfit."""
        counted = await self._landing.count(self._engine, batch)
        expected = dict(landed.expected)
        if short := {seq: each for seq, each in _short(expected, counted).items() if seq not in unfit}:
            repaired = await asyncio.to_thread(self._landing.repair, batch, recipe, pages, short)
            await self._repair(batch, repaired.inserts)
            counted = await self._landing.count(self._engine, batch)
            expected |= repaired.expected
        kept = {seq: counted.pages.get(seq, Found()) for seq in unfit if not expected.get(seq)}
        if short := kept | _short(expected, counted):
            found = {seq: f"{each.total} of {expected.get(seq, 0)}" for seq, each in short.items()}
            await self._quarantine_pages(batch, pages, found, unfit)
        return counted

    async def _repair(self, batch: Batch, inserts: Sequence[Insert]) -> None:
        """Bring in what the engine left out; or, once that failed often enough, leave it to the quarantine."""
        try:
            await self._insert(batch, inserts)
        except (StoreUnavailable, QueryRefused) as error:
            await self._lose_patience(batch, inserts, error, "its short pages go to quarantine")

    async def _insert_or_split(self, batch: Batch, inserts: Sequence[Insert], pages: int) -> dict[int, str]:
        """Insert a batch whole or, when that fails again and again in the same way, page by page.

        Returns the reasons of the pages the engine did not take even alone. Which pages go alone is written down before
        the first one does: after that the batch is never sent whole again, so no page can get in under two tokens.
        """
        alone = await self._stream.alone(batch)
        if alone is None:
            try:
                await self._insert(batch, inserts)
            except (StoreUnavailable, QueryRefused) as error:
                await self._lose_patience(batch, inserts, error, "its pages go in one by one")
                counted = await self._landing.count(self._engine, batch)
                alone = [seq for seq in range(pages) if counted.pages.get(seq, Found()).total == 0]
                await self._stream.set_alone(batch, alone)
            else:
                return {}
        return await self._insert_alone(batch, inserts, alone)

    async def _lose_patience(
        self, batch: Batch, inserts: Sequence[Insert], error: StoreUnavailable | QueryRefused, then: str
    ) -> None:
        """Return once ``batch`` has failed often enough; raise until then, and for what is no fault of its rows.

        ``then``: what happens to it.
        """
        if isinstance(error, QueryRefused) and error.code == 0:  # ours: is it the rows, or is a table not there?
            for insert in inserts:
                await self._engine.rows(f"SELECT {', '.join(insert.columns)} FROM {insert.table} LIMIT 0")  # noqa: S608  names of our own
        if not self._patience.is_over(batch.batch_id, error, self._clock.now()):
            if isinstance(error, QueryRefused) and is_repeatable(error):
                raise StoreUnavailable(error.message, error.hint or "See: ledgerd status") from error
            raise error
        note = f"{batch.batch_id} failed {self._patience.failures} times; {then}: {error.message}"
        emit(Noted(self._landing.source, note=note))

    async def _insert_alone(self, batch: Batch, inserts: Sequence[Insert], alone: Sequence[int]) -> dict[int, str]:
        """Insert these pages one by one; the reasons of those the engine did not take."""
        unfit: dict[int, str] = {}
        for seq in alone:
            try:
                for insert in inserts:
                    at = insert.columns.index("page_seq")
                    rows = [row for row in insert.rows if row[at] == seq]
                    token = f"{batch.token}{insert.suffix}-page-{seq}"
                    await self._engine.insert(insert.table, insert.columns, rows, token=token)
            except (StoreUnavailable, QueryRefused) as error:
                if not is_repeatable(error):
                    raise
                unfit[seq] = error.message
                if self._landing.is_journal:
                    emit(Noted(self._landing.source, note=f"a record was not stored: {error.message}"))
        return unfit

    async def _insert(self, batch: Batch, inserts: Sequence[Insert]) -> None:
        for insert in inserts:
            await self._engine.insert(insert.table, insert.columns, insert.rows, token=f"{batch.token}{insert.suffix}")

    async def _commit(self, batch: Batch, recipe: Mapping[str, JSON], landed: Landed, counted: Counted) -> None:
        """Write the row that lets ETL see the batch, and tell."""
        leagues = recipe.get("leagues")
        rows = sum(found.stored + found.quarantined for found in counted.pages.values())
        row = (
            self._landing.source, self._landing.realm, batch.seq, batch.batch_id, batch.cursor, batch.next_cursor,
            batch.pages, rows, sum(landed.skipped.values()) + sum(found.skipped for found in counted.pages.values()),
            sum(found.quarantined for found in counted.pages.values()),
            leagues if isinstance(leagues, list) else [], str(recipe.get("transform", "")), batch.token,
            batch.oldest_at_ms / 1000, self._clock.now(),
        )  # fmt: skip
        await self._engine.insert("bronze_ingest_checkpoints", CHECKPOINT_COLUMNS, [row], token=f"{batch.token}-commit")
        failpoint("committed")
        up_to = self._landing.place(batch.next_cursor)
        emit(BatchCommitted(self._landing.source, batch.batch_id, batch.pages, rows, up_to))
        skipped = landed.skipped or counted.skipped
        self._on_commit(Committed(self._landing.source, batch, rows, counted.leagues, counted.newest, skipped))

    async def _quarantine_pages(
        self, batch: Batch, pages: Sequence[Page], short: Mapping[int, str], unfit: Mapping[int, str]
    ) -> None:
        """Keep whole the pages of which the engine stored another number of rows than they hold."""
        rows: list[Row] = []
        for seq, found in sorted(short.items()):
            page = pages[seq]
            reason = f"{MISMATCH}: {unfit[seq]}" if seq in unfit else MISMATCH
            rows.append((
                self._landing.source, self._landing.realm, page.asked, reason, page.body, len(page.body),
                batch.batch_id, seq, page.retrieved_at_ms / 1000,
            ))  # fmt: skip
            emit(Quarantined(self._landing.source, page.asked, reason if seq in unfit else f"{reason}: {found}"))
        await self._engine.insert("bronze_quarantine", QUARANTINE_COLUMNS, rows, token=f"{batch.token}-mismatch")


def _short(expected: Mapping[int, int], counted: Counted) -> dict[int, Found]:
    """The pages that did not become as many rows as they must."""
    found = {seq: counted.pages.get(seq, Found()) for seq in expected}
    return {seq: each for seq, each in found.items() if each.total != expected[seq]}
