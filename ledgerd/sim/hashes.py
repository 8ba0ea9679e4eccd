"""Whole columns of noise at once: ``noise.mix`` and its kin over arrays of keys."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Keys: TypeAlias = NDArray[np.uint64]
Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_A, _B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = (np.uint64(n) for n in (30, 27, 31, 11))
_UNIT = 1.0 / (1 << 53)


def _finish(z: Keys) -> Keys:
    z = (z ^ (z >> _30)) * _A
    z = (z ^ (z >> _27)) * _B
    return z ^ (z >> _31)


def mix(keys: Keys, n: int) -> Keys:
    """``noise.mix(key, n)`` of every key."""
    return _finish(keys + np.uint64(((n + 1) * _GOLDEN) & _MASK))


def spread(keys: Keys, ns: Keys) -> Keys:
    """``noise.mix(key, n)`` of keys and numbers two by two; either may be an array of one."""
    return _finish(keys + (ns + np.uint64(1)) * np.uint64(_GOLDEN))


def uniform(keys: Keys, n: int = 0) -> Floats:
    """``noise.uniform(key, n)`` of every key: in the open interval 0..1."""
    return ((mix(keys, n) >> _11).astype(np.float64) + 0.5) * _UNIT


def normal(keys: Keys, n: int = 0) -> Floats:
    """``noise.normal(key, n)`` of every key: standard normal."""
    radius = np.sqrt(-2.0 * np.log(uniform(keys, 2 * n)))
    return np.asarray(radius * np.cos(2.0 * np.pi * uniform(keys, 2 * n + 1)), dtype=np.float64)


def one(key: int) -> Keys:
    """A column of a single key."""
    return np.array([key], dtype=np.uint64)
