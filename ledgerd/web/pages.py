"""Pages of what the engine is asked for newest first: where one begins (pure)."""

from ledgerd.ledger.items import Cursor
from ledgerd.web.answers import BadRequest


def after_of(given: Cursor | None, most: int) -> tuple[int, str]:
    """The number and the name a page begins behind, the number ``most`` at the beginning; BadRequest if it is none."""
    rank, name = given or Cursor(most, "")
    if rank is None or not 0 <= rank <= most or rank != int(rank):
        raise BadRequest("cursor is not one of this address.", "Take it from `next` of the answer before, as it is.")
    return int(rank), name
