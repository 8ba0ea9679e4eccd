"""ledgerd, the market ledger of Wraeclast: Path of Exile's official APIs as a priced, queryable ledger."""

__version__ = "0.1.0"
