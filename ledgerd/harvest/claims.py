"""Who harvests what: of several ledgerd on one server, the first to claim a source has it, and the others stand by."""

import math
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ledgerd.errors import CannotStart
from ledgerd.store.engine import Engine
from ledgerd.store.queries import load_queries

RENEW_S = 10.0
ALIVE_S = 45
"""A claim not renewed for so long is given up: long enough for a few lost renewals, short enough to take over soon."""
PATIENCE_S = 90.0
"""How long nothing is taken over after an outage of our own: who holds a source may be on its way back, too."""
FILE = "harvester-id"


class Claims:
    """The claims of one harvester, which keeps its name over restarts: it must not wait for itself."""

    def __init__(self, engine: Engine, holder: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        """``holder``: see `holder_of`; ``monotonic``: seconds."""
        self._engine = engine
        self._holder = holder
        self._monotonic = monotonic
        self._renewed_s = math.inf
        self._patient_until_s = -math.inf
        self._held: set[str] = set()
        self.rivals: dict[str, str] = {}
        """Of the sources claimed that another has: who that is, as of the last renewal."""
        self._host = f"{socket.gethostname()}, process {os.getpid()}"

    async def renew(self, sources: Sequence[str]) -> dict[str, str]:
        """Claim ``sources``, or renew the claim; of those another has, who that is. StoreUnavailable."""
        if not sources:
            return {}
        await self._claim(sources)
        params = {"sources": list(sources), "alive_s": ALIVE_S}
        first = await self._engine.rows(load_queries()["claimants"], params)
        rivals = {source: host for source, holder, host in first if holder != self._holder}
        now_s = self._monotonic()
        if now_s - self._renewed_s > ALIVE_S:
            self._patient_until_s = now_s + PATIENCE_S
        if now_s < self._patient_until_s:
            rivals = {source: host for source, host in self.rivals.items() if source in sources} | rivals
        self._renewed_s = now_s
        self.rivals = {source: host for source, host in self.rivals.items() if source not in sources} | rivals
        had, self._held = self._held, (self._held | set(sources)) - rivals.keys()
        if not self._held <= had:
            await self._claim(sources)  # at once: one who held it before and comes back shall see that it is taken
        return rivals

    async def _claim(self, sources: Sequence[str]) -> None:
        mine = {"holder": self._holder, "host": self._host, "held": sorted(self._held & set(sources))}
        params = {"sources": list(sources), "alive_s": ALIVE_S}
        await self._engine.execute(load_queries()["claim"], params | mine)

    async def leave(self, sources: Iterable[str]) -> None:
        """Let the others have at once what of ``sources`` we hold. StoreUnavailable."""
        if held := sorted(self._held & set(sources)):
            params = {"sources": held, "holder": self._holder, "host": self._host}
            await self._engine.execute(load_queries()["unclaim"], params)
            self._held -= set(held)


def holder_of(data_dir: Path) -> str:
    """The name of the harvester whose spool lies in ``data_dir``, made when it has none. CannotStart."""
    path = data_dir / FILE
    try:
        if path.is_file() and (name := path.read_text(encoding="ascii").strip()):
            return name
        name = str(uuid.uuid4())
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(f"{name}\n", encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(f"{path} cannot be read or written: {error}.", f"Remove it: rm {path}") from error
    return name
