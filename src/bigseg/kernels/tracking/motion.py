"""How the surroundings of each detection move from one time point to the next, from the detections alone."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from bigseg.kernels.tracking.model import Floats, Indices


def local_motion(position: Floats, step: Floats, source: Indices, target: Indices, cost: Floats, number: int) -> Floats:
    """Median step of the links nearby that are hardly in doubt: those that are the cheapest of both their ends.

    A tissue flows, and neighbours flow alike; where each object moves by itself, the median over several is near 0 and
    does no harm.

    Args:
        position: (n, 3) float64 detections of the earlier time point.
        step: (k, 3) float64 step of each candidate link.
        source: (k,) int64 rows of the earlier time point.
        target: (k,) int64 rows of the later time point.
        cost: (k,) float64 cost of each link.
        number: of links whose median is taken, about.

    Returns:
        (n, 3) float64; componentwise median over the ``number`` nearest sources, 0 if there are fewer.
    """
    mutual = np.flatnonzero(_cheapest(source, cost) & _cheapest(target, cost))
    if not number or len(mutual) < number:
        return np.zeros_like(position)
    nearest = KDTree(position[source[mutual]]).query(position, np.arange(1, number + 1))[1]
    return np.asarray(np.median(step[mutual][nearest], axis=1))


def _cheapest(end: Indices, cost: Floats) -> np.ndarray:
    """Whether each link is the cheapest at its end; of equal ones the first."""
    least = np.full(int(end.max(initial=-1)) + 1, np.inf)
    np.minimum.at(least, end, cost)
    rows = np.flatnonzero(cost == least[end])
    cheapest = np.zeros(len(end), bool)
    cheapest[rows[np.unique(end[rows], return_index=True)[1]]] = True
    return cheapest
