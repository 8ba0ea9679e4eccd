"""Near spellings: what somebody may have meant who typed a name that is none (pure)."""

from collections.abc import Iterable

from rapidfuzz import fuzz, process

SUGGESTIONS_MAX = 5
ASKED_CHARS_MAX = 100
"""Longer texts are misspellings of nothing; comparing them with every name would only cost time."""
LIKENESS = 60.0
"""From which two spellings are near, as `fuzz.ratio` has it, of 100."""


def nearest(text: str, known: Iterable[str], n: int = SUGGESTIONS_MAX) -> tuple[str, ...]:
    """Up to ``n`` of ``known`` spelt nearly like ``text``, best first, whatever their case.

    >>> nearest("standart", ["Standard", "Hardcore"])
    ('Standard',)
    """
    if len(text) > ASKED_CHARS_MAX:
        return ()
    folded = {name.casefold(): name for name in known}
    close = process.extract(text.casefold(), list(folded), scorer=fuzz.ratio, score_cutoff=LIKENESS, limit=n)
    return tuple(folded[name] for name, *_ in close)
