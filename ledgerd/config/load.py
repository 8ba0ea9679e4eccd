"""From a file, the environment and secrets to one checked configuration, or to every reason why not."""

import os
import re
import stat
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ledgerd.config import ClickHouse, Config, Daemon, Realm, Secret, is_loopback, parse_from
from ledgerd.config.draft import Draft, Loc
from ledgerd.config.env import apply_environment
from ledgerd.errors import ConfigError

DEFAULT_PATHS = (Path("config.toml"), Path("/etc/ledgerd/config.toml"))
FILE_BYTES_MAX = 1 << 20
SECRET_BYTES_MAX = 1 << 14
SOCKET_BYTES_MAX = 107  # Linux: sun_path, less its closing zero
SYSTEM_DATA_DIR = Path("/var/lib/ledgerd")
CONTACT_EXAMPLE = "you@your.domain"
SECRETS: dict[Loc, str] = {
    ("upstream", "client_secret"): "client_secret",
    ("clickhouse", "password"): "clickhouse_password",
    ("throttle", "api_key"): "throttler_api_key",
    ("sql", "token"): "sql_token",
}
"""Secret → its name among systemd's credentials; a ``…_file`` key of the same table, where there is one, goes first."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that holds together, the file it came from, and what is legal in it but worth a look."""

    config: Config
    path: Path
    notes: list[str]


def load(path: Path | None, env: Mapping[str, str], *, harvesting: bool = True) -> Loaded:
    """Read ``path``, or the first default that exists, override it by ``env``, and check all of it.

    ``harvesting``: whether the caller may ask upstream; a command that does not (``status``, ``sql``) needs no
    contact. Raises ConfigError whose message has one line for each problem.
    """
    draft = Draft(*_read(path or default_path()))
    apply_environment(draft, env)
    _place(draft, env)
    _take_secrets(draft, env)
    config = draft.config()
    _contradict(draft, config, harvesting)
    if draft.problems:
        raise _error(draft)
    return Loaded(config, draft.path, draft.notes + list(remarks(config)))


def default_path() -> Path:
    """The first of `DEFAULT_PATHS` that exists; ConfigError if none does."""
    for path in DEFAULT_PATHS:
        if path.exists():
            return path
    raise ConfigError(
        f"no configuration: neither {DEFAULT_PATHS[0]} here nor {DEFAULT_PATHS[1]} exists.",
        "Name one, as in: ledgerd run --config PATH (or try without any: ledgerd demo)",
    )


def _error(draft: Draft) -> ConfigError:
    """All problems in one error; the hint starts a line of its own."""
    return ConfigError("\n".join(draft.problems), f"\nCorrect it, then: ledgerd check-config --config {draft.path}")


def _read(path: Path) -> tuple[Path, dict[str, Any]]:
    """``path`` and its tables, with TOML's own times as text. Raises ConfigError if it cannot be read as TOML."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}.", "Name another: ledgerd check-config --config PATH"
        ) from error
    if len(raw) > FILE_BYTES_MAX:
        raise _error(Draft(path, {}, [f"{path}: is larger than {FILE_BYTES_MAX} bytes"]))
    try:
        return path, {key: _plain(value) for key, value in tomllib.loads(raw.decode("utf-8-sig")).items()}
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _error(Draft(path, {}, [f"{path}: line {line}: is not UTF-8"])) from error
    except ValueError as error:
        raise _error(Draft(path, {}, [f"{path}: {_placed_first(str(error))}"])) from error
    except RecursionError as error:
        raise _error(Draft(path, {}, [f"{path}: is nested too deep"])) from error


def _placed_first(message: str) -> str:
    """A message of the TOML reader with the place in front: ``line 3, column 5: expected …``."""
    found = re.fullmatch(r"(.*) \(at (.*)\)", message, re.DOTALL)
    return f"{found[2]}: {found[1]}" if found else message


def _plain(value: object) -> object:
    """``value`` with date-times as RFC 3339 text, wherever they stand."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _place(draft: Draft, env: Mapping[str, str]) -> None:
    """Make paths absolute: the file's start at its folder, a variable's at the working directory."""
    folder = draft.path.parent.absolute()
    daemon = draft.table("daemon")
    default = str(Daemon.model_fields["data_dir"].default)
    if daemon.get("data_dir", "") in ("", default):
        state_dir = env.get("STATE_DIRECTORY", "").partition(":")[0]
        system = SYSTEM_DATA_DIR if draft.path.resolve().is_relative_to("/etc") else folder / default
        daemon["data_dir"] = str(Path(state_dir) if state_dir else system)
    for loc in (
        ("daemon", "data_dir"),
        ("spool", "dir"),
        ("upstream", "client_secret_file"),
        ("clickhouse", "password_file"),
        ("throttle", "api_key_file"),
        ("sql", "token_file"),
    ):
        given = draft.table(loc[0]).get(loc[1])
        if isinstance(given, str) and given:
            start = Path.cwd() if loc in draft.origins else folder
            draft.table(loc[0])[loc[1]] = str(start / given)


def _take_secrets(draft: Draft, env: Mapping[str, str]) -> None:
    """Fill in each secret: a variable's stays, else its file's, else systemd's credential."""
    credentials = env.get("CREDENTIALS_DIRECTORY", "")
    for (table, key), credential in SECRETS.items():
        named = draft.table(str(table)).get(f"{key}_file", "")
        if key in draft.table(str(table)):
            continue
        if isinstance(named, str) and named:
            _take_secret(draft, (table, key), (table, f"{key}_file"), Path(named))
        elif credentials and (path := Path(credentials, credential)).exists():
            _take_secret(draft, (table, key), None, path)


def _take_secret(draft: Draft, loc: Loc, named_by: Loc | None, path: Path) -> None:
    """Read the secret at ``loc`` from ``path``, which the key ``named_by`` named (None: systemd)."""
    try:
        with path.open("rb") as file:
            raw = file.read(SECRET_BYTES_MAX + 1)
            open_to_all = bool(os.fstat(file.fileno()).st_mode & stat.S_IROTH)
        draft.table(str(loc[0]))[str(loc[1])] = _secret(raw)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if named_by:
            draft.problem(named_by, draft.value(named_by), f"the file it names cannot be used: {reason}")
        else:
            draft.problems.append(f"systemd credential {path.name}: cannot be used: {reason}")
    else:
        if open_to_all:
            draft.notes.append(f"{draft.label(named_by or loc)}: everybody may read it; chmod 600 {path}")


def _secret(raw: bytes) -> Secret:
    """The one line a secret file holds. Raises ValueError, without any of it in the message."""
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError:
        text = "\0"
    if not text.isprintable() or not text or len(raw) > SECRET_BYTES_MAX:
        raise ValueError("it must hold one line of text")
    return Secret(text)


def _contradict(draft: Draft, config: Config, harvesting: bool) -> None:
    """Add what does not fit together; a key that already has a problem is left alone."""
    for loc, value, rule in contradictions(config, harvesting):
        if not draft.wrong & {str(loc[0]), draft.label(loc)}:
            draft.problem(loc, value, rule)


def contradictions(config: Config, harvesting: bool) -> Iterator[tuple[Loc, object, str]]:
    """Values that are right alone and impossible together: where, the value, and the rule."""
    upstream, spool, roles = config.upstream, config.spool, config.roles
    yield from _contradictory_store(config.clickhouse)
    if upstream.body_bytes_max > upstream.decoded_bytes_max:
        yield ("upstream", "body_bytes_max"), upstream.body_bytes_max, "must not be larger than decoded_bytes_max"
    if spool.batch_bytes_max > spool.bytes_max:
        yield ("spool", "batch_bytes_max"), spool.batch_bytes_max, "must not be larger than bytes_max"
    if not (roles.harvest or roles.etl or roles.api):
        yield ("roles", "api"), roles.api, "must be true when harvest and etl are false, or there is nothing to do"
    if config.sql.enabled:
        yield from _contradictory_sql(config)
    if harvesting and roles.harvest:
        yield from _nameless(config)
    for i, realm in enumerate(config.realms):
        if realm.name in (other.name for other in config.realms[:i]):
            yield ("realm", realm.name, "name"), realm.name, "must stand once; write its settings into one [[realm]]"
        if realm.river and realm.name == "poe2":
            yield ("realm", "poe2", "river"), True, "must be false: public stashes exist for pc, xbox and sony only"


def _contradictory_store(store: ClickHouse) -> Iterator[tuple[Loc, object, str]]:
    """What of ``[clickhouse]`` goes with one engine only."""
    if store.engine == "server" and not store.url:
        yield ("clickhouse", "url"), "", 'must be given when engine = "server", like "clickhouse://127.0.0.1:9000"'
    if store.engine == "embedded" and store.cluster:
        yield ("clickhouse", "cluster"), store.cluster, 'must be empty unless engine = "server"'
    if store.engine == "embedded" and store.database == "default":
        yield ("clickhouse", "database"), "default", "must not be the embedded engine's own, which opens files by name"


def _contradictory_sql(config: Config) -> Iterator[tuple[Loc, object, str]]:
    """Whether strangers could ask, and whether one query could ask for more than there is."""
    sql, memory_bytes_max = config.sql, config.clickhouse.memory_bytes_max
    if not (sql.token or is_loopback(f"http://{config.http.listen}")):
        rule = (
            f"must have a token while http.listen = {config.http.listen} lets other machines ask; "
            'put one into a file and write under [sql]: token_file = "sql-token"'
        )
        yield ("sql", "enabled"), True, rule
    if sql.memory_bytes_max > memory_bytes_max:
        rule = f"must not be larger than clickhouse.memory_bytes_max, {memory_bytes_max}"
        yield ("sql", "memory_bytes_max"), sql.memory_bytes_max, rule


def _nameless(config: Config) -> Iterator[tuple[Loc, object, str]]:
    """Whether a live upstream would be asked without a way to reach the person who asks."""
    upstream = config.upstream
    if all(is_loopback(url) for url in (upstream.api_url, upstream.exchange_url, upstream.auth_url)):
        return
    example = "must be your own: this is the example of the manual"
    if CONTACT_EXAMPLE in upstream.user_agent:
        yield ("upstream", "user_agent"), upstream.user_agent, example
    elif CONTACT_EXAMPLE in config.daemon.contact and not upstream.user_agent:
        yield ("daemon", "contact"), config.daemon.contact, example
    elif upstream.user_agent and "contact:" not in upstream.user_agent:
        rule = 'must name a contact, like "OAuth ledgerd/1 (contact: you@your.domain)", or be empty'
        yield ("upstream", "user_agent"), upstream.user_agent, rule
    elif not (upstream.user_agent or config.daemon.contact):
        rule = (
            'must be your mail address or a URL, which GGG asks for; under [daemon] write: contact = "you@your.domain"'
        )
        yield ("daemon", "contact"), "", rule


def remarks(config: Config) -> Iterator[str]:
    """What is legal and still worth a look."""
    upstream, throttle, store = config.upstream, config.throttle, config.clickhouse
    if throttle.requests_per_s > 1:
        yield f"throttle.requests_per_s = {throttle.requests_per_s}: more than 1 a second invites limits from GGG"
    if throttle.backfill_requests_per_s > throttle.requests_per_s:
        yield "throttle.backfill_requests_per_s is above requests_per_s: the lower one holds"
    if bool(upstream.client_id) != bool(upstream.client_secret):
        yield "upstream.client_id and its secret belong together: without both there are no credentials"
    if store.engine == "embedded" and (store.url or store.user or store.password):
        yield 'clickhouse.url, user and password are ignored: engine is "embedded"'
    yield from _reader_remarks(config)
    if config.spool.bytes_max < upstream.body_bytes_max:
        yield "spool.bytes_max is below upstream.body_bytes_max: the largest page taken would never fit"
    if len(os.fsencode(config.socket_path)) > SOCKET_BYTES_MAX:
        yield f"daemon.data_dir: {config.socket_path} is too long for a unix socket; choose a shorter folder"
    if not config.realms:
        yield "no [[realm]]: nothing will be fetched"
    for realm in config.realms:
        yield from _realm_remarks(realm, bool(upstream.client_id and upstream.client_secret))


def _reader_remarks(config: Config) -> Iterator[str]:
    sql = config.sql.enabled
    if not is_loopback(f"http://{config.http.listen}"):
        yield f"http.listen = {config.http.listen}: other machines can read the ledger{' and ask /sql' if sql else ''}"
    if sql and config.clickhouse.engine == "server":
        yield 'sql.enabled is ignored: clickhouse.engine is "server", so ask that server itself'


def _realm_remarks(realm: Realm, has_credentials: bool) -> Iterator[str]:
    now_s = time.time()
    if realm.exchange and (parse_from(realm.exchange_from, now_s) or 0) > now_s:
        yield f"realm.{realm.name}.exchange_from = {realm.exchange_from} is still to come: nothing is fetched before"
    if realm.river and not has_credentials:
        yield f"realm.{realm.name}.river waits for upstream.client_id and its secret; the exchange needs none"
    if not (realm.river or realm.exchange):
        yield f"realm.{realm.name}: exchange and river are both off, so nothing of it is fetched"
