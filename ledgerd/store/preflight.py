"""What a server must be before anything is fetched for it; each failure is one sentence with what to change.

Before the migrations: reachable, let in, new enough, in UTC, and taking every setting of an insert. After them: every
right we use, tried on a table of our own, tokens that work, and a window of tokens on every table.
"""

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from ledgerd.errors import CannotStart, LedgerdError, QueryRefused, StoreUnavailable
from ledgerd.store.engine import INSERT_SETTINGS, Engine
from ledgerd.store.sqltext import quoted

OLDEST = (24, 8)
"""Tokens pass through materialized views since 24.7 (ClickHouse pull request 61601): before it, a batch that is sent
again doubles or loses rows behind a landing table. 24.8 is the first long-term release with it."""
WINDOW_MIN = 100
"""Inserts a table must remember: more than one batch touches in partitions, and than others write meanwhile."""
WINDOW = 1000
"""What the migrations ask for."""

UTC = "session_timezone = 'UTC'"

_LETS_NOBODY_IN = {192, 193, 194, 195, 516}
_NO_DATABASE = 81
_MAY_NOT = 497
SHUT_OUT = frozenset({*_LETS_NOBODY_IN, _NO_DATABASE, _MAY_NOT})
"""Numbers of what a person did to the server, or to our user, and may undo while we wait."""
_GRANT = re.compile(r"the grant ([A-Z][A-Z ,]*?)(?:\([^)]*\))? ON (\S*[^\s.])")
_TABLES = """
    SELECT concat(database, '.', name), engine, engine_full
    FROM system.tables
    WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND NOT startsWith(name, '.')
    ORDER BY name
"""
_DEFAULTS = "SELECT name, value FROM system.merge_tree_settings WHERE name LIKE '%replicated_deduplication_window'"
_TRIAL = (
    "CREATE TABLE {name} (n UInt8, at DateTime('UTC')) ENGINE = MergeTree ORDER BY n "
    "SETTINGS non_replicated_deduplication_window = 10",
    "CREATE TABLE {name}_landing (n UInt8, at DateTime('UTC')) ENGINE = Null",
    "CREATE MATERIALIZED VIEW {name}_view TO {name} AS SELECT n, at FROM {name}_landing",
)
_TRIAL_REST = (
    "ALTER TABLE {name} MODIFY TTL at + INTERVAL 400 DAY",
    "OPTIMIZE TABLE {name} FINAL",
    "ALTER TABLE {name} DROP PARTITION ID 'all'",
    "TRUNCATE TABLE {name}",
)
_TRIAL_TABLES = ("{name}_view", "{name}_landing", "{name}")


@asynccontextmanager
async def telling(user: str, database: str) -> AsyncIterator[None]:
    """Whatever the server, or the way to it, has against us becomes a CannotStart."""
    try:
        yield
    except StoreUnavailable as error:
        hint = "Start ClickHouse, or correct clickhouse.url; then: ledgerd check-config"
        raise CannotStart(error.message, error.hint if error.code in SHUT_OUT else hint) from error
    except QueryRefused as error:
        raise CannotStart(f"ClickHouse cannot be used: {error.message}", "Type: ledgerd check-config") from error


def shut_out(error: StoreUnavailable | QueryRefused, user: str, database: str) -> StoreUnavailable:
    """What to tell, and whom, of an ``error`` whose code is one of SHUT_OUT."""
    if error.code in _LETS_NOBODY_IN:
        told = StoreUnavailable(
            f"ClickHouse does not let user {user} in.",
            "Correct clickhouse.user or the file that clickhouse.password_file names, then: ledgerd check-config",
        )
    elif error.code == _NO_DATABASE:
        told = StoreUnavailable(f"ClickHouse has no database {database}.", "Restore it, or: systemctl restart ledgerd")
    else:
        wanted = _GRANT.search(error.message)
        right, where = wanted.groups() if wanted else ("ALL", "")
        where = where if where == "*.*" or where.startswith("system.") else f"{database}.*"
        told = StoreUnavailable(
            f"User {user} lacks the right {right} in database {database}.",
            f"As an administrator of ClickHouse, type: GRANT {right} ON {where} TO {_named(user)}",
        )
    told.code = error.code
    return told


def _named(user: str) -> str:
    """``user`` as a statement of SQL names him."""
    return user if user.isidentifier() else quoted(user)


def check_version(version: str) -> None:
    """CannotStart if ``version``, like 24.8.14, is older than OLDEST.

    >>> check_version("24.8.14")
    """
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise CannotStart(
            f"ClickHouse {version} is too old: before {oldest}, an insert sent twice can double or lose rows in views.",
            f"Install ClickHouse {oldest} or newer; see which one runs with: clickhouse-server --version",
        )


async def check_settings(engine: Engine, user: str) -> None:
    """CannotStart unless queries run in UTC and inserts get the settings they name."""
    try:
        zone = (await engine.rows("SELECT timezone()"))[0][0]
        found = await engine.rows(
            "SELECT name, value FROM system.settings WHERE has({names:Array(String)}, name)",
            {"names": list(INSERT_SETTINGS)},
            settings=INSERT_SETTINGS,
        )
    except QueryRefused as error:
        raise CannotStart(
            f"User {user} may not set what a query needs: {error.message}",
            f"As an administrator of ClickHouse, lift that constraint; see it with: SHOW CREATE USER {_named(user)}",
        ) from error
    if zone != "UTC":
        raise CannotStart(
            f"Queries run in the time zone {zone} although they ask for UTC.",
            f"As an administrator of ClickHouse, type: {_profile(user, UTC)}",
        )
    values: dict[str, str] = dict(found)
    for name, wanted in INSERT_SETTINGS.items():
        if values.get(name) != str(wanted):
            raise CannotStart(
                f"The setting {name} of an insert is {values.get(name, 'unknown')}, not {wanted} as asked.",
                f"As an administrator of ClickHouse, type: {_profile(user, f'{name} = {wanted}')}",
            )


def _profile(user: str, setting: str) -> str:
    """What gives a user a setting and takes nothing from him."""
    return f"CREATE SETTINGS PROFILE ledgerd_{secrets.token_hex(2)} SETTINGS {setting} WRITABLE TO {_named(user)}"


async def check_store(engine: Engine) -> None:
    """CannotStart unless the migrated database can be worked with: its rights, its tokens, its windows.

    Writes a few rows to tables of its own, named ``ledgerd_trial_…``, and drops them.
    """
    [(user, database)] = await engine.rows("SELECT currentUser(), currentDatabase()")
    async with telling(user, database):
        await _try_rights(engine)
        defaults: dict[str, str] = dict(await engine.rows(_DEFAULTS))
        for table, kind, engine_full in await engine.rows(_TABLES):
            setting = f"{'' if kind.startswith('Replicated') else 'non_'}replicated_deduplication_window"
            own = re.search(rf"[ ,]{setting} = (\d+)", engine_full)
            if "Replacing" in kind and (own is None or own[1] == "0"):
                continue  # made without a window: of a row that comes twice, one stays
            window = int(own[1] if own else defaults[setting])
            if window < WINDOW_MIN:
                raise CannotStart(
                    f"Table {table} remembers {window} inserts ({setting}): one sent again could double its rows.",
                    f"In ClickHouse, type: ALTER TABLE {table} MODIFY SETTING {setting} = {WINDOW}",
                )


async def _try_rights(engine: Engine) -> None:
    name = f"ledgerd_trial_{secrets.token_hex(4)}"
    try:
        for statement in _TRIAL:
            await engine.execute(statement.format(name=name))
        for _ in range(2):
            await engine.insert(f"{name}_landing", ["n", "at"], [(1, 0)], token=name)
        [(stored,)] = await engine.rows(f"SELECT count() FROM {name}")  # noqa: S608 -- a name of ours
        for statement in _TRIAL_REST:
            await engine.execute(statement.format(name=name))
        for table in _TRIAL_TABLES:
            await engine.execute(f"DROP TABLE {table.format(name=name)}")
    finally:
        for table in _TRIAL_TABLES:
            with suppress(LedgerdError):
                await engine.execute(f"DROP TABLE IF EXISTS {table.format(name=name)}")
    if stored != 1:
        raise CannotStart(
            "An insert that was sent again with its token was stored again behind a view.",
            "See whether a profile of the server stops insert_deduplicate, then: ledgerd check-config",
        )
