"""Builds a source with the writer that carries its pages, going on where the stream or the last commit stands."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ledgerd.clock import HOUR_S, Clock
from ledgerd.config import Config, Realm
from ledgerd.config.rules import parse_from
from ledgerd.errors import StoreUnavailable
from ledgerd.events import Noted, emit
from ledgerd.harvest import market_harvester, river_source
from ledgerd.harvest.book import LANES_MAX
from ledgerd.harvest.exchange_landing import ExchangeLanding
from ledgerd.harvest.market_harvester import ExchangeSource
from ledgerd.harvest.river_landing import RiverLanding
from ledgerd.harvest.river_source import RiverSource, river_url
from ledgerd.harvest.source import Settings, Source
from ledgerd.spool.checkpoint import last_checkpoint
from ledgerd.spool.journal import Journal
from ledgerd.spool.spool import Spool
from ledgerd.spool.writer import Committed, Landing, SealRules, Writer
from ledgerd.store.engine import Engine
from ledgerd.store.queries import load_queries
from ledgerd.upstream.client import Client
from ledgerd.upstream.oauth import Credentials, OAuth

EXCHANGE, RIVER = market_harvester.KIND, river_source.KIND
TOKEN_FILE = "oauth-token.json"  # noqa: S105  a file's name
SEEN_S = 7 * 24 * HOUR_S
"""How far back the newest hour of each league is looked up at start."""


@dataclass(frozen=True, slots=True)
class Strand:
    """One source and the writer that carries its pages."""

    source: Source[Any]
    writer: Writer

    def settle(self, realm: Realm, config: Config) -> None:
        """Take what of ``config`` may change while running."""
        self.source.settings = settings_of(self.source.kind, realm, config)
        self.writer.rules = rules_of(config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loom:
    """What every strand is made with.

    ``leagues``: the lanes of a realm in force now; ``committed`` is told of every batch that became visible.
    """

    engine: Engine
    spool: Spool
    clock: Clock
    rng: random.Random
    client: Client
    oauth: OAuth | None
    quarantine: Callable[[], Journal]
    leagues: Callable[[str], tuple[str, ...]]
    committed: Callable[[Committed], None]

    async def strand(self, kind: str, realm: Realm, config: Config) -> Strand:
        """A source that goes on where its stream, or else its last commit, stands. StoreUnavailable."""
        name = f"{kind}-{realm.name}"
        stream = self.spool.stream(name)
        checkpoint = await last_checkpoint(self.engine, name)
        if checkpoint:
            stream.fall_back(*checkpoint)
        landing_type = RiverLanding if kind == RIVER else ExchangeLanding
        landing: Landing = landing_type(name, realm.name, self.leagues, config.upstream.decoded_bytes_max)
        rules = rules_of(config)
        writer = Writer(stream, landing, self.engine, rules=rules, clock=self.clock, on_commit=self.committed)
        shared = {
            "settings": settings_of(kind, realm, config),
            "stream": stream,
            "journal": self.quarantine(),
            "clock": self.clock,
            "rng": self.rng,
            "on_freeze": writer.frozen,
        }
        if kind == RIVER:
            return Strand(self._river(realm, config, shared), writer)
        return Strand(await self._exchange(realm, config, checkpoint, shared), writer)

    def _river(self, realm: Realm, config: Config, shared: dict[str, Any]) -> RiverSource:
        if self.oauth is None:
            raise RuntimeError("a river without credentials")
        url = partial(river_url, config.upstream.api_url, config.upstream.stash_api_path, realm.name)
        return RiverSource(realm.name, url=url, start=realm.river_from, oauth=self.oauth, **shared)

    async def _exchange(
        self, realm: Realm, config: Config, checkpoint: tuple[int, str] | None, shared: dict[str, Any]
    ) -> ExchangeSource:
        end_s = int(checkpoint[1]) if checkpoint else None
        return ExchangeSource(
            realm.name,
            exchange_url=config.upstream.exchange_url,
            start_hour=parse_from(realm.exchange_from, self.clock.now()),
            newest_end_s=end_s,
            newest_hours={} if end_s is None else await self._newest_hours(realm.name, end_s),
            client=self.client,
            **shared,
        )

    async def _newest_hours(self, realm: str, end_s: int) -> dict[str, int]:
        """The newest hour stored of each league that had one in the week before ``end_s``, for ``/status``."""
        params = {"realm": realm, "since": max(0, end_s - SEEN_S), "limit": LANES_MAX}
        try:
            return dict(await self.engine.rows(load_queries()["exchange_newest_hours"], params))
        except StoreUnavailable as error:
            emit(Noted(f"{EXCHANGE}-{realm}", note=f"how far each league came is not known: {error.message}"))
            return {}


def has_credentials(config: Config) -> bool:
    """Whether upstream can be asked for what needs a token."""
    return bool(config.upstream.client_id and config.upstream.client_secret)


def oauth_of(config: Config, client: Client, clock: Clock) -> OAuth | None:
    """What asks with a token; None without credentials."""
    if not has_credentials(config):
        return None
    upstream = config.upstream
    credentials = Credentials(
        token_url=f"{upstream.auth_url.rstrip('/')}/token",
        client_id=upstream.client_id,
        client_secret=upstream.client_secret,
        scope=upstream.oauth_scope,
        grant_type=upstream.oauth_grant_type,
    )
    return OAuth(client, credentials, clock=clock, path=config.daemon.data_dir / TOKEN_FILE)


def wanted(config: Config) -> dict[str, tuple[str, Realm]]:
    """The sources ``config`` asks for and can have: name → kind and realm."""
    exchanges = {f"{EXCHANGE}-{realm.name}": (EXCHANGE, realm) for realm in config.realms if realm.exchange}
    rivers = {f"{RIVER}-{realm.name}": (RIVER, realm) for realm in config.realms if realm.river}
    return exchanges | rivers if has_credentials(config) else exchanges


def rules_of(config: Config) -> SealRules:
    """When batches are sealed."""
    return SealRules(config.spool.batch_pages_max, config.spool.batch_bytes_max, config.spool.seal_after_s)


def settings_of(kind: str, realm: Realm, config: Config) -> Settings:
    """What a source of ``kind`` may be told anew while it runs."""
    upstream = config.upstream
    return Settings(
        leagues=realm.leagues,
        poll_s=upstream.river_poll_s if kind == RIVER else upstream.late_poll_s,
        maintenance_poll_s=upstream.maintenance_poll_s,
        decoded_bytes_max=upstream.decoded_bytes_max,
        stalled_after_s=config.freshness.stalled_after_s,
    )
