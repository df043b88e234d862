"""Coarser levels of images and labels."""

from __future__ import annotations

import itertools

import numpy as np

from bigseg.geometry.box import Triple

_SLAB = 8
"""Planes of the result that are voted on together."""


def coarser_shape(shape: Triple, factor: Triple) -> Triple:
    """Shape of a (z, y, x) array after division by ``factor``, rounded up."""
    z, y, x = (-(-n // f) for n, f in zip(shape, factor, strict=True))
    return (z, y, x)


def mean_pool(image: np.ndarray, factor: Triple) -> np.ndarray:
    """Mean over cells of ``factor`` voxels, in the type of the image; cells cut by the edge use what they have."""
    values = image.astype(np.float32 if image.dtype.itemsize <= 2 else np.float64)
    for axis, step in enumerate(factor):
        if step > 1:
            starts = np.arange(0, values.shape[axis], step)
            lengths = np.diff(np.r_[starts, values.shape[axis]])
            summed = np.add.reduceat(values, starts, axis=axis)
            values = summed / lengths.reshape([-1 if a == axis else 1 for a in range(3)]).astype(values.dtype)
    if image.dtype.kind in "ui":
        values = np.rint(values)
    return values.astype(image.dtype)


def mode_pool(labels: np.ndarray, factor: Triple) -> np.ndarray:
    """The most frequent label of each cell of ``factor`` (1 or 2) voxels; of equally frequent ones the smallest.

    No label appears that was not there before. Cells cut by the edge use what they have.
    """
    if max(factor) > 2:
        raise ValueError(f"factor {factor}: votes in cut cells are right for 1 and 2 only")
    if factor == (1, 1, 1):
        return labels.copy()
    result = np.empty(coarser_shape(labels.shape, factor), labels.dtype)
    # The votes take eight times the result's memory, so they are counted in slabs.
    for z in range(0, len(result), _SLAB):
        result[z : z + _SLAB] = _vote(labels[z * factor[0] : (z + _SLAB) * factor[0]], factor)
    return result


def _vote(labels: np.ndarray, factor: Triple) -> np.ndarray:
    # Repeating the voxels at the edge scales all votes of a cut cell alike.
    missing = [(0, -n % f) for n, f in zip(labels.shape, factor, strict=True)]
    padded = np.pad(labels, missing, mode="edge")
    votes = np.stack(
        [
            padded[tuple(slice(o, None, f) for o, f in zip(offset, factor, strict=True))]
            for offset in itertools.product(*(range(f) for f in factor))
        ]
    )
    votes.sort(axis=0)
    best, best_run = votes[0].copy(), np.ones(votes.shape[1:], np.uint8)
    run = best_run.copy()
    for before, vote in itertools.pairwise(votes):
        run = np.where(vote == before, run + np.uint8(1), np.uint8(1))
        longer = run > best_run
        best[longer], best_run[longer] = vote[longer], run[longer]
    return np.asarray(best)
