"""All figures in one run; each script also runs alone, as ``python -m tests.bench.NAME``."""

import runpy

NAMES = (
    "norm_hours", "norm_truth", "exchange_layout", "lookup", "item_ledger", "fuzz_api", "throttle", "river", "listings",
    "item_truth", "server", "slice",
)  # fmt: skip

for name in NAMES:
    print(f"\n== {name}", flush=True)
    runpy.run_module(f"tests.bench.{name}", run_name="__main__")
