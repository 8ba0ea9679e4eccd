"""``python -m ledgerd``."""

from ledgerd.cli import main

main()
