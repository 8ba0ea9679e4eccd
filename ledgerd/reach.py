"""How a command reaches the ledger: through the running daemon's socket, else over the data directory itself."""

import errno
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from ledgerd.config import Config
from ledgerd.errors import NotKnown, QueryRefused, Refused, StoreUnavailable, UsageError
from ledgerd.store.engine import SERVER, Engine
from ledgerd.store.engines import make_engine

TIMEOUT_S = 120.0
HELLO_S = 5.0
"""How long a daemon may take to say that it is there."""


@dataclass(frozen=True, slots=True)
class Reach:
    """A connection to the ledger's own socket; ``is_daemon``: a running daemon answers, not this process."""

    session: aiohttp.ClientSession
    is_daemon: bool

    async def get(self, path: str, params: dict[str, str] | None = None) -> Any:  # noqa: ANN401  JSON of any shape
        """The JSON that GET ``path`` answers. Raises Refused with the problem's own words."""
        return orjson.loads(await self._ask("GET", path, Refused, params=params))

    async def sql(self, query: str, fmt: str) -> bytes:
        """The result of one read-only query in ``fmt``. Raises QueryRefused."""
        return await self._ask("POST", "/sql", QueryRefused, params={"format": fmt}, data=query.encode())

    @asynccontextmanager
    async def answer(self, path: str, params: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """A good answer to GET ``path``, to be read piece by piece. Raises Refused, NotKnown, StoreUnavailable."""
        async with self._answer("GET", path, Refused, params=params) as response:
            yield response

    async def _ask(self, method: str, path: str, kind: type[Refused], **request: Any) -> bytes:  # noqa: ANN401  aiohttp's
        """The body of a good answer."""
        async with self._answer(method, path, kind, **request) as response:
            return await response.read()

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        kind: type[Refused],
        **request: Any,  # noqa: ANN401  aiohttp's
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A good answer; one that is not good is raised as ``kind``."""
        try:
            async with self.session.request(method, path, **request) as response:
                if response.status != HTTPStatus.OK:
                    raise _problem(await response.read(), kind)
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            said = str(error) or f"none within {TIMEOUT_S:.0f} s"
            raise StoreUnavailable(
                f"The ledger gave no answer: {said}.", "See whether it runs: ledgerd status"
            ) from error


def _problem(body: bytes, kind: type[Refused]) -> Refused:
    """An RFC 9457 answer as an error of ours; NotKnown if a name is unknown."""
    try:
        problem = orjson.loads(body)
    except orjson.JSONDecodeError:
        problem = {}
    near = problem.get("suggestions") or []
    meant = f" Did you mean {', '.join(map(repr, near))}?" if near else ""
    is_name = problem.get("type") == "urn:ledgerd:not-known"
    detail = problem.get("detail", "The daemon gave no reason.")
    return (NotKnown if is_name else kind)(f"{detail}{meant}", problem.get("hint", "See: ledgerd status"))


@asynccontextmanager
async def daemon(config: Config) -> AsyncIterator[Reach | None]:
    """The running daemon of this data directory; None if there is none. StoreUnavailable: it is there, not for us."""
    async with _session(config.socket_path) as session:
        yield Reach(session, is_daemon=True) if await _answers(session, config.socket_path) else None


async def _answers(session: aiohttp.ClientSession, path: Path) -> bool:
    try:
        async with session.get("/healthz", timeout=aiohttp.ClientTimeout(total=HELLO_S)):
            return True
    except TimeoutError as error:
        raise StoreUnavailable(
            f"The daemon behind {path} has not answered for {HELLO_S:.0f} s.", "Look at its log: journalctl -u ledgerd"
        ) from error
    except aiohttp.ClientConnectionError as error:
        if isinstance(error, OSError) and error.errno == errno.EACCES:
            raise StoreUnavailable(
                f"{path} is open to the daemon's own user only.", "As root: sudo ledgerd status"
            ) from error
        return False


@asynccontextmanager
async def ledger(config: Config, *, prices: bool = True) -> AsyncIterator[Reach]:
    """The running daemon, or its data routes served by this process over the data directory.

    ``prices``: load them; without, ``/v1`` has none, and the rest is there sooner.
    """
    async with daemon(config) as running:
        if running:
            yield running
            return
    from ledgerd.unattended import served  # noqa: PLC0415  most of ledgerd, which who asks a daemon need not load

    async with (
        stored(config) as engine,
        served(config, engine, prices=prices) as socket_path,
        _session(socket_path) as session,
    ):
        yield Reach(session, is_daemon=False)


@asynccontextmanager
async def stored(config: Config, *, create: bool = False) -> AsyncIterator[Engine]:
    """The engine of a data directory no daemon owns. UsageError if it holds nothing and may not be made."""
    engine = make_engine(config)
    if not create and not has_data(config):
        raise UsageError(f"There is no data in {config.daemon.data_dir}.", "Start with: ledgerd run")
    await engine.open()
    try:
        yield engine
    finally:
        await engine.close()


def has_data(config: Config) -> bool:
    """True if a ledger was kept in this data directory before, or on a server: what that holds it says itself."""
    return config.clickhouse.engine == SERVER or config.db_dir.exists()


def _session(path: Path) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        "http://ledgerd",
        connector=aiohttp.UnixConnector(str(path)),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    )
