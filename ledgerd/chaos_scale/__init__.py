"""Chaos scale: what every currency of one league-hour is worth in Chaos and in Divine Orbs, and how sure that is."""
