"""What at least 10,000 requests made by schemathesis from /openapi.json find in the Ledger API on the real engine.

Run: python -m tests.bench.fuzz_api [cases] [seed]
"""

import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path

from ledgerd.web import announce
from ledgerd.web.app import ENDPOINTS, create_app
from ledgerd.web.openapi import document
from tests.fuzzing import Tally, fuzz
from tests.served import serving
from tests.store.market import KEY, NAMES, market

CASES = 10_000
EXAMPLES = 60
"""What one run makes of each operation; runs of other seeds follow until there are enough."""
KINDS = {
    "server errors": "not_a_server_error",
    "undocumented statuses": "status_code_conformance",
    "schema mismatches": "response_schema_conformance",
}


def main():
    cases, seed = (*map(int, sys.argv[1:]), *(CASES, 1)[len(sys.argv) - 1 :])
    announce.ALIVE_S = 0.1
    found = Tally()
    began_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:

        @asynccontextmanager
        async def opening():
            async with market(Path(folder)) as deps:
                yield create_app(deps)

        with serving(opening) as address:
            described = document(ENDPOINTS, "0.1.0")
            while found.cases < cases:
                found.take(fuzz(address, described, NAMES, key=KEY, examples=EXAMPLES, seed=seed))
                seed += 1
    print(f"{found.cases} cases of {len(ENDPOINTS)} operations in {time.perf_counter() - began_s:.0f} s")
    print("answers:", ", ".join(f"{status}: {count}" for status, count in sorted(found.statuses.items())))
    for name, check in KINDS.items():
        print(f"{name:24} {found.failed(check)}")
    print(f"{'check':32} {'made':>7} {'failed':>7}")
    for check in sorted({name for name, _ in found.checks}):
        print(f"{check:32} {found.made(check):7} {found.failed(check):7}")
    print("operations never answered 200:", ", ".join(found.unanswered()) or "none")
    print("errors of the run:", *found.errors or ["none"])
    print(found.told())


if __name__ == "__main__":
    main()
