"""What one running stand-in is made of; every group of routes takes it from the application."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from aiohttp import web

from ledgerd.clock import Clock
from ledgerd.sim.audit import Audit
from ledgerd.sim.faults import FaultPlan
from ledgerd.sim.limits import Limiter
from ledgerd.sim.river_source import RiverSource
from ledgerd.sim.source import Source
from ledgerd.sim.timetable import Timetable
from ledgerd.sim.tokens import Tokens


@dataclass(slots=True)
class River:
    """What is behind the host that wants credentials: the river, the leagues, the tokens, the limits."""

    source: RiverSource
    limiter: Limiter
    tokens: Tokens
    audit: Audit
    client_id: str
    invalid: Counter[str] = field(default_factory=Counter)  # answers of 4xx, which upstream counts, by endpoint
    agents_wrong: int = 0  # requests whose User-Agent does not begin as it must
    limit_changes: int = 0

    def refused(self, endpoint: str) -> None:
        """Count one answer of 4xx."""
        self.invalid[endpoint] += 1


@dataclass(frozen=True, slots=True)
class Sim:
    """One stand-in: its hours, its time, its faults, its book and its river."""

    source: Source
    clock: Clock
    timetable: Timetable
    plan: FaultPlan
    audit: Audit
    slow_s: float  # how long a slow answer takes, seconds of the clock
    river: River
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


SIM = web.AppKey("sim", Sim)
