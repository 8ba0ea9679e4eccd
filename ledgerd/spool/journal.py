"""Our own records on their way to bronze: requests made, bodies nobody could use. Same spool, same writer."""

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from ledgerd.clock import Clock
from ledgerd.errors import Refused, Transient
from ledgerd.events import Noted, emit
from ledgerd.spool.record import JSON, Page
from ledgerd.spool.spool import Batch, Stream
from ledgerd.spool.writer import QUARANTINE_COLUMNS, Counted, Found, Insert, Landed, Repaired
from ledgerd.store.engine import Engine, Row

REQUEST_COLUMNS = (
    "source", "realm", "requested_at", "url", "cursor", "status", "body_bytes", "elapsed_ms", "outcome", "error",
    "retry_after_s", "policy",
)  # fmt: skip
PAYLOAD_BYTES_MAX = 8 << 20
"""How much of an unusable body is kept."""


class Journal:
    """Appends records to a stream of its own. A record that cannot be kept is noted, never an error of its subject."""

    def __init__(self, stream: Stream, clock: Clock, on_append: Callable[[], Awaitable[None]]) -> None:
        """``on_append``: told of every record kept."""
        self._stream = stream
        self._clock = clock
        self._on_append = on_append

    async def append(self, record: Mapping[str, Any]) -> None:
        """Keep one record; it survives a killed process, though not a power cut in the same second."""
        try:
            page = Page("", "", int(self._clock.now() * 1000), 0, "identity", orjson.dumps(record), kind="record")
            await self._stream.freeze(page, durable=False)
            await self._on_append()
        except (Transient, Refused) as error:
            self._not_kept(error.message)
        except orjson.JSONEncodeError as error:
            self._not_kept(str(error))

    def _not_kept(self, reason: str) -> None:
        emit(Noted(self._stream.name, note=f"a record was not kept: {reason}"))


def quarantine_record(
    *, source: str, realm: str, cursor: str, reason: str, payload: bytes, retrieved_at_ms: int
) -> dict[str, Any]:
    """A record for the quarantine journal; at most PAYLOAD_BYTES_MAX of ``payload`` is kept, its length always."""
    return {
        "source": source,
        "realm": realm,
        "cursor": cursor,
        "reason": reason,
        "payload": base64.b64encode(payload[:PAYLOAD_BYTES_MAX]).decode(),
        "payload_bytes": len(payload),
        "retrieved_at": retrieved_at_ms / 1000,
    }


class JournalLanding:
    """Records of one journal → rows of one table."""

    is_journal = True
    realm = ""

    def __init__(self, source: str, table: str, columns: Sequence[str]) -> None:
        """``columns``: the record keys that are columns of ``table``."""
        self.source = source
        self._table = table
        self._columns = tuple(columns)

    def recipe(self) -> dict[str, JSON]:
        """A record depends on nothing but itself."""
        return {"transform": self._table}

    def land(self, batch: Batch, recipe: Mapping[str, JSON], pages: Sequence[Page]) -> Landed:
        """One row a record."""
        columns = (*self._columns, "batch_id", "page_seq")
        rows = [self._row(page.body, batch.batch_id, seq) for seq, page in enumerate(pages)]
        return Landed([Insert(self._table, columns, rows)])

    def place(self, cursor: str) -> str:
        """Journals have no cursor."""
        return cursor

    async def count(self, engine: Engine, batch: Batch) -> Counted:
        """Journals are not verified by count."""
        return Counted({}, {})

    def repair(
        self, batch: Batch, recipe: Mapping[str, JSON], pages: Sequence[Page], short: Mapping[int, Found]
    ) -> Repaired:
        """Nothing comes short."""
        return Repaired()

    def _row(self, body: bytes, batch_id: str, seq: int) -> Row:
        record = orjson.loads(body)
        if "payload" in record:
            record["payload"] = base64.b64decode(record["payload"])
        return (*(record[column] for column in self._columns), batch_id, seq)


def requests_landing() -> JournalLanding:
    """The requests journal → ``bronze_requests``."""
    return JournalLanding("requests", "bronze_requests", REQUEST_COLUMNS)


def quarantine_landing() -> JournalLanding:
    """The quarantine journal → ``bronze_quarantine``."""
    columns = tuple(column for column in QUARANTINE_COLUMNS if column not in {"batch_id", "page_seq"})
    return JournalLanding("quarantine", "bronze_quarantine", columns)
