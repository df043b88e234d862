"""Local maxima of an array and their connected groups, found without a filtered or labelled copy of the array."""

from __future__ import annotations

import itertools
import math

import bioimage_cpp
import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 18
"""Voxels compared at once: few enough that the comparisons of a chunk find their operands in the cache."""


def local_maxima(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Find the voxels that no voxel of their 3^d window exceeds.

    Plateaus are returned whole, windows are cut at the border, and voxels at the minimum of the array are left out, so
    a constant array has no maxima: the rule of ``skimage.feature.peak_local_max(min_distance=1,
    exclude_border=False)``. A full pass compares each voxel with its 2·d face neighbours only; the few that remain are
    then looked up in the corners of their window, which is several times faster than a maximum filter.

    Args:
        values: float array of any dimension, C-contiguous.

    Returns:
        Flat (C order) indices of the maxima, int64, ascending.
    """
    if values.size == 0:
        return np.empty(0, np.int64)
    length, row = values.shape[0], values[0].size
    lowest = values.min()
    step = max(1, _CHUNK // row)
    found = []
    for start in range(0, length, step):
        stop = min(start + step, length)
        here = values[start:stop]
        peak = here > lowest
        for axis in range(1, values.ndim):
            head = (slice(None),) * axis + (slice(None, -1),)
            tail = (slice(None),) * axis + (slice(1, None),)
            peak[head] &= here[head] >= here[tail]
            peak[tail] &= here[tail] >= here[head]
        first, last = int(start == 0), stop - start - int(stop == length)
        peak[first:] &= here[first:] >= values[start - 1 + first : stop - 1]
        peak[:last] &= here[:last] >= values[start + 1 : start + 1 + last]
        found.append(np.flatnonzero(peak) + start * row)
    peaks = np.concatenate(found)

    flat = values.reshape(-1)
    for offset in itertools.product((-1, 0, 1), repeat=values.ndim):
        if np.count_nonzero(offset) < 2:
            continue
        position = np.unravel_index(peaks, values.shape)
        # Clipped at the border, the neighbour is another voxel of the same, cut window.
        neighbour = np.ravel_multi_index(
            tuple(p + o for p, o in zip(position, offset, strict=True)), values.shape, mode="clip"
        )
        peaks = peaks[flat[peaks] >= flat[neighbour]]
    return peaks


def mark_groups(points: NDArray[np.int64], shape: tuple[int, ...]) -> tuple[NDArray[np.uint32], int]:
    """Draw points into an array of labels, points that touch (at least by a corner) with the same label.

    Equal to labelling a mask of the points with full connectivity, at a cost that grows with the number of points
    instead of the number of voxels.

    Args:
        points: flat (C order) indices, int64, ascending, without repetition.
        shape: shape of the array to draw.

    Returns:
        The uint32 array: 0, or the number of the point's group counted from 1 in C order of their first points; and
        the number of groups.
    """
    count = len(points)
    labels = np.zeros(shape, np.uint32)
    flat = labels.reshape(-1)
    flat[points] = np.arange(1, count + 1, dtype=np.uint32)
    position = np.unravel_index(points, shape)
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    union = bioimage_cpp.utils.UnionFind(count)
    for offset in itertools.product((-1, 0, 1), repeat=len(shape)):
        if offset <= (0,) * len(shape):
            continue  # the other half of the window sees the same pairs from the other side
        inside = np.ones(count, bool)
        for p, o, n in zip(position, offset, shape, strict=True):
            if o:
                inside &= (p + o >= 0) & (p + o < n)
        point = np.flatnonzero(inside)
        other = flat[points[point] + sum(o * s for o, s in zip(offset, strides, strict=True))]
        touching = other > 0
        if touching.any():
            union.merge(np.stack((point[touching], other[touching] - 1), axis=1).astype(np.uint64))
    if count == 0:
        return labels, 0

    roots = union.element_labeling()
    order = np.arange(count)
    first = np.empty(count, np.int64)
    first[roots[::-1]] = order[::-1]  # of several writes the last one stays: the lowest point of each root
    leader = first[roots]
    numbers = np.cumsum(leader == order)
    flat[points] = numbers[leader]
    return labels, int(numbers[-1])
