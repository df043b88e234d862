"""Tissues in fragments that no threshold puts together rightly, and the joint choice of what to merge."""

from __future__ import annotations

import itertools

import numpy as np
from tracking_checks import detections_of, overlaps_of, tissue

from bigseg.kernels.tracking.candidates import LinkCosts, candidates
from bigseg.kernels.tracking.hierarchy import (
    Hierarchy,
    Limits,
    build,
    candidate_overlaps,
    choice,
    spacing_um,
    weigh,
    weights,
)
from bigseg.kernels.tracking.model import Choice, Pair

Planted = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def planted(seed: int, times: int = 5) -> list[Planted]:
    """A tissue in fragments: here and there a wall is weak, or a cell is crossed by a strong one, for one time point.

    The strong ones inside are stronger than the weak walls, so every threshold merges cells or splits some.

    Returns:
        For each time point: true cells, fragments, and u, v, area, evidence of contacts.
    """
    generator = np.random.default_rng(seed)
    truth, _ = tissue(seed, cells=40, times=times, size=72, move=0.15, own=0.05, dividing=0.03)
    frames = []
    for cells in truth:
        half = np.zeros(cells.shape, np.uint64)
        for cell in np.unique(cells):
            inside = cells == cell
            direction = generator.normal(size=3)
            along = np.argwhere(inside) @ direction
            half[inside] = 2 * int(cell) + (along > np.median(along))
        u, v = [], []
        for axis in (1, 2):
            a, b = (np.moveaxis(half, axis, 0)[s].ravel() for s in (slice(None, -1), slice(1, None)))
            u.append(np.minimum(a, b)[a != b])
            v.append(np.maximum(a, b)[a != b])
        pairs, area = np.unique(np.stack([np.concatenate(u), np.concatenate(v)], axis=1), axis=0, return_counts=True)
        one, other = (pairs // 2).T
        strange = generator.random((2, int(cells.max()) + 1, int(cells.max()) + 1)) < [[[0.05]], [[0.1]]]
        weak, strong = strange[0, one, other] & (one != other), strange[1, one, one] & (one == other)
        low = np.where(one == other, np.where(strong, 0.5, 0.05), np.where(weak, 0.3, 0.75))
        evidence = low + generator.uniform(0, 0.2, len(pairs))
        frames.append((cells, half, pairs[:, 0], pairs[:, 1], area.astype(float), evidence))
    return frames


def joint(frames: list[Planted]) -> tuple[list[Hierarchy], list[np.ndarray], list[Pair], list[Choice | None]]:
    fragments = [detections_of(half.astype(np.int64)) for _, half, *_ in frames]
    trees = [
        build(found, u, v, area, evidence, Limits())
        for found, (*_, u, v, area, evidence) in zip(fragments, frames, strict=True)
    ]
    heavy = [weights(tree, float(np.median(found.volume_um3))) for tree, found in zip(trees, fragments, strict=True)]
    pairs = []
    for t, (one, other) in enumerate(itertools.pairwise(trees)):
        counted = overlaps_of(frames[t][1], frames[t + 1][1])
        shared = candidate_overlaps(one, other, counted, (fragments[t].ids, fragments[t + 1].ids))
        scale, parent = spacing_um(one, other), other.parent
        pair = candidates(one.detections, other.detections, shared, LinkCosts(), scale_um=scale, parent=parent)
        pairs.append(weigh(pair, heavy[t], heavy[t + 1]))
    return trees, [found.ids for found in fragments], pairs, [choice(*made) for made in zip(trees, heavy, strict=True)]
