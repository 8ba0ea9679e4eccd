"""Whatever is asked of the Ledger API, the answer is what its document says; tests.bench.fuzz_api is the large run."""

from contextlib import asynccontextmanager

import pytest

from ledgerd.web import announce
from ledgerd.web.app import ENDPOINTS, create_app
from ledgerd.web.openapi import document
from tests.fuzzing import fuzz
from tests.served import serving
from tests.store.market import KEY, NAMES, market

EXAMPLES = 2
SEED = 20261123


@pytest.mark.timeout(600)  # 15 s, where nobody else needs the machine
def test_what_is_asked_at_random_is_answered_as_documented(tmp_path, monkeypatch):
    monkeypatch.setattr(announce, "ALIVE_S", 0.1)  # schemathesis looks at its time limit when something comes

    @asynccontextmanager
    async def opening():
        async with market(tmp_path) as deps:
            yield create_app(deps)

    with serving(opening) as address:
        tally = fuzz(address, document(ENDPOINTS, "0.1.0"), NAMES, key=KEY, examples=EXAMPLES, seed=SEED)

    assert tally.errors == []
    assert tally.told() == ""
    assert tally.unanswered() == []
    assert tally.cases > 500
