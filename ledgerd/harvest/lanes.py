"""What every landing of lanes shares: whose pages, which leagues are in force, what is frozen into a batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from ledgerd.spool.record import JSON


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
