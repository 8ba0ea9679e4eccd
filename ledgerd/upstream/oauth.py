"""OAuth: asks what needs a token with a token granted once, kept in a file, renewed when upstream calls it dead."""

import asyncio
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from ledgerd.clock import Clock
from ledgerd.config import Secret
from ledgerd.errors import UpstreamRefused, UpstreamUnavailable
from ledgerd.events import Noted, emit
from ledgerd.upstream.body import UnreadableBody, decode
from ledgerd.upstream.budget import HTTP_TOO_MANY
from ledgerd.upstream.client import Answer, Client, OnHeaders, masked
from ledgerd.upstream.files import replace

NAME = "oauth-token"
"""The token endpoint among the sources."""
RENEW_BEFORE_S = 60.0
BODY_BYTES_MAX = 1 << 16
"""Largest answer of the token endpoint, largest 401 and largest file that is read."""
HTTP_OK = 200
HTTP_UNAUTHORIZED = 401
CHECK_CREDENTIALS = (
    "Check upstream.client_id, upstream.client_secret_file and upstream.oauth_scope, then: systemctl restart ledgerd"
)
STRIKE_WAITS_S = (60.0, 300.0)
"""How long the token endpoint is left alone after the first and the second 4xx that names no OAuth error."""
_USABLE = re.compile(r"[A-Za-z0-9._~+/-]{1,4096}=*")
"""What may stand behind ``Bearer`` (RFC 6750, 2.1)."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks for a token, where, and for what; ``scope``: a space between two."""

    token_url: str
    client_id: str
    client_secret: Secret
    scope: str
    grant_type: str


@dataclass(frozen=True, slots=True)
class _Token:
    """A token and the unix second from which another is wanted; inf: not before upstream calls it dead."""

    text: Secret
    renew_at_s: float


class _Unusable(ValueError):
    """A reply or a file that holds no token for us; the text says why and quotes nothing."""


class OAuth:
    """Asks what needs a token, with a token of its own."""

    def __init__(self, client: Client, credentials: Credentials, *, clock: Clock, path: Path) -> None:
        """``path``: the file that carries the token over a restart; one for other credentials is ignored."""
        self._client = client
        self._credentials = credentials
        self._clock = clock
        self._path = path
        self._lock = asyncio.Lock()
        self._token: _Token | None = None
        self._is_read = False
        self._is_unsaved = False
        self._refusal = ""
        self._strikes = 0
        self._trouble = ""
        self._not_before_s = 0.0

    async def get(
        self,
        url: str,
        *,
        source: str,
        realm: str,
        cursor: str,
        backfill: bool = False,
        on_headers: OnHeaders | None = None,
    ) -> Answer:
        """GET ``url`` as ``Client.get`` does, with a token; one upstream calls dead is renewed once, and asked again.

        The second answer is returned whatever it is. ``on_headers`` is told of no 401.
        Raises UpstreamUnavailable as ``Client.get``, or where no token is to be had now; UpstreamRefused where the
        credentials are refused: then, and from then on without asking, since every refusal counts against us.
        """

        def told(status: int, headers: Mapping[str, str]) -> None:
            if on_headers is not None and status != HTTP_UNAUTHORIZED:
                on_headers(status, headers)

        ask = partial(
            self._client.get,
            url,
            source=source,
            realm=realm,
            cursor=cursor,
            backfill=backfill,
            on_headers=told,
        )
        token = await self._good(dead=None)
        answer = await ask(bearer=token.text.reveal())
        if _says_dead(answer):
            token = await self._good(dead=token)
            answer = await ask(bearer=token.text.reveal())
        return answer

    async def _good(self, *, dead: _Token | None) -> _Token:
        """A token that is not ``dead`` and not about to end: from memory, from the file, or granted."""
        async with self._lock:
            if not self._is_read:
                self._is_read = True
                self._token = self._restored()
            if self._token is not None and (self._token == dead or self._token.renew_at_s <= self._clock.now()):
                self._token = None
            if self._token is None:
                self._token = await self._granted()
                self._save(self._token)
            return self._token

    async def _granted(self) -> _Token:
        """A token from upstream. Raises UpstreamRefused for a refusal, UpstreamUnavailable for all else that is none.

        A 4xx that names an OAuth error is one. Any other may be a proxy's, for a moment: the third in a row, minutes
        apart, is one, too.
        """
        if self._refusal:
            raise UpstreamRefused(self._refusal, CHECK_CREDENTIALS)
        if (wait_s := self._not_before_s - self._clock.now()) > 0:
            raise UpstreamUnavailable(f"{self._trouble}; it is asked again in {wait_s:.0f} s", "See: ledgerd status")
        mine = self._credentials
        form: dict[str, str | Secret] = {
            "grant_type": mine.grant_type,
            "client_id": mine.client_id,
            "client_secret": mine.client_secret,
            "scope": mine.scope,
        }
        answer = await self._client.post_form(mine.token_url, form, source=NAME)
        is_named = False
        try:
            reply = _read(decode(answer.body, answer.encoding, BODY_BYTES_MAX))
            if answer.status == HTTP_OK:
                token = _token_of(reply, mine.scope, answer.received_at_s)
                self._strikes = 0
                return token
            said, is_named = _words(reply, mine.client_secret), isinstance(reply.get("error"), str)
        except (UnreadableBody, _Unusable) as error:
            said = str(error)
        what = f"{NAME}: {mine.token_url} answered {answer.status}: {said}"
        if answer.status // 100 == 4 and answer.status != HTTP_TOO_MANY:  # noqa: PLR2004  the class of refusals
            self._strikes += 1
            if is_named or self._strikes > len(STRIKE_WAITS_S):
                self._refusal = what
                raise UpstreamRefused(what, CHECK_CREDENTIALS)
            self._trouble, self._not_before_s = what, self._clock.now() + STRIKE_WAITS_S[self._strikes - 1]
        raise UpstreamUnavailable(what, "It is tried again; see it with: ledgerd status")

    def _restored(self) -> _Token | None:
        """The token an earlier run wrote for these credentials, None without one; a file that is odd is said."""
        try:
            with self._path.open("rb") as file:
                kept = _read(file.read(BODY_BYTES_MAX))
            if any(kept.get(name) != value for name, value in self._owner().items()):
                return None
            return _Token(_text_of(kept), _moment(kept.get("renew_at_s")))
        except FileNotFoundError:
            return None
        except (OSError, _Unusable) as error:
            emit(Noted(NAME, note=f"{self._path.name} is ignored, a token is asked for anew: {error}"))
            return None

    def _save(self, token: _Token) -> None:
        """Write ``token`` for the next run; a disk that takes none is said once, and the token is kept in memory."""
        renew_at_s = None if math.isinf(token.renew_at_s) else token.renew_at_s
        kept = {**self._owner(), "access_token": token.text.reveal(), "renew_at_s": renew_at_s}
        try:
            replace(self._path, orjson.dumps(kept))
        except OSError as error:
            if not self._is_unsaved:
                emit(Noted(NAME, note=f"{self._path.name} cannot be written, a restart asks for a token: {error}"))
            self._is_unsaved = True
        else:
            self._is_unsaved = False

    def _owner(self) -> dict[str, str]:
        """For whom a token is."""
        mine = self._credentials
        return {"token_url": mine.token_url, "client_id": mine.client_id, "scope": mine.scope}


def _read(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``, a BOM before it or not. Raises _Unusable."""
    try:
        value = orjson.loads(body.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        raise _Unusable("it is not JSON") from None  # the error holds all of the text, secrets too
    if not isinstance(value, dict):
        raise _Unusable("it is not a JSON object")
    return value


def _token_of(reply: Mapping[str, Any], scope: str, now_s: float) -> _Token:
    """The token in a reply (RFC 6749, 5.1) to who asked for ``scope`` and got it at ``now_s``. Raises _Unusable."""
    kind, given = reply.get("token_type"), reply.get("scope")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise _Unusable("token_type is not bearer")
    if given is not None and not (isinstance(given, str) and set(scope.split()) <= set(given.split())):
        raise _Unusable(f"the scope given is not the one asked for, {scope}")
    lasts_s = _moment(reply.get("expires_in"))
    return _Token(_text_of(reply), now_s + max(lasts_s - RENEW_BEFORE_S, lasts_s / 2))


def _text_of(holder: Mapping[str, Any]) -> Secret:
    text = holder.get("access_token")
    if not isinstance(text, str) or not _USABLE.fullmatch(text):
        raise _Unusable("access_token is no token that fits a header")
    return Secret(text)


def _moment(value: object) -> float:
    """``value`` in seconds, inf where it is no number: upstream will say when that token is dead."""
    return float(value) if isinstance(value, int | float) else math.inf


def _words(reply: Mapping[str, Any], secret: Secret) -> str:
    """What an error reply says (RFC 6749, 5.2), printable, bounded, and without ``secret``."""
    said = [reply.get(name) for name in ("error", "error_description")]
    text = ": ".join(word for word in said if isinstance(word, str)) or "no reason given"
    return re.sub(r"[^ -~]", "?", masked(text, [secret.reveal()]))[:300]


def _says_dead(answer: Answer) -> bool:
    """True for a 401 that says ``invalid_token``."""
    if answer.status != HTTP_UNAUTHORIZED:
        return False
    try:
        return _read(decode(answer.body, answer.encoding, BODY_BYTES_MAX)).get("error") == "invalid_token"
    except (UnreadableBody, _Unusable):
        return False
