"""The commands that ask for prices: what a thing is worth, what an amount comes to, what leads a league, all of it."""
