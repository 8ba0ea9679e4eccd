"""The environment variables, most of older deployments: which key each overrides, how its text becomes a value."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from urllib.parse import unquote, urlsplit

from ledgerd.config import Secret
from ledgerd.config.draft import Draft

VARIABLES: dict[str, str] = {
    "POE_CLICKHOUSE_URL": "clickhouse.url",
    "POE_CLICKHOUSE_DATABASE": "clickhouse.database",
    "POE_CLICKHOUSE_USER": "clickhouse.user",
    "POE_CLICKHOUSE_PASSWORD": "clickhouse.password",
    "CH_HOST": "clickhouse.url",
    "CH_DATABASE": "clickhouse.database",
    "CH_USER": "clickhouse.user",
    "CH_PASSWORD": "clickhouse.password",
    "POE_CURSOR_DIR": "spool.dir",
    "POE_CHECKPOINT_DIR": "spool.dir",
    "POE_API_BASE_URL": "upstream.api_url",
    "POE_AUTH_BASE_URL": "upstream.auth_url",
    "POE_STASH_API_PATH": "upstream.stash_api_path",
    "POE_USER_AGENT": "upstream.user_agent",
    "POE_OAUTH_CLIENT_ID": "upstream.client_id",
    "POE_OAUTH_CLIENT_SECRET": "upstream.client_secret",
    "POE_OAUTH_CLIENT_SECRET_FILE": "upstream.client_secret_file",
    "POE_OAUTH_SCOPE": "upstream.oauth_scope",
    "POE_OAUTH_GRANT_TYPE": "upstream.oauth_grant_type",
    "POE_RATE_LIMIT_REQUESTS_PER_S": "throttle.requests_per_s",
    "POE_RATE_LIMIT_REQUESTS_PER_SECOND": "throttle.requests_per_s",
    "POE_RATE_LIMIT_RPS": "throttle.requests_per_s",
    "POE_RATE_LIMIT_BACKFILL_REQUESTS_PER_S": "throttle.backfill_requests_per_s",
    "POE_RATE_LIMIT_BACKFILL_RPS": "throttle.backfill_requests_per_s",
    "THROTTLER_API_KEY": "throttle.api_key",
    "LEDGERD_SQL_TOKEN": "sql.token",
    "POE_REALMS": "realm.name",
    "POE_LEAGUES": "realm.leagues",
}
"""Variable → dotted key. Where two set one key, the one that stands first here holds."""

NATIVE_PORTS = {8123: 9000, 8443: 9440, None: 9000}


def apply_environment(draft: Draft, env: Mapping[str, str]) -> None:
    """Override ``draft`` with the variables set in ``env``; an empty one counts as not set."""
    given = {name: env[name] for name in VARIABLES if env.get(name)}
    holder: dict[str, str] = {}
    for variable, text in given.items():
        key = VARIABLES[variable]
        if key not in holder:
            _apply(draft, key, variable, text)
        elif given[holder[key]] != text:
            draft.notes.append(f"{variable} is ignored: {holder[key]} sets {key} too")
        holder.setdefault(key, variable)
    draft.notes.extend(_remarks(env))


def _apply(draft: Draft, key: str, variable: str, text: str) -> None:
    table, _, name = key.partition(".")
    if key == "clickhouse.url":
        _point_to_server(draft, variable, text)
    elif key == "realm.name":
        _choose_realms(draft, variable, text)
    elif key == "realm.leagues":
        _set_leagues(draft, variable, text)
    else:
        draft.override((table, name), _value(key, text), variable, text)


def _value(key: str, text: str) -> object:
    """``text`` as ``key`` wants it; left as it is where it cannot be, for the check to find."""
    if key.endswith("requests_per_s"):
        try:
            return float(text)
        except ValueError:
            return text
    if key in ("upstream.client_secret", "clickhouse.password", "throttle.api_key", "sql.token"):
        return Secret(text)
    if key == "upstream.auth_url":
        bare = re.fullmatch(r"https?://[^/]+/?", text)
        return text.rstrip("/") + "/oauth" if bare else text
    return text.strip("/") if key == "upstream.stash_api_path" else text


def _point_to_server(draft: Draft, variable: str, text: str) -> None:
    """Take a server's address in any of the forms older deployments use; user and password may stand in it."""
    scheme, _, rest = text.rpartition("//")
    login, _, address = rest.rpartition("@")
    native = _native(scheme.rstrip(":"), address)
    draft.override(("clickhouse", "url"), native, variable, text)
    table = draft.table("clickhouse")
    if login:
        user, _, password = login.partition(":")
        table |= {"user": unquote(user), "password": Secret(unquote(password))}
    if scheme.startswith("http"):
        draft.notes.append(f"{variable}: ledgerd speaks ClickHouse's native protocol, so {native} is used")
    if table.get("engine") != "server":
        table["engine"] = "server"
        draft.notes.append(f'{variable} is set, so clickhouse.engine is "server"')


def _native(scheme: str, rest: str) -> str:
    """The native address of the server at ``rest`` (host, port, perhaps a slash); as it is if it cannot be read.

    >>> _native("http", "db:8123/"), _native("https", "db"), _native("", "db:9001"), _native("tcp", "[::1]:9000")
    ('clickhouse://db:9000', 'clickhouses://db:9440', 'clickhouse://db:9001', 'clickhouse://[::1]:9000')
    """
    secure = scheme in ("https", "clickhouses")
    try:
        port = urlsplit(f"//{rest}").port
    except ValueError:
        return f"{scheme}://{rest}"
    if scheme not in ("", "http", "https", "tcp", "clickhouse", "clickhouses"):
        return f"{scheme}://{rest}"
    host = re.sub(r":[0-9]+$", "", rest.rstrip("/"))
    return f"clickhouse{'s' * secure}://{host}:{NATIVE_PORTS.get(8443 if secure and port is None else port, port)}"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _choose_realms(draft: Draft, variable: str, text: str) -> None:
    """Exactly the realms named, each with what the file says of it."""
    given = {str(realm.get("name")): realm for realm in draft.realms()}
    draft.tables["realm"] = [given.get(name, {}) | {"name": name} for name in _names(text)]
    places = [place for i, name in enumerate(_names(text)) for place in (i, name)]
    draft.origins |= {("realm", place, "name"): (variable, text) for place in places}


def _set_leagues(draft: Draft, variable: str, text: str) -> None:
    """The leagues named, in every realm."""
    draft.tables["realm"] = [realm | {"leagues": tuple(_names(text))} for realm in draft.realms()]
    draft.origins |= {("realm", i, "leagues"): (variable, text) for i in range(len(draft.tables["realm"]))}


def _remarks(env: Mapping[str, str]) -> list[str]:
    """What to say of variables that look like ours and change nothing."""
    remarks = []
    for name in sorted(env):
        if name == "POE_THROTTLER_URL":
            remarks.append("POE_THROTTLER_URL is ignored: the throttler is built in")
        elif name.startswith("POE_") and name not in VARIABLES:
            near = get_close_matches(name, VARIABLES, n=1)
            remarks.append(f"{name} is ignored: no such variable" + (f"; did you mean {near[0]}?" if near else ""))
    return remarks
