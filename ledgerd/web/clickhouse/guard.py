"""Who may ask at ``/sql``: no page of another site, no name that is not ours, nobody without the token."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Collection
from ipaddress import IPv6Address, ip_address

from aiohttp import web

from ledgerd.config import Sql
from ledgerd.web.clickhouse.errors import ACCESS_DENIED, AUTHENTICATION_FAILED, refusal

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_][a-z0-9._-]*)(:\d{1,5})?")
_FOREIGN = {"cross-site", "same-site"}
"""What a browser writes into Sec-Fetch-Site when a page of another origin makes it ask."""


def check_origin(request: web.BaseRequest, hosts: Collection[str]) -> None:
    """QueryRefused unless the request names this machine, and no page from elsewhere made it.

    A page may give its own name our address (DNS rebinding) and then read the answers; but it cannot hide that name:
    so ``Host`` must be an address, localhost or one of ``hosts``.
    """
    given = [value.lower() for value in request.headers.getall("Host", [])]
    found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    if not found or not (_is_address(found[1]) or found[1] == "localhost" or found[1] in hosts):
        raise refusal(ACCESS_DENIED, "The Host header names no address of this machine; see [sql] hosts.")
    origins = [origin.lower() for origin in request.headers.getall("Origin", [])]
    if any(origin.partition("://")[2] != given[0] for origin in origins):
        raise refusal(ACCESS_DENIED, "Pages of other origins may not ask here.")
    if request.headers.get("Sec-Fetch-Site", "").lower() in _FOREIGN:
        raise refusal(ACCESS_DENIED, "Pages of other sites may not ask here.")


def check_token(request: web.BaseRequest, rules: Sql) -> None:
    """QueryRefused unless the request shows the token of ``rules``, or there is none and it comes from this machine."""
    if "password" in request.query:
        raise refusal(
            AUTHENTICATION_FAILED,
            "A password in an address ends in logs: send it as X-ClickHouse-Key, or as Basic or Bearer authorization.",
        )
    token = rules.token.reveal()
    if not token:
        if not _is_loopback(request.remote or ""):
            raise refusal(AUTHENTICATION_FAILED, "Without [sql] token_file only this machine itself may ask.")
        return
    if not hmac.compare_digest(_digest(_shown(request)), _digest(token)):
        raise refusal(
            AUTHENTICATION_FAILED,
            "The token is missing or wrong: send it as the password, as X-ClickHouse-Key, or as Authorization: Bearer.",
        )


def _shown(request: web.BaseRequest) -> str:
    """What the request shows as its token; empty if nothing."""
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return ""
    return request.headers.get("X-ClickHouse-Key", "")


def _digest(text: str) -> bytes:
    """Of one length whatever ``text`` is, so that the time of comparing tells nothing."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_loopback(remote: str) -> bool:
    try:
        address = ip_address(remote.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
