"""What the routes of stashes, sellers, item history and operations ask the engine, answered from lists."""

from ledgerd.store.queries import load_queries
from tests.clocks import ORIGIN_S

SQL = load_queries("api.sql")
SELLER = "Kortan#1234"
STASH = "9b1deb4d3b"
NOW_S = int(ORIGIN_S)


def stash(stash_id=STASH, account=SELLER, market_chaos=800.0, **facts):
    """A row of the queries ``stash`` and ``seller``; ``facts`` differ from those of a tab of 40 items."""
    usual = {
        "stash_id": stash_id, "account": account, "stash_name": "~b/o 5 chaos", "stash_type": "PremiumStash",
        "public": True, "items": 40, "listed": 30, "unconverted": 2, "unpriced": 10, "unpriced_share": 0.25,
        "asked_chaos": 650.5, "market_chaos": market_chaos, "changed_s": NOW_S - 5000.0, "rate_hour": NOW_S - 7200,
        "batch_id": "river-pc-0000000006", "as_of": NOW_S - 4800.0,
    }  # fmt: skip
    return (*{**usual, **facts}.values(),)


EMPTY = {"items": 0, "listed": 0, "unconverted": 0, "unpriced": 0, "unpriced_share": 0.0, "asked_chaos": 0.0}
STASHES = [
    stash(),
    stash("aa00000001", market_chaos=120.25, unpriced=0, unpriced_share=0.0, rate_hour=None),
    stash("aa00000002", market_chaos=0.0, public=False, **EMPTY),
    stash("bb00000001", "Rhopik#0001", market_chaos=5.0),
]


def diff(hour_s, stash_id=STASH, account=SELLER):
    """A row of the queries of diffs."""
    return (
        hour_s,
        stash_id,
        account,
        3,
        2,
        1,
        1,
        0,
        30.0,
        25.5,
        -4.0,
        -1.0,
        "river-pc-0000000003",
        "river-pc-0000000005",
    )


DIFFS = [diff(NOW_S - 3600), diff(NOW_S - 3600, "aa00000001"), diff(NOW_S - 7200), diff(NOW_S - 4 * 3600)]


def ranked(account, market_chaos):
    """A row of the query ``sellers``."""
    return (account, 2, 80, 60, 4, 10, 0.125, 1301.0, market_chaos)


SELLERS = [ranked(SELLER, 920.25), ranked("Rhopik#0001", 5.0)]


def until(summaries_s, diffs_s, listings_s=NOW_S):
    """The rows of the query ``stashes_until``: when what each step did last was fetched."""
    steps = {"silver_canonical_stashes": listings_s, "gold_stash_summary": summaries_s, "gold_stash_diffs": diffs_s}
    return list(steps.items())


def listing(account=SELLER, chaos=3.0, **facts):
    """A row of the query ``item_listings``, of two in all; ``facts`` differ from those of one Divine Orb asked."""
    usual = {
        "account": account, "stash": STASH, "units": 1, "amount": 0.02,
        "currency": "Metadata/Items/Currency/CurrencyModValues", "chaos": chaos, "rate_hour_s": NOW_S - 7200,
        "listed_s": NOW_S - 7200, "changed_s": NOW_S - 3600, "repriced": 1, "seen_s": NOW_S - 900.5,
        "batch_id": "river-pc-0000000006", "total": 2,
    }  # fmt: skip
    return (*{**usual, **facts}.values(),)


LISTINGS = [listing(), listing("Rhopik#0001", None, currency="Metadata/Items/Currency/Nobodys", rate_hour_s=None)]


def _diffs(params):
    whose = (params.get("stash"), 1) if "stash" in params else (params["account"], 2)
    found = [row for row in DIFFS if row[whose[1]] == whose[0] and params["from_s"] <= row[0] < params["to_s"]]
    behind = [row for row in found if (-row[0], row[1]) > (-params["after_s"], params["after"])]
    return behind[: params["most"]]


ANSWERS = {
    SQL["stashes_until"]: lambda params: until(NOW_S, NOW_S),
    SQL["stash"]: lambda params: [row for row in STASHES if row[0] == params["stash"]],
    SQL["item_listings"]: lambda params: LISTINGS[: params["most"]],
    SQL["seller"]: lambda params: [row for row in STASHES if row[1] == params["account"]],
    SQL["sellers"]: lambda params: SELLERS[: params["most"]],
    SQL["stash_diffs"]: _diffs,
    SQL["seller_diffs"]: _diffs,
}
"""For a `FakeEngine`."""
