"""River pages → bronze: split by the engine, counted against the page, read slowly where it cannot."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ledgerd.harvest.lanes import LaneLanding, lane_of, lanes_of
from ledgerd.harvest.river_page import Change, UnreadableRiverPage, changes, gist
from ledgerd.spool.record import JSON, Page
from ledgerd.spool.spool import Batch
from ledgerd.spool.writer import Counted, Found, Insert, Landed, Repaired
from ledgerd.store.engine import Engine, Row
from ledgerd.store.queries import load_queries
from ledgerd.upstream.body import UnreadableBody, decode

TRANSFORM = "landing_river_1"
"""The Null table a batch sealed now goes through: its name is the version of the transform."""
PAGE_COLUMNS = ("batch_id", "page_seq", "realm", "asked", "next", "leagues", "retrieved_at", "body")
SLOW_DOORS = {TRANSFORM: "landing_river_stashes_1"}
"""Where changes the engine did not read are brought in, by the door their batch went through."""
CHANGE_COLUMNS = (
    "batch_id", "page_seq", "realm", "asked", "next", "leagues", "retrieved_at", "payload", "fields", "item_count",
)  # fmt: skip


class RiverLanding(LaneLanding):
    """The public stashes of one realm."""

    transform = TRANSFORM

    def place(self, cursor: str) -> str:
        """Change ids are opaque."""
        return cursor

    def land(self, batch: Batch, recipe: Mapping[str, JSON], pages: Sequence[Page]) -> Landed:
        """One landing row a page; a page that cannot be decoded lands empty and is short, so that it is kept whole."""
        rows: list[Row] = []
        expected: dict[int, int] = {}
        for seq, page in enumerate(pages):
            body = self._decoded(page)
            expected[seq] = _claimed(body)
            rows.append((*self._head(batch, seq, page, recipe), body))
        return Landed([Insert(str(recipe.get("transform", TRANSFORM)), PAGE_COLUMNS, rows)], expected)

    def repair(
        self, batch: Batch, recipe: Mapping[str, JSON], pages: Sequence[Page], short: Mapping[int, Found]
    ) -> Repaired:
        """Read short pages leniently; the engine read all of a page but its odd changes, or nothing of it."""
        rows: list[Row] = []
        expected: dict[int, int] = {}
        for seq, found in short.items():
            try:
                every = changes(self._decoded(pages[seq]))
            except UnreadableRiverPage:
                continue
            expected[seq] = len(every)
            missing = every if found.total == 0 else [change for change in every if change.is_odd]
            rows += [(*self._head(batch, seq, pages[seq], recipe), *_split(change)) for change in missing]
        door = SLOW_DOORS.get(str(recipe.get("transform")), SLOW_DOORS[TRANSFORM])
        return Repaired([Insert(door, CHANGE_COLUMNS, rows, "-slow")] if rows else [], expected)

    async def count(self, engine: Engine, batch: Batch) -> Counted:
        """What each page became, by lane."""
        lanes = lanes_of(batch.recipe)
        params = {"realm": self.realm, "source": self.source, "batch": batch.batch_id}
        pages: dict[int, Found] = {}
        leagues: Counter[str] = Counter()
        left_out: Counter[str] = Counter()
        settings = {"max_threads": 1}  # a few dozen rows: more threads double what the answer costs
        rows = await engine.rows(load_queries()["river_rows_of_batch"], params, settings=settings)
        for seq, league, stored, skipped in rows:
            had = pages.get(seq, Found())
            pages[seq] = Found(had.stored + stored, 0, had.skipped + skipped)
            leagues[lane_of(league, lanes)] += stored
            left_out[lane_of(league, lanes)] += skipped
        return Counted(pages, +leagues, skipped=+left_out)

    def _decoded(self, page: Page) -> bytes:
        try:
            return decode(page.body, page.encoding, self._decoded_bytes_max)
        except UnreadableBody:
            return b""

    def _head(self, batch: Batch, seq: int, page: Page, recipe: Mapping[str, JSON]) -> Row:
        return (batch.batch_id, seq, self.realm, page.asked, page.next, lanes_of(recipe), page.retrieved_at_ms / 1000)


def _claimed(body: bytes) -> int:
    """How many changes the bytes of a page claim; one where they make no sense, so that the page comes short."""
    try:
        got = gist(body)
    except UnreadableRiverPage:
        return 1
    return got.stashes if got.stashes or got.is_empty else 1


def _split(change: Change) -> Row:
    """A change as the split view would have it."""
    stash = change.stash
    items = stash.get("items")
    public = stash.get("public")
    fields = (
        _text(stash.get("id")),
        public if isinstance(public, bool) else None,
        *(_text(stash.get(key)) for key in ("accountName", "stash", "stashType", "league")),
    )
    return change.text.encode("utf-8", "surrogateescape"), fields, len(items) if isinstance(items, list) else 0


def _text(value: object) -> bytes | None:
    """Text as bytes the engine takes; a lone surrogate becomes the replacement character (the payload keeps it)."""
    return value.encode("utf-8", "replace") if isinstance(value, str) else None
