"""What every landing of lanes shares: whose pages, which leagues are in force, what is frozen into a batch."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from ledgerd.spool.record import JSON

PRIVATE_LEAGUE = re.compile(r"\(PL\d+\)$")
"""How a private league's name ends; the landing views hold the same pattern."""
PRIVATE, LEAGUELESS = "(private)", "(no league)"
"""The lanes of private leagues nobody named, and of changes without a league, such as tombstones."""


class LaneLanding:
    """A source whose pages hold several leagues, each a lane."""

    is_journal = False
    transform: ClassVar[str]
    """The Null table a batch sealed now goes through: its name is the version of the transform."""

    def __init__(
        self, source: str, realm: str, leagues: Callable[[str], Sequence[str]], decoded_bytes_max: int
    ) -> None:
        """``leagues``: the lanes of a realm in force now; they are frozen into each batch as it is sealed."""
        self.source = source
        self.realm = realm
        self._leagues = leagues
        self._decoded_bytes_max = decoded_bytes_max

    def recipe(self) -> dict[str, JSON]:
        """Lanes and transform in force now."""
        return {"leagues": list(self._leagues(self.realm)), "transform": self.transform}


def lanes_of(recipe: Mapping[str, JSON]) -> list[str]:
    """The lanes a batch was sealed with."""
    leagues = recipe.get("leagues")
    return [str(league) for league in leagues] if isinstance(leagues, list) else []


def lane_of(league: str, leagues: Sequence[str]) -> str:
    """The lane of a river's ``league`` where ``leagues`` are configured; private ones by name only.

    >>> lane_of("Mine (PL1)", ["*"]), lane_of("", ["*"]), lane_of("Standard", [])
    ('(private)', '(no league)', 'Standard')
    """
    if league not in leagues and PRIVATE_LEAGUE.search(league):
        return PRIVATE
    return league or LEAGUELESS
