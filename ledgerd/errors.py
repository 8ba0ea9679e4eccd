"""Every error ledgerd raises on purpose, sorted by what the daemon will do about it.

LedgerdError                  message + hint; the hint ends in a command to type
├── Transient                 try again; /status says degraded meanwhile
│   ├── UpstreamUnavailable   no usable answer: reset, timeout, 5xx, oversized or undecodable body
│   ├── SpoolFull             the spool has no room; harvesting waits
│   ├── StoreUnavailable      the engine does not answer or refuses for now
│   └── NotPricedYet          a question about prices before there are any
├── Refused                   this source or request stops; a person is told
│   ├── UpstreamRefused       repeated 4xx: GGG does not want this request
│   ├── ChainBroken           a cursor that repeats with content or runs backwards
│   ├── QueryRefused          SQL the engine rejects, or that is not read-only
│   ├── NotKnown              a realm, league or currency that is not here; names the near spellings
│   └── ReloadRefused         a new configuration that needs a restart, or is wrong
└── Fatal                     the process ends with ``exit_code``; systemd does not loop on 64, 70, 74 and 78
    ├── UsageError            64
    ├── SchemaNewer           70: the database was written by a newer ledgerd
    ├── MigrationRefused      70: an applied migration was edited, or the engine refuses one
    ├── StoreLocked           73: another process owns the data directory
    ├── SpoolUnreadable       74
    ├── CannotStart           75: a port taken, a server out of reach; worth another try
    └── ConfigError           78
"""

from typing import ClassVar


class LedgerdError(Exception):
    """An error with a hint for the person who reads it."""

    def __init__(self, message: str, hint: str = "") -> None:
        """``message``: what is wrong, one sentence; ``hint``: what to do, ending in a command to type."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Message and hint as a person reads them."""
        if not self.hint or self.hint.startswith("\n"):
            return self.message + self.hint
        stop = "" if self.message.endswith((".", "?", "!", ":")) else "."
        return f"{self.message}{stop} {self.hint}".strip()


class Transient(LedgerdError):
    """Try again later."""


class UpstreamUnavailable(Transient):
    """Upstream gave no usable answer."""


class SpoolFull(Transient):
    """The spool has no room for another page."""


class StoreUnavailable(Transient):
    """The engine cannot serve now; ``code`` is ClickHouse's error number, 0 if it gave none."""

    code: int = 0


class NotPricedYet(Transient):
    """The ledger holds no prices to answer from."""


class Refused(LedgerdError):
    """This source or request stops until a person acts."""


class UpstreamRefused(Refused):
    """GGG refused the same kind of request several times in a row."""


class ChainBroken(Refused):
    """Upstream named a next cursor that is not ahead of the one asked."""


class QueryRefused(Refused):
    """SQL that cannot be run: wrong, too costly, or not read-only; ``code`` as in StoreUnavailable."""

    code: int = 0


class NotKnown(Refused):
    """A name that stands for nothing here."""

    def __init__(self, message: str, hint: str = "", suggestions: tuple[str, ...] = ()) -> None:
        """``suggestions``: the nearest names there are, best first."""
        super().__init__(message, hint)
        self.suggestions = suggestions


class ReloadRefused(Refused):
    """A configuration that cannot be taken while running."""


class Fatal(LedgerdError):
    """The process cannot go on."""

    exit_code: ClassVar[int] = 1


class UsageError(Fatal):
    """The command line asks for something that does not exist."""

    exit_code = 64


class SchemaNewer(Fatal):
    """The database was migrated by a newer ledgerd."""

    exit_code = 70


class MigrationRefused(Fatal):
    """A migration was edited after it was applied, or the engine refuses it: trying again cannot help."""

    exit_code = 70


class StoreLocked(Fatal):
    """Another process owns the data directory."""

    exit_code = 73


class SpoolUnreadable(Fatal):
    """The spool folder cannot be read or written at all."""

    exit_code = 74


class CannotStart(Fatal):
    """Something outside is in the way: a taken port, a server out of reach."""

    exit_code = 75


class ConfigError(Fatal):
    """The configuration is wrong; ``message`` lists every problem."""

    exit_code = 78
