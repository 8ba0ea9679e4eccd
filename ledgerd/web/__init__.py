"""HTTP: status, metrics, the Ledger API, one file per group of routes."""
