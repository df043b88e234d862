"""Random numbers that are hashes of what they belong to, so that nothing has to be remembered between two calls."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""By how much the values of one stream of splitmix64 are apart."""


def hashes(key: Hashes, value: Hashes) -> Hashes:
    """The stream ``key`` at ``value``, broadcast, by the finaliser of splitmix64; an array, so that overflow wraps."""
    h = (value + GOLDEN) ^ key
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(h ^ (h >> np.uint64(31)), np.uint64)


def stream(seed: int, purpose: int) -> Hashes:
    """The stream of random numbers, (1,) uint64, that a seed has for one purpose."""
    return hashes(np.array([purpose], np.uint64), np.array([seed % (1 << 64)], np.uint64))


def uniform(hashed: Hashes, part: int = 0) -> NDArray[np.float64]:
    """Numbers in [0, 1) from the ``part``-th (0, 1, 2) run of 21 bits of each hash."""
    bits = (hashed >> np.uint64(21 * part)) & np.uint64((1 << 21) - 1)
    return bits.astype(np.float64) * 2.0**-21


def normal_quantiles(bits: int) -> NDArray[np.float32]:
    """Quantiles of the standard normal, (2^bits,): indexed by as many random bits it gives normal numbers."""
    normal, n = NormalDist(), 1 << bits
    return np.array([normal.inv_cdf((i + 0.5) / n) for i in range(n)], np.float32)
