"""Voxels that objects of one time point share with those of the next; counts of disjoint boxes add up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bigseg.kernels.contingency import count_pairs
from bigseg.kernels.pairs import distinct_pairs


def count_overlaps(before: np.ndarray, after: np.ndarray) -> dict[str, np.ndarray]:
    """Count the pairs of objects in a box.

    Args:
        before: (z, y, x) unsigned labels of the earlier time point, 0 is no object.
        after: (z, y, x) labels of the later one.

    Returns:
        Columns ``source``, ``target`` (uint64, objects), ``voxels`` (uint64), ascending by (source, target).
    """
    found = count_pairs(before, after)
    both = (found.result > 0) & (found.truth > 0)
    return {"source": found.result[both], "target": found.truth[both], "voxels": found.count[both]}


def add_up_overlaps(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Add up at least one table of disjoint boxes: each pair once, ascending by (source, target)."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    pairs = distinct_pairs(columns["source"], columns["target"])
    sums = {
        name: pairs.add_up(values.astype(np.float64)).astype(np.uint64)
        for name, values in columns.items()
        if name not in ("source", "target")
    }
    return {"source": pairs.u, "target": pairs.v, **sums}
