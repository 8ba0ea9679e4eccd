"""One HTTP session to GGG: paced, identified, bounded, and every request remembered."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeAlias, TypedDict
from urllib.parse import quote_plus

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from ledgerd.clock import Clock
from ledgerd.config import Secret
from ledgerd.errors import UpstreamUnavailable
from ledgerd.events import Answered, emit
from ledgerd.failpoint import failpoint
from ledgerd.upstream.throttle import Slot, Throttle

READ_BYTES = 1 << 16
OnHeaders: TypeAlias = Callable[[int, Mapping[str, str]], None]
"""Told the status and the headers of an answer, printable, before its body is there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An upstream answer as received: ``body`` still in its content ``encoding``; times unix seconds."""

    status: int
    headers: Mapping[str, str]
    encoding: str
    body: bytes = field(repr=False)
    requested_at_s: float
    received_at_s: float

    @property
    def retry_after_s(self) -> float | None:
        """``Retry-After`` in seconds, if upstream sent a usable one."""
        text = self.headers.get("Retry-After", "").strip()
        return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None  # noqa: PLR2004  300 years


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request and what came of it: a row of ``bronze_requests``. ``status`` 0: no answer came."""

    source: str
    realm: str
    requested_at_ms: int
    url: str
    cursor: str
    status: int
    body_bytes: int
    elapsed_ms: int
    outcome: str
    error: str
    retry_after_s: float | None
    policy: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request: seconds in all, bytes of body as received."""

    timeout_s: float
    body_bytes_max: int


@dataclass(frozen=True, slots=True)
class _Sent:
    """What goes out in one request; ``secrets`` are in it and in no text of ours, were upstream to echo them."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    form: Mapping[str, str] | None = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    on_headers: OnHeaders | None = None

    def reason(self, cause: Exception) -> str:
        """Why no answer came: what ``cause`` says; its name alone where it may quote upstream, which knows a secret."""
        may_quote = any(self.secrets) and not isinstance(cause, OSError | ValueError)
        text = "" if may_quote else str(cause)
        return masked(f"{type(cause).__name__}: {text}".rstrip(": "), self.secrets)


class _NoCookies(aiohttp.DummyCookieJar):
    """Keeps no cookie, and looks at none: aiohttp would log the odd ones as they came."""

    def update_cookies_from_headers(self, headers: Sequence[str], response_url: URL) -> None:
        """Let them go."""


class Client:
    """Sends what the throttle admits. Use as an async context manager; ``remember`` gets a record of every request."""

    def __init__(
        self,
        *,
        user_agent: str,
        limits: Limits,
        throttle: Throttle,
        clock: Clock,
        remember: Callable[[RequestRecord], Awaitable[None]],
    ) -> None:
        """``limits`` may be replaced while running."""
        self.limits = limits
        self._user_agent = user_agent
        self._throttle = throttle
        self._clock = clock
        self._remember = remember
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "gzip", "Accept": "application/json"},
            cookie_jar=_NoCookies(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(
        self,
        url: str,
        *,
        source: str,
        realm: str,
        cursor: str,
        backfill: bool = False,
        bearer: str = "",
        on_headers: OnHeaders | None = None,
    ) -> Answer:
        """GET ``url`` when the throttle admits it; any HTTP status is an answer. All of a ``source`` shares a policy.

        ``bearer`` is sent as the request's token and told to nobody else. ``on_headers`` is told status and headers as
        soon as they are in, long before the body is; it neither waits nor raises.
        Raises UpstreamUnavailable for what is none: no connection, a reset, a timeout, a body over the limit.
        """
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        sent = _Sent("GET", url, headers, None, secrets=(bearer,), on_headers=on_headers)
        return await self._send(sent, source=source, realm=realm, cursor=cursor, backfill=backfill)

    async def post_form(self, url: str, form: Mapping[str, str | Secret], *, source: str, realm: str = "") -> Answer:
        """POST ``form`` to ``url`` as ``get`` asks, and raise as it does; of the form nothing is recorded.

        Values that are a Secret are told to nobody else, were upstream to echo them.
        """
        secrets = tuple(value.reveal() for value in form.values() if isinstance(value, Secret))
        plain = {name: value.reveal() if isinstance(value, Secret) else value for name, value in form.items()}
        return await self._send(
            _Sent("POST", url, {}, plain, secrets=secrets), source=source, realm=realm, cursor="", backfill=False
        )

    async def _send(self, sent: _Sent, *, source: str, realm: str, cursor: str, backfill: bool) -> Answer:
        answer, error = None, ""
        async with self._throttle.slot(source, backfill=backfill) as slot:
            requested_at_s, started_s = self._clock.now(), time.monotonic()
            try:
                answer = await self._answer(sent, requested_at_s, slot)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as cause:
                error = sent.reason(cause)[:500]
        record = RequestRecord(
            source=source,
            realm=realm,
            requested_at_ms=int(requested_at_s * 1000),
            url=sent.url,
            cursor=cursor,
            elapsed_ms=int((time.monotonic() - started_s) * 1000),
            error=error,
            **_outcome(answer),
        )
        emit(Answered(source, cursor, record.status, record.body_bytes, record.elapsed_ms, record.outcome))
        await self._remember(record)
        if answer is None:
            raise UpstreamUnavailable(
                f"{sent.url} gave no answer: {error}", "It is tried again; see it with: ledgerd status"
            )
        return answer

    async def _answer(self, sent: _Sent, requested_at_s: float, slot: Slot) -> Answer:
        if self._session is None:
            raise RuntimeError("the client is not open")
        limits = self.limits
        timeout = aiohttp.ClientTimeout(total=limits.timeout_s)
        async with self._session.request(
            sent.method, sent.url, headers=sent.headers, data=sent.form, timeout=timeout, allow_redirects=False
        ) as response:
            headers = CIMultiDict(
                (masked(name, sent.secrets), masked(value, sent.secrets)) for name, value in response.headers.items()
            )
            slot.answered(response.status, headers)
            if sent.on_headers is not None:
                sent.on_headers(response.status, headers)
            failpoint("request_sent")
            body = await _read(response, limits.body_bytes_max)
            encoding = headers.get("Content-Encoding", "")
            return Answer(response.status, headers, encoding, body, requested_at_s, self._clock.now())


async def _read(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """The body as received; ValueError once it is longer than ``bytes_max``."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(READ_BYTES):
        size += len(part)
        if size > bytes_max:
            raise ValueError(f"body is longer than {bytes_max} bytes")
        parts.append(part)
        await asyncio.sleep(0)
    return b"".join(parts)


class _Outcome(TypedDict):
    """The part of a record that the answer fills in."""

    status: int
    body_bytes: int
    outcome: str
    retry_after_s: float | None
    policy: str


def _outcome(answer: Answer | None) -> _Outcome:
    if answer is None:
        return {"status": 0, "body_bytes": 0, "outcome": "no answer", "retry_after_s": None, "policy": ""}
    return {
        "status": answer.status,
        "body_bytes": len(answer.body),
        "outcome": _word(answer.status),
        "retry_after_s": answer.retry_after_s,
        "policy": answer.headers.get("X-Rate-Limit-Policy", "")[:200],
    }


def masked(text: str, secrets: Iterable[str]) -> str:
    r"""``text`` with ``***`` for each of ``secrets``, as it is or as a form has it; in ASCII.

    Bytes above that reach us as lone surrogates, which no JSON can hold.

    >>> masked("hunter2 et café", ["hunter2"])
    '*** et caf\\xe9'
    """
    for secret in filter(None, secrets):
        text = text.replace(secret, "***").replace(quote_plus(secret), "***")
    return text.encode("ascii", "backslashreplace").decode()


def _word(status: int) -> str:
    """``ok``, ``not found``, ``rate limited``, ``refused``, ``failed`` or ``unexpected``, by HTTP status."""
    named = {200: "ok", 404: "not found", 429: "rate limited"}
    by_class = {4: "refused", 5: "failed"}
    return named.get(status) or by_class.get(status // 100, "unexpected")
