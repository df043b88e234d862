"""Mergeable intensity histograms: exact for up to 16 bits, else with a relative bin width of 2⁻¹¹.

A histogram over fixed bins adds up over blocks without a first pass for the range. Values of wider types are taken as
float32, whose bit pattern, with the sign folded in, grows with the value; its upper 20 bits number the bins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

_FLOAT_BITS = 20


@dataclass(frozen=True)
class Histogram:
    """Counts of occupied bins.

    Attributes:
        dtype: NumPy name of the voxel type, which fixes the bins.
        bins: (n,) uint32 numbers of the occupied bins, ascending.
        counts: (n,) uint64 numbers of voxels.
    """

    dtype: str
    bins: np.ndarray
    counts: np.ndarray


def histogram(values: np.ndarray) -> Histogram:
    """Count the values of an array of integers, booleans or finite floats."""
    bins = _bins(np.ascontiguousarray(values).reshape(-1))
    counts = np.bincount(bins)
    occupied = np.flatnonzero(counts)
    return Histogram(values.dtype.name, occupied.astype(np.uint32), counts[occupied].astype(np.uint64))


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """Add up histograms of the same type; the order does not matter."""
    total: np.ndarray | None = None
    dtype = ""
    for part in histograms:
        dtype = part.dtype
        if total is None:
            total = np.zeros(_number_of_bins(np.dtype(dtype)), np.uint64)
        total[part.bins] += part.counts
    if total is None:
        raise ValueError("no histogram to merge")
    occupied = np.flatnonzero(total)
    return Histogram(dtype, occupied.astype(np.uint32), total[occupied])


def percentiles(merged: Histogram, percents: Sequence[float]) -> list[float]:
    """Percentiles with linear interpolation between ranks, as ``numpy.percentile`` defines them."""
    return percentiles_of(_values(merged.bins, np.dtype(merged.dtype)), merged.counts.astype(np.int64), percents)


def percentiles_of(values: np.ndarray, counts: np.ndarray, percents: Sequence[float]) -> list[float]:
    """As :func:`percentiles`, of values (n,) that ascend and how often each occurs, (n,)."""
    last_rank = np.cumsum(counts) - 1
    rank = np.asarray(percents, np.float64) / 100 * last_rank[-1]
    low = values[np.searchsorted(last_rank, np.floor(rank))]
    high = values[np.searchsorted(last_rank, np.ceil(rank))]
    return [float(v) for v in low + (high - low) * (rank - np.floor(rank))]


def values_and_counts(merged: Histogram) -> tuple[np.ndarray, np.ndarray]:
    """The values of the occupied bins, float64, and how often each occurs, float64."""
    return _values(merged.bins, np.dtype(merged.dtype)), merged.counts.astype(np.float64)


def mean_and_deviation(merged: Histogram) -> tuple[float, float]:
    """Mean and standard deviation, exact up to the width of a bin."""
    return mean_and_deviation_of(*values_and_counts(merged))


def mean_and_deviation_of(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """As :func:`mean_and_deviation`, of values (n,) and how often each occurs, (n,) float64."""
    mean = float(np.average(values, weights=counts))
    return mean, float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))


def _is_exact(dtype: np.dtype[np.generic]) -> bool:
    return dtype.kind in "bui" and dtype.itemsize <= 2


def _number_of_bins(dtype: np.dtype[np.generic]) -> int:
    return 1 << (8 * dtype.itemsize if _is_exact(dtype) else _FLOAT_BITS)


def _bins(values: np.ndarray) -> np.ndarray:
    if _is_exact(values.dtype):
        if values.dtype.kind == "i":
            return values.astype(np.int32) - np.iinfo(values.dtype).min
        return values
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)  # + 0 makes -0.0 the same as 0.0
    negative = bits >> 31 == 1
    ordered = np.where(negative, ~bits, bits | np.uint32(1 << 31))
    return ordered >> np.uint32(32 - _FLOAT_BITS)


def _values(bins: np.ndarray, dtype: np.dtype[np.generic]) -> np.ndarray:
    """The value at the middle of each bin, float64."""
    if _is_exact(dtype):
        lowest = int(np.iinfo(dtype.name).min) if dtype.kind == "i" else 0
        return bins.astype(np.float64) + lowest
    width = np.uint32(32 - _FLOAT_BITS)
    # The bin of zero stands for zero itself: constant and mostly empty images must keep it exactly.
    zero = np.uint32(1 << (_FLOAT_BITS - 1))
    middle = np.where(bins == zero, np.uint32(0), np.uint32(1) << (width - np.uint32(1)))
    ordered = (bins.astype(np.uint32) << width) | middle
    negative = ordered >> 31 == 0
    bits = np.where(negative, ~ordered, ordered & np.uint32(0x7FFFFFFF)).astype(np.uint32)
    return bits.view(np.float32).astype(np.float64)
