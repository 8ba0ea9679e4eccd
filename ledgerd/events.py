"""What happened, said once: emitting an event writes one log line and moves its counters, so they cannot disagree."""

import logging
from collections import Counter as Tally
from dataclasses import asdict, dataclass
from typing import ClassVar

from prometheus_client import Counter, Gauge

log = logging.getLogger("ledgerd")
tally: Tally[tuple[str, str]] = Tally()
"""How often each (event name, subject) happened in this process; ``/status`` reads its error counts here."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something an operator may want to know. ``subject``: the source, step, stream or service it happened to."""

    text: ClassVar[str] = ""
    """The human line, formatted with the event's fields."""
    level: ClassVar[int] = logging.INFO

    subject: str

    def count(self) -> None:
        """Move the Prometheus counters that belong to this event."""


def emit(event: Event) -> None:
    """Write ``event`` to the log and to its counters."""
    name = type(event).__name__
    tally[name, event.subject] += 1
    EVENTS.labels(event=name, subject=event.subject).inc()
    event.count()
    fields = asdict(event)
    log.log(event.level, event.text.format(**fields), extra={"event": name, "fields": fields})


EVENTS = Counter("ledgerd_events", "Events by name and subject.", ["event", "subject"])
ANSWERS = Counter(
    "ledgerd_upstream_answers", "Upstream answers by source and HTTP status (0: none came).", ["source", "status"]
)
ANSWER_BYTES = Counter("ledgerd_upstream_bytes", "Bytes received from upstream, as received.", ["source"])
PAGES = Counter("ledgerd_pages_frozen", "Pages frozen in the spool.", ["source"])
ROWS = Counter("ledgerd_rows_committed", "Rows made visible by a commit.", ["source"])
ETL_ROWS = Counter("ledgerd_etl_rows", "Rows written by an ETL step; of public stashes not counted.", ["step"])
ETL_SECONDS = Counter("ledgerd_etl_seconds", "Seconds spent in an ETL step.", ["step"])
RATE_LIMIT_REMAINING = Gauge(
    "ledgerd_rate_limit_remaining", "Requests upstream still allows, by our own count.", ["policy", "rule", "period"]
)
"""Read from the throttle at each scrape: windows empty by themselves."""


@dataclass(frozen=True, slots=True)
class Started(Event):
    """The daemon serves."""

    text: ClassVar[str] = "{subject} {version} is ready: {url}/status"
    version: str
    url: str


@dataclass(frozen=True, slots=True)
class Stopping(Event):
    """A stop was asked for; pages in hand are being drained."""

    text: ClassVar[str] = "{subject}: stopping ({why}); a second signal stops now"
    why: str


@dataclass(frozen=True, slots=True)
class Stopped(Event):
    """The daemon is about to exit."""

    text: ClassVar[str] = "{subject}: stopped after {seconds:.1f} s"
    seconds: float


@dataclass(frozen=True, slots=True)
class Noted(Event):
    """Something legal but worth a look, said once."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{subject}: {note}"
    note: str


@dataclass(frozen=True, slots=True)
class ServiceCrashed(Event):
    """A service ended with an error nobody foresaw; it is started again after ``wait_s``."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "{subject} crashed, again in {wait_s:.0f} s: {error}"
    error: str
    wait_s: float


@dataclass(frozen=True, slots=True)
class OutageStarted(Event):
    """The first failure after a success; those that follow are counted, not logged."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{subject} is degraded: {error}"
    error: str


@dataclass(frozen=True, slots=True)
class OutageEnded(Event):
    """The first success after an outage."""

    text: ClassVar[str] = "{subject} is well again after {failures} failures in {seconds:.0f} s"
    failures: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Answered(Event):
    """Upstream answered a request (``status`` 0: it did not)."""

    level: ClassVar[int] = logging.DEBUG
    text: ClassVar[str] = "{subject}: {status} for {cursor} ({body_bytes} bytes, {elapsed_ms} ms) {outcome}"
    cursor: str
    status: int
    body_bytes: int
    elapsed_ms: int
    outcome: str

    def count(self) -> None:
        """Answers and bytes per source."""
        ANSWERS.labels(source=self.subject, status=str(self.status)).inc()
        ANSWER_BYTES.labels(source=self.subject).inc(self.body_bytes)


@dataclass(frozen=True, slots=True)
class RateLimited(Event):
    """Upstream refused a request with a 429; ``rule``: the limits that caused it, as upstream writes them."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "{subject}: 429 for {endpoint}, by {rule}"
    endpoint: str
    rule: str


@dataclass(frozen=True, slots=True)
class BackedOff(Event):
    """Nothing more is sent under a policy for ``wait_s``: a 429, a restriction, or a ``Retry-After`` demands it."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{subject}: silent for {wait_s:.0f} s ({reason}), by {rule}"
    rule: str
    reason: str
    wait_s: float


@dataclass(frozen=True, slots=True)
class PageFrozen(Event):
    """A page is on disk; the cursor has moved."""

    level: ClassVar[int] = logging.DEBUG
    text: ClassVar[str] = "{subject}: froze {asked} → {next_cursor} ({body_bytes} bytes)"
    asked: str
    next_cursor: str
    body_bytes: int

    def count(self) -> None:
        """Pages per source."""
        PAGES.labels(source=self.subject).inc()


@dataclass(frozen=True, slots=True)
class BatchCommitted(Event):
    """A batch became visible to ETL."""

    text: ClassVar[str] = "{subject}: committed {pages} pages, {rows} rows, up to {up_to}"
    batch_id: str
    pages: int
    rows: int
    up_to: str

    def count(self) -> None:
        """Rows per source."""
        ROWS.labels(source=self.subject).inc(self.rows)


@dataclass(frozen=True, slots=True)
class JournalCommitted(BatchCommitted):
    """A batch of our own records (requests, quarantine) was stored; nothing an operator needs to read."""

    level: ClassVar[int] = logging.DEBUG


@dataclass(frozen=True, slots=True)
class GapFound(Event):
    """A span upstream will never serve, or that nobody could read."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{subject}: gap from {gap_from} to {gap_to}: {reason}"
    gap_from: str
    gap_to: str
    reason: str


@dataclass(frozen=True, slots=True)
class Quarantined(Event):
    """Input that could not be used was kept with its reason."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{subject}: quarantined {what}: {reason}"
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourceStopped(Event):
    """A source stopped until a person acts; the others go on."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "{subject} stopped: {error}"
    error: str


@dataclass(frozen=True, slots=True)
class SpoolRepaired(Event):
    """Start-up found torn or flipped bytes: the good part is kept, the rest quarantined."""

    level: ClassVar[int] = logging.WARNING
    text: ClassVar[str] = "{subject}: kept {kept_pages} pages, quarantined {bad_bytes} unreadable bytes in {path}"
    kept_pages: int
    bad_bytes: int
    path: str


@dataclass(frozen=True, slots=True)
class Reloaded(Event):
    """A new configuration is in force."""

    text: ClassVar[str] = "{subject}: configuration {generation} is in force ({changes})"
    generation: int
    changes: str


@dataclass(frozen=True, slots=True)
class ReloadFailed(Event):
    """A new configuration was refused; the old one stays in force."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "{subject}: configuration refused, the old one stays: {error}"
    error: str


@dataclass(frozen=True, slots=True)
class MigrationApplied(Event):
    """The database took a migration."""

    text: ClassVar[str] = "{subject}: applied in {seconds:.1f} s"
    seconds: float


@dataclass(frozen=True, slots=True)
class EtlStepRan(Event):
    """A step refined one batch."""

    level: ClassVar[int] = logging.DEBUG
    text: ClassVar[str] = "{subject}: {rows} rows from {batch_id} in {seconds:.2f} s"
    batch_id: str
    rows: int
    seconds: float

    def count(self) -> None:
        """Rows and seconds per step."""
        ETL_ROWS.labels(step=self.subject).inc(self.rows)
        ETL_SECONDS.labels(step=self.subject).inc(self.seconds)


@dataclass(frozen=True, slots=True)
class Priced(Event):
    """The ledger loaded a new snapshot of a league."""

    text: ClassVar[str] = "{subject}: {currencies} currencies priced as of {as_of}; 1 divine = {divine_in_chaos} chaos"
    currencies: int
    as_of: str
    divine_in_chaos: str


@dataclass(frozen=True, slots=True)
class ItemsPriced(Event):
    """The ledger loaded new prices of a league's items."""

    level: ClassVar[int] = logging.DEBUG
    text: ClassVar[str] = "{subject}: {items} items priced as of {as_of}"
    items: int
    as_of: str


@dataclass(frozen=True, slots=True)
class PartitionDropped(Event):
    """Retention let go of data every watermark has passed."""

    text: ClassVar[str] = "{subject}: dropped partition {partition}, older than {days} days"
    partition: str
    days: int


@dataclass(frozen=True, slots=True)
class LoopStalled(Event):
    """A service made no progress for longer than the watchdog allows."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "{subject} has made no progress for {seconds:.0f} s"
    seconds: float


@dataclass(frozen=True, slots=True)
class RequestCrashed(Event):
    """An HTTP request met an error nobody foresaw; its client got a 500, the others go on."""

    level: ClassVar[int] = logging.ERROR
    text: ClassVar[str] = "{subject} crashed: {error}"
    error: str


@dataclass(frozen=True, slots=True)
class RequestUnreadable(Event):
    """A client sent what is not HTTP; it got a 400 that repeats nothing of it, or no answer, the others go on."""

    level: ClassVar[int] = logging.DEBUG
    text: ClassVar[str] = "{subject}: a request could not be read: {error}"
    error: str
