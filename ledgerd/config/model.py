"""What can be configured: every key of ``config.toml`` with its type, default and meaning, and how two differ.

The types and their rules are ``rules``; reading a file, the environment and secrets is ``load``.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from ledgerd import __version__
from ledgerd.config.rules import (
    Bytes,
    ClickHouseUrl,
    ClientId,
    Contact,
    Days,
    File,
    Folder,
    From,
    Hosts,
    Hours,
    Identifier,
    IntervalSeconds,
    Leagues,
    Listen,
    Name,
    Pages,
    Policy,
    Queries,
    Rate,
    RequestSeconds,
    RiverFrom,
    Rows,
    Scope,
    Seconds,
    Secret,
    Token,
    Url,
    UrlPath,
    UserAgent,
    UserName,
    host_port,
)

MIB = 1 << 20
LIVE_KEYS = frozenset(
    {"upstream.timeout_s", "upstream.late_poll_s", "upstream.river_poll_s", "upstream.maintenance_poll_s"}
)
RESTART_KEYS = frozenset({"spool.dir"})
RESTART_SECTIONS = frozenset({"daemon", "http", "clickhouse", "upstream", "etl", "roles"})
Layer = Literal["currency", "items"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
Route = Literal[
    "currency", "currency_one", "convert", "items", "item", "search", "prices", "lookup", "liquidity", "movers",
    "seller", "stash",
]  # fmt: skip
ROUTES: tuple[Route, ...] = get_args(Route)
"""The routes of the Ledger API that may have a freshness of their own."""


class Section(BaseModel):
    """One table of ``config.toml``: immutable, no key but its own, no type but the one asked for."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, populate_by_name=True
    )


class Daemon(Section):
    """The process."""

    environment: Token = Field(default="live", description="Short name of this installation; ends the User-Agent.")
    contact: Contact = Field(
        default="",
        description="Your mail address or a URL. GGG asks it of every application; a live upstream needs it.",
    )
    data_dir: Folder = Field(
        default=Path("var/ledgerd"),
        description="Folder of all ledgerd keeps. Left as it is: `$STATE_DIRECTORY` under systemd, `/var/lib/ledgerd` "
        "for a file under `/etc`, else `var/ledgerd` beside the file.",
    )
    stop_deadline_s: Seconds = Field(default=40.0, description="How long a stop may drain what is in hand.")


class Http(Section):
    """Where `/status`, `/metrics` and the Ledger API are served."""

    listen: Listen = Field(
        default="127.0.0.1:8010", description="host:port; IPv6 in brackets; port 0 takes any free one."
    )

    @property
    def address(self) -> tuple[str, int]:
        """Host, without brackets, and port."""
        host, port = host_port(self.listen) or ("", 0)
        return host, port


class ClickHouse(Section):
    """Where rows live."""

    engine: Literal["embedded", "server"] = Field(
        default="embedded", description="In this process, or a ClickHouse of yours."
    )
    url: ClickHouseUrl = Field(
        default="", description="Server only: `clickhouse://host:9000`; `clickhouses://` is TLS."
    )
    user: UserName = Field(default="", description="Server only: the user; empty is the server's default.")
    password_file: File = Field(default="", description="Server only: file that holds the password.")
    database: Identifier = Field(default="poe_trade", description="The database; made if it is not there.")
    cluster: Name = Field(default="", description="Server only: cluster to create tables on; empty is one server.")
    memory_bytes_max: Bytes = Field(
        default=1_500_000_000, description="Most memory the engine may use; of a server, one query."
    )
    password: Secret = Field(default=Secret(), description="Never in the file.")


class Upstream(Section):
    """GGG's APIs, and how to ask them."""

    api_url: Url = Field(default="https://api.pathofexile.com", description="The API that needs credentials.")
    exchange_url: Url = Field(
        default="https://web.poecdn.com/api/currency-exchange", description="The currency exchange, which needs none."
    )
    auth_url: Url = Field(default="https://www.pathofexile.com/oauth", description="OAuth; `/token` is asked below it.")
    stash_api_path: UrlPath = Field(default="public-stash-tabs", description="The river's path below `api_url`.")
    client_id: ClientId = Field(default="", description="OAuth client id; empty: no credentials, exchange only.")
    client_secret_file: File = Field(default="", description="File that holds the OAuth client secret.")
    oauth_scope: Scope = Field(default="service:psapi", description="OAuth scopes to ask for, a space between two.")
    oauth_grant_type: Literal["client_credentials"] = Field(default="client_credentials", description="OAuth grant.")
    timeout_s: RequestSeconds = Field(default=60.0, description="How long one request may take, body included.")
    body_bytes_max: Bytes = Field(default=32 * MIB, description="Largest body taken, as received.")
    decoded_bytes_max: Bytes = Field(default=32 * MIB, description="Largest body taken, decompressed.")
    late_poll_s: Seconds = Field(default=60.0, description="How often to ask again for an hour that should be there.")
    river_poll_s: Seconds = Field(default=5.0, description="How often to ask again at the end of the river.")
    maintenance_poll_s: Seconds = Field(
        default=30.0, description="How long a source leaves upstream alone after a 503, which means maintenance."
    )
    user_agent: UserAgent = Field(default="", description="Instead of the whole User-Agent; must begin `OAuth `.")
    client_secret: Secret = Field(default=Secret(), description="Never in the file.")


class Throttle(Section):
    """How fast upstream is asked at most; its own limits come on top."""

    requests_per_s: Rate = Field(
        default=1.0, description="Average pace of all requests; more than 1 is taken with a warning."
    )
    backfill_requests_per_s: Rate = Field(
        default=0.8, description="Average pace while catching up; the lower of the two holds."
    )
    api_key_file: File = Field(
        default="",
        description="File that holds the key with which other jobs on this address take their turns at `/v1/throttle`.",
    )
    api_key: Secret = Field(default=Secret(), description="Never in the file.")


class Spool(Section):
    """Where pages wait for the engine."""

    dir: File = Field(default="", description="The folder; empty is `spool` in `daemon.data_dir`.")
    bytes_max: Bytes = Field(
        default=2048 * MIB, description="Room for pages not yet stored; when full, harvesting waits."
    )
    retain_h: Hours = Field(default=24.0, description="How long stored pages are kept for replay.")
    batch_pages_max: Pages = Field(default=8, description="Most pages in one batch.")
    batch_bytes_max: Bytes = Field(default=32 * MIB, description="Most bytes in one batch, as received.")
    seal_after_s: Seconds = Field(
        default=2.0, description="A batch is closed when its first page has waited this long."
    )


class Retention(Section):
    """How long rows are kept; 0 keeps them for ever."""

    bronze_days: Days = Field(default=90, description="Days of rows as they came; 0 keeps them for ever.")
    river_days: Days = Field(default=7, description="Days of public stashes as they came, of which a day is gigabytes.")
    silver_days: Days = Field(default=400, description="Days of refined rows; 0 keeps them for ever.")
    gold_days: Days = Field(default=0, description="Days of prices; 0 keeps them for ever.")


class Etl(Section):
    """How what was stored is refined."""

    interval_s: IntervalSeconds = Field(
        default=180.0, description="Data time between two rounds of gold of public stashes; shorter costs more CPU."
    )


@dataclass(frozen=True, slots=True)
class Limit:
    """How old an answer may be, in seconds, and what becomes of one that is older."""

    max_age_s: float
    policy: Policy


class RouteFreshness(Section):
    """What holds for one route instead; what is left out is as in `[freshness]`."""

    currency_max_age_s: Seconds | None = Field(default=None, description="Age from which currency prices are stale.")
    items_max_age_s: Seconds | None = Field(default=None, description="Age from which item prices are stale.")
    policy: Policy | None = Field(default=None, description="Stale prices: served marked stale, or 503.")


class Freshness(Section):
    """When an answer is too old."""

    currency_max_age_s: Seconds = Field(default=3900.0, description="Age from which currency prices are stale.")
    items_max_age_s: Seconds = Field(
        default=600.0,
        description="Age from which prices and stashes of the river are stale; upstream's own five minutes are in it.",
    )
    policy: Policy = Field(default="serve", description="Stale prices: served marked stale, or 503.")
    stalled_after_s: Seconds = Field(default=7200.0, description="A source without progress for longer is `stalled`.")
    route: dict[Route, RouteFreshness] = Field(
        default={}, description='For one route, as in `convert = { currency_max_age_s = 1800, policy = "refuse" }`.'
    )

    def limit(self, layer: Layer, route: Route) -> Limit:
        """What holds for an answer of ``route`` that rests on prices of ``layer``.

        >>> freshness = Freshness(route={"convert": RouteFreshness(policy="refuse")})
        >>> freshness.limit("items", "convert"), freshness.limit("currency", "movers")
        (Limit(max_age_s=600.0, policy='refuse'), Limit(max_age_s=3900.0, policy='serve'))
        """
        return self._limits[layer, route]

    @cached_property
    def _limits(self) -> dict[tuple[Layer, Route], Limit]:
        """Every limit, worked out once: each look-up asks for one."""
        return {(layer, route): self._limit(layer, route) for layer in LAYERS for route in ROUTES}

    def _limit(self, layer: Layer, route: Route) -> Limit:
        own = self.route.get(route, RouteFreshness())
        if layer == "currency":
            max_age_s = own.currency_max_age_s or self.currency_max_age_s
        else:
            max_age_s = own.items_max_age_s or self.items_max_age_s
        return Limit(max_age_s, own.policy or self.policy)

    def serving(self) -> "Freshness":
        """The same ages, and no route refuses."""
        route = {name: own.model_copy(update={"policy": "serve"}) for name, own in self.route.items()}
        return Freshness.model_validate({**dict(self), "policy": "serve", "route": route})


class Sql(Section):
    """SQL over HTTP for tools, at `/sql`; reads only, of the embedded engine."""

    enabled: bool = Field(default=False, description="Answer at `/sql`.")
    token_file: File = Field(
        default="", description="File that holds the token a client must show; needed unless `http.listen` is loopback."
    )
    hosts: Hosts = Field(
        default=(), description="Names a client may use for this machine, besides its addresses and localhost."
    )
    rows_max: Rows = Field(default=1_000_000, description="Most rows of one answer.")
    bytes_max: Bytes = Field(default=64 * MIB, description="Most bytes of one answer.")
    timeout_s: RequestSeconds = Field(default=30.0, description="How long one query may take.")
    memory_bytes_max: Bytes = Field(default=500_000_000, description="Most memory one query may use.")
    queries_max: Queries = Field(default=2, description="Most queries at a time; more are told to come again.")
    token: Secret = Field(default=Secret(), description="Never in the file.")


class Log(Section):
    """What is logged, and in which shape."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least important line written."
    )
    format: Literal["auto", "text", "json"] = Field(default="auto", description="auto: text on a terminal, else json.")


class Roles(Section):
    """What this process does; several may share one server."""

    harvest: bool = Field(default=True, description="Ask upstream and store what comes.")
    etl: bool = Field(default=True, description="Refine what was stored.")
    api: bool = Field(default=True, description="Serve the Ledger API.")


class Realm(Section):
    """One game realm; stands as often as there are realms."""

    name: Literal["pc", "xbox", "sony", "poe2"] = Field(description="The realm; each at most once.")
    leagues: Leagues = Field(
        default=("*",), description='Leagues kept; "*" is all public ones, private ones only by name.'
    )
    exchange: bool = Field(default=True, description="Follow the currency exchange.")
    exchange_from: From = Field(default="-72h", description='First hour: a time, "-24h", "-30d" or "oldest".')
    river: bool = Field(default=False, description="Follow public stashes; needs credentials, not for poe2.")
    river_from: RiverFrom = Field(default="head", description='First page: "head", "oldest" or a change id.')


class Config(Section):
    """The whole configuration. Fields are the tables of ``config.toml``; ``realms`` is written ``[[realm]]``."""

    daemon: Daemon = Daemon()
    http: Http = Http()
    clickhouse: ClickHouse = ClickHouse()
    upstream: Upstream = Upstream()
    throttle: Throttle = Throttle()
    spool: Spool = Spool()
    retention: Retention = Retention()
    etl: Etl = Etl()
    freshness: Freshness = Freshness()
    sql: Sql = Sql()
    log: Log = Log()
    roles: Roles = Roles()
    realms: Annotated[tuple[Realm, ...], Field(strict=False)] = Field(
        default=(Realm(name="pc"), Realm(name="poe2")), validation_alias="realm"
    )

    @property
    def spool_dir(self) -> Path:
        """The folder where pages wait."""
        return Path(self.spool.dir) if self.spool.dir else self.daemon.data_dir / "spool"

    @property
    def socket_path(self) -> Path:
        """The unix socket through which commands reach the daemon."""
        return self.daemon.data_dir / "ledgerd.sock"

    @property
    def move_marker(self) -> Path:
        """The file that is there while a move to the server has begun and not ended."""
        return self.daemon.data_dir / "move-unfinished"

    @property
    def db_dir(self) -> Path:
        """The folder of the embedded engine."""
        return self.daemon.data_dir / "clickhouse"


def user_agent(config: Config) -> str:
    """The User-Agent GGG asks for, or the one configured instead.

    >>> user_agent(Config(daemon=Daemon(contact="me@example.org"))).replace(__version__, "V")
    'OAuth ledgerd/V (contact: me@example.org) PoETrade/live'
    """
    client = config.upstream.client_id or "ledgerd"
    contact, environment = config.daemon.contact, config.daemon.environment
    return config.upstream.user_agent or f"OAuth {client}/{__version__} (contact: {contact}) PoETrade/{environment}"


def dotted(config: Config) -> dict[str, object]:
    """Every value by its dotted key; a realm's keys stand under its name, as ``realm.pc.leagues``."""
    tables = {name: getattr(config, name) for name in Config.model_fields if name != "realms"}
    tables |= {f"realm.{realm.name}": realm for realm in config.realms}
    return {f"{table}.{key}": value for table, section in tables.items() for key, value in section}


def changes(old: Config, new: Config) -> list[str]:
    """The dotted keys whose values differ, sorted; a realm come or gone is named once, as ``realm.xbox``."""
    before, after = dotted(old), dotted(new)
    moved = {realm.name for realm in old.realms} ^ {realm.name for realm in new.realms}
    differing = (key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return sorted({key.rpartition(".")[0] if key.split(".")[1] in moved else key for key in differing})


def needs_restart(key: str) -> bool:
    """True if a running daemon cannot take another value for the dotted ``key``."""
    return key in RESTART_KEYS or (key.partition(".")[0] in RESTART_SECTIONS and key not in LIVE_KEYS)


def restart_needed(old: Config, new: Config) -> list[str]:
    """The dotted keys that differ and cannot change while the daemon runs, sorted."""
    return [key for key in changes(old, new) if needs_restart(key)]
