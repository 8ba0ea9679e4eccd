"""Exchange pages → bronze: which rows a batch becomes, frozen with it, and how many there must be."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ledgerd.clock import rfc3339
from ledgerd.harvest.exchange_page import Landable, UnreadablePage, landable
from ledgerd.harvest.lanes import PRIVATE_LEAGUE, LaneLanding, lanes_of
from ledgerd.spool.record import JSON, Page
from ledgerd.spool.spool import Batch
from ledgerd.spool.writer import MISMATCH, QUARANTINE_COLUMNS, Counted, Found, Insert, Landed, Repaired
from ledgerd.store.engine import Engine, Row
from ledgerd.store.queries import load_queries
from ledgerd.upstream.body import UnreadableBody, decode

TRANSFORM = "landing_exchange_1"
"""The Null table a batch sealed now goes through: its name is the version of the transform."""
LANDING_COLUMNS = (
    "batch_id", "page_seq", "source", "realm", "asked", "next", "gap_reason", "leagues", "retrieved_at", "body",
)  # fmt: skip
KIND_HOUR = "page"
KIND_NEVER = "never"
"""A page that says: these hours do not exist."""
KIND_UNREADABLE = "unreadable"
"""A page nobody could read for so long that the chain went on without it."""
GAP_REASONS = {
    KIND_HOUR: "",
    KIND_NEVER: "upstream never had these hours",
    KIND_UNREADABLE: "unreadable: see bronze_quarantine",
}


def in_lanes(league: str, lanes: Iterable[str]) -> bool:
    """True if markets of ``league`` are stored under ``lanes``; the landing view decides the same.

    >>> in_lanes("Standard", ["*"]), in_lanes("Mine (PL1)", ["*"]), in_lanes("Mine (PL1)", ["Mine (PL1)"])
    (True, False, True)
    """
    lanes = set(lanes)
    return not league or league in lanes or ("*" in lanes and not PRIVATE_LEAGUE.search(league))


class ExchangeLanding(LaneLanding):
    """The currency exchange of one realm."""

    transform = TRANSFORM

    def land(self, batch: Batch, recipe: Mapping[str, JSON], pages: Sequence[Page]) -> Landed:
        """One landing row a page; markets no strict reader takes go to the quarantine."""
        lanes = lanes_of(recipe)
        rows: list[Row] = []
        bad: list[Row] = []
        expected: dict[int, int] = {}
        skipped: Counter[str] = Counter()
        for seq, page in enumerate(pages):
            ready, reason = self._readable(page)
            rows.append(self._landing_row(batch, seq, page, lanes, ready.body))
            bad += [self._quarantine_row(batch, seq, page, reason, market) for market in ready.unreadable]
            wanted = {league: n for league, n in ready.leagues.items() if in_lanes(league, lanes)}
            skipped.update({league: n for league, n in ready.leagues.items() if league not in wanted})
            expected[seq] = sum(wanted.values()) + len(ready.unreadable)
        inserts = [Insert(str(recipe.get("transform", TRANSFORM)), LANDING_COLUMNS, rows)]
        if bad:
            inserts.append(Insert("bronze_quarantine", QUARANTINE_COLUMNS, bad, "-unreadable"))
        return Landed(inserts, expected, skipped)

    def place(self, cursor: str) -> str:
        """The hour ``cursor`` names."""
        return rfc3339(int(cursor))

    async def count(self, engine: Engine, batch: Batch) -> Counted:
        """Rows in bronze, by league, and in quarantine, by page."""
        rows = await engine.rows(
            load_queries()["exchange_rows_of_batch"],
            {
                "realm": self.realm,
                "source": self.source,
                "batch": batch.batch_id,
                "mismatch": MISMATCH,
                "first": int(batch.cursor),
                "end": int(batch.next_cursor),
            },
        )
        pages: dict[int, Found] = {}
        leagues: Counter[str] = Counter()
        newest: dict[str, int] = {}
        for seq, league, stored, quarantined, newest_hour in rows:
            had = pages.get(seq, Found())
            pages[seq] = Found(had.stored + stored, had.quarantined + quarantined)
            leagues[league] += stored
            if stored:
                newest[league] = max(newest_hour, newest.get(league, 0))
        return Counted(pages, +leagues, newest)

    def repair(
        self, batch: Batch, recipe: Mapping[str, JSON], pages: Sequence[Page], short: Mapping[int, Found]
    ) -> Repaired:
        """There is no slower way: what Python can read has been made readable before the insert."""
        return Repaired()

    def _readable(self, page: Page) -> tuple[Landable, str]:
        """``page`` as the engine can read it, and why its ``unreadable`` part is not."""
        if page.kind == KIND_NEVER:
            return Landable(b"{}"), ""
        if page.kind == KIND_UNREADABLE:
            return Landable(b"{}", unreadable=(page.body,)), "nobody could read this hour"
        try:
            decoded = decode(page.body, page.encoding, self._decoded_bytes_max)
            return landable(decoded), "a value no strict JSON reader takes"
        except (UnreadableBody, UnreadablePage) as error:
            return Landable(b"{}", unreadable=(page.body,)), str(error)

    def _landing_row(self, batch: Batch, seq: int, page: Page, lanes: list[str], body: bytes) -> Row:
        return (
            batch.batch_id, seq, self.source, self.realm, int(page.asked), int(page.next),
            GAP_REASONS.get(page.kind, ""), lanes, page.retrieved_at_ms / 1000, body,
        )  # fmt: skip

    def _quarantine_row(self, batch: Batch, seq: int, page: Page, reason: str, payload: bytes) -> Row:
        return (
            self.source, self.realm, page.asked, reason, payload, len(payload),
            batch.batch_id, seq, page.retrieved_at_ms / 1000,
        )  # fmt: skip
