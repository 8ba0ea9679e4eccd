"""Bronze to silver to gold: a pure plan and a thin runner over SQL steps."""
