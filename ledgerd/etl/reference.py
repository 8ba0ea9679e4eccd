"""Keeps the table ``reference_currencies`` equal to the reference file the program was installed with."""

from collections.abc import Iterable

from ledgerd.chaos_scale.reference import Currency
from ledgerd.etl.watermarks import SQL
from ledgerd.store.engine import Engine, Row

COLUMNS = ("game", "metadata_id", "name", "trade_tag", "category")
GAMES = ("poe1", "poe2")


def table_rows(currencies: Iterable[Currency]) -> list[Row]:
    """One row per game and id, sorted; what is in both games has two. The first of two lines with one id stands."""
    rows: dict[tuple[str, str], Row] = {}
    for currency in currencies:
        for game in GAMES if currency.game == "both" else (currency.game,):
            row = (game, currency.metadata_id, currency.name, currency.trade_tag, currency.category)
            rows.setdefault((game, currency.metadata_id), row)
    return sorted(rows.values())


async def load_reference(engine: Engine, currencies: Iterable[Currency]) -> bool:
    """Make the table hold ``currencies`` and nothing else; True if it had to be written.

    Emptied first, then filled: killed in between, the next start finds a difference and fills it.
    """
    wanted = table_rows(currencies)
    if await engine.rows(SQL["reference_content"]) == wanted:
        return False
    await engine.execute("TRUNCATE TABLE reference_currencies")
    await engine.insert("reference_currencies", COLUMNS, wanted, token="reference_currencies")  # noqa: S106  a deduplication name, no secret
    return True
