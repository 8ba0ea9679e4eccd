"""What one running stand-in is made of; every group of routes takes it from the application."""

import asyncio
from dataclasses import dataclass, field

from aiohttp import web

from ledgerd.clock import Clock
from ledgerd.sim.audit import Audit
from ledgerd.sim.faults import FaultPlan
from ledgerd.sim.source import Source
from ledgerd.sim.timetable import Timetable


@dataclass(frozen=True, slots=True)
class Sim:
    """One stand-in: its hours, its time, its faults and its book."""

    source: Source
    clock: Clock
    timetable: Timetable
    plan: FaultPlan
    audit: Audit
    slow_s: float  # how long a slow answer takes, seconds of the clock
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


SIM = web.AppKey("sim", Sim)
