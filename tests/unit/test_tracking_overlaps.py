"""Voxels shared by objects of two time points: blocks, with a drift, add up to what brute force counts."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.geometry.grid import Grid
from bigseg.kernels.objects import rename
from bigseg.kernels.tracking.overlaps import add_up_overlaps, count_overlaps
from bigseg.stages.track.overlaps import shared_boxes

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
SHIFTS = st.tuples(st.integers(-4, 4), st.integers(-12, 12), st.integers(-4, 4))


def brute_force(before, after, drift):
    voxels = Counter()
    for place in np.ndindex(before.shape):
        moved = tuple(p + d for p, d in zip(place, drift, strict=True))
        if all(0 <= m < n for m, n in zip(moved, before.shape, strict=True)) and before[place] and after[moved]:
            voxels[int(before[place]), int(after[moved])] += 1
    return voxels


@settings(max_examples=80, deadline=None)
@given(SHAPES, SHIFTS, st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 1000))
def test_blocks_add_up(shape, drift, block, seed):
    rng = np.random.default_rng(seed)
    before, after = (rng.integers(0, 4, shape).astype(np.uint64) * np.uint64(2**40 + 1) for _ in range(2))
    grid = Grid(shape, tuple(min(b, n) for b, n in zip(block, shape, strict=True)))
    parts = []
    for number in range(grid.number_of_blocks):
        here, there = shared_boxes(grid.box(number), drift, shape)
        assert here.shape == there.shape
        parts.append(count_overlaps(before[there.slices], after[here.slices]))
    found = add_up_overlaps(parts)
    pairs = list(zip(found["source"].tolist(), found["target"].tolist(), strict=True))
    voxels = brute_force(before, after, drift)
    assert pairs == sorted(voxels)
    assert found["voxels"].tolist() == [voxels[pair] for pair in pairs]


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.integers(0, 1000))
def test_rename(shape, seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([0, 3, 2**50, 2**63 + 5], np.uint64), shape)
    ids = np.unique(labels[labels > 0])
    names = rng.integers(0, 99, len(ids)).astype(np.uint32)
    table = {0: 0, **dict(zip(ids.tolist(), names.tolist(), strict=True))}
    found = rename(labels, ids, names)
    assert found.dtype == np.uint32
    assert found.tolist() == np.vectorize(lambda label: table[int(label)], otypes=[np.uint32])(labels).tolist()
