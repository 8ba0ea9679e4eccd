"""A stand-in for the game's public API: a market with known true prices, its faults and its server."""
