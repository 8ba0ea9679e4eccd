"""Noise that can be asked for at any place and time: every number is a hash of where it stands."""

import hashlib
import math
from functools import lru_cache

_MASK = (1 << 64) - 1
_OCTAVES_H = (2, 6, 18, 54, 162, 486, 1458)
_OCTAVE_GAIN = 0.62


def key_of(*parts: object) -> int:
    """A 64-bit key for a path of names; equal paths give equal keys on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def mix(key: int, n: int) -> int:
    """The ``n``-th 64-bit number of stream ``key`` (splitmix64's finaliser)."""
    z = (key + n * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def uniform(key: int, n: int = 0) -> float:
    """The ``n``-th number of stream ``key``, in the open interval 0..1."""
    return ((mix(key, n) >> 11) + 0.5) / (1 << 53)


def normal(key: int, n: int = 0) -> float:
    """The ``n``-th standard normal number of stream ``key``."""
    radius = math.sqrt(-2.0 * math.log(uniform(key, 2 * n)))
    return radius * math.cos(2.0 * math.pi * uniform(key, 2 * n + 1))


def laplace(u: float, scale: float) -> float:
    """A Laplace deviate of mean 0 from ``u`` in 0..1; ``scale`` is its mean absolute value."""
    return -scale * math.log(2.0 * (1.0 - u)) if u > 0.5 else scale * math.log(2.0 * u)  # noqa: PLR2004 - the median


@lru_cache(maxsize=1 << 16)
def _knot(key: int, n: int) -> float:
    """``normal``, remembered: hours asked one after another share most of theirs."""
    return normal(key, n)


def swell(key: int, t_h: int, period_h: int) -> float:
    """Smooth noise: a standard normal at each multiple of ``period_h`` hours, eased in between."""
    n, rest = divmod(t_h, period_h)
    if rest == 0:
        return _knot(key, n)
    x = rest / period_h
    ease = x * x * (3.0 - 2.0 * x)
    return _knot(key, n) * (1.0 - ease) + _knot(key, n + 1) * ease


def wander(key: int, t_h: int) -> float:
    """A bounded walk: over ``h`` hours (up to weeks) it moves by about the square root of ``h``.

    A sum of octaves, so hour ``t_h`` costs the same whatever came before it.
    """
    return sum(_OCTAVE_GAIN * math.sqrt(period_h) * swell(key + period_h, t_h, period_h) for period_h in _OCTAVES_H)
