"""One HTTP session to GGG: paced, identified, bounded, and every request remembered."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypedDict

import aiohttp
from multidict import CIMultiDict

from ledgerd.clock import Clock
from ledgerd.errors import UpstreamUnavailable
from ledgerd.events import Answered, emit
from ledgerd.failpoint import failpoint
from ledgerd.upstream.throttle import Slot, Throttle

READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Answer:
    """An upstream answer as received: ``body`` still in its content ``encoding``; times unix seconds."""

    status: int
    headers: Mapping[str, str]
    encoding: str
    body: bytes
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
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, url: str, *, source: str, realm: str, cursor: str, backfill: bool = False) -> Answer:
        """GET ``url`` when the throttle admits it; any HTTP status is an answer. All of a ``source`` shares a policy.

        Raises UpstreamUnavailable for what is none: no connection, a reset, a timeout, a body over the limit.
        """
        answer, error = None, ""
        async with self._throttle.slot(source, backfill=backfill) as slot:
            requested_at_s, started_s = self._clock.now(), time.monotonic()
            try:
                answer = await self._answer(url, requested_at_s, slot)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as cause:
                error = _printable(f"{type(cause).__name__}: {cause}".rstrip(": "))[:500]
        record = RequestRecord(
            source=source,
            realm=realm,
            requested_at_ms=int(requested_at_s * 1000),
            url=url,
            cursor=cursor,
            elapsed_ms=int((time.monotonic() - started_s) * 1000),
            error=error,
            **_outcome(answer),
        )
        emit(Answered(source, cursor, record.status, record.body_bytes, record.elapsed_ms, record.outcome))
        await self._remember(record)
        if answer is None:
            raise UpstreamUnavailable(
                f"{url} gave no answer: {error}", "It is tried again; see it with: ledgerd status"
            )
        return answer

    async def _answer(self, url: str, requested_at_s: float, slot: Slot) -> Answer:
        if self._session is None:
            raise RuntimeError("the client is not open")
        limits = self.limits
        timeout = aiohttp.ClientTimeout(total=limits.timeout_s)
        async with self._session.get(url, timeout=timeout, allow_redirects=False) as response:
            headers = CIMultiDict((name, _printable(value)) for name, value in response.headers.items())
            slot.answered(response.status, headers)
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


def _printable(text: str) -> str:
    """``text`` in ASCII: bytes above it reach us as lone surrogates, which no JSON can hold."""
    return text.encode("ascii", "backslashreplace").decode()


def _word(status: int) -> str:
    """``ok``, ``not found``, ``rate limited``, ``refused``, ``failed`` or ``unexpected``, by HTTP status."""
    named = {200: "ok", 404: "not found", 429: "rate limited"}
    by_class = {4: "refused", 5: "failed"}
    return named.get(status) or by_class.get(status // 100, "unexpected")
