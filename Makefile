# Everything runs in a virtual environment of the checkout's own; `make demo` and `make test` need nothing else done first.
.DEFAULT_GOAL := help
.PHONY: help demo test check bench crash clean

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

help: ## Show what can be made
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(READY) ## Run the whole daemon against a stand-in for GGG; Ctrl-C stops it
	@$(BIN)/ledgerd demo

test: $(READY) ## Run every test
	$(BIN)/python -m pytest

check: $(READY) ## The one-minute version: format, lint, types, unit tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n auto tests/unit

bench: $(READY) ## Print the figures; they never fail on time
	$(BIN)/python -m tests.bench

N ?= 30
crash: $(READY) ## Kill the daemon at every line of the failure table, then at N=30 random instants
	LEDGERD_CRASH_RUNS=$(N) $(BIN)/python -m pytest -q tests/crash

clean: ## Remove the virtual environment and the demo's data
	rm -rf .venv var/demo

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)
