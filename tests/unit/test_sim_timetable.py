"""When the stand-in publishes: late hours hold the edge back, and it never goes back by itself."""

import pytest

from ledgerd.sim.source import MarketSource
from ledgerd.sim.timetable import Timetable

HOUR = 1_787_086_800


def test_a_late_hour_holds_the_edge_back_until_it_comes():
    table = Timetable(MarketSource(1), started_s=HOUR, history_hours=500, late_rate=0.05, seed=4)
    late = next(h for h in range(HOUR - 400 * 3600, HOUR, 3600) if table.published_at("pc", h) - h > 3720)

    assert 3720 + 3600 <= table.published_at("pc", late) - late <= 3720 + 5 * 3600
    assert table.edge("pc", late + 3720 + 3599) == late
    assert table.edge("pc", table.published_at("pc", late)) > late


@pytest.mark.parametrize("late_rate", [0.0, 0.1, 1.0])
def test_the_edge_never_goes_back(late_rate):
    table = Timetable(MarketSource(1), started_s=HOUR, history_hours=500, late_rate=late_rate)
    edges = [table.edge("pc", HOUR + 600 * n) for n in range(600)]

    assert edges == sorted(edges)
    assert all(edge <= HOUR + 600 * n for n, edge in enumerate(edges))
