"""Nested candidate objects of one time point, of which the program chooses while it links (after Ultrack).

Fragments are merged by average linkage of the boundary evidence between them. Every cluster that comes up on the way is
a candidate, and of each fragment's candidates, on the path from it to the root, at most one may be taken. Overlaps
between candidates of two time points follow from those between fragments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bigseg.kernels.tracking.model import Choice, Detections, Floats, Ids, Indices, Overlaps, Pair


@dataclass(frozen=True)
class Limits:
    """Which clusters are candidates."""

    minimum_height: float = 0.0
    """Clusters whose parent forms at a lower mean evidence than this are merged in any case."""
    maximum_height: float = 1.0
    """Clusters that form at a higher mean evidence than this are none."""
    minimum_volume_um3: float = 0.0
    """Smaller clusters are none."""
    maximum_volume_um3: float = np.inf
    """Larger clusters are none."""
    minimum_change: float = 0.05
    """A cluster that lacks less than this share of its parent's volume is left out in favour of the parent."""


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Candidates of one time point, ascending by id."""

    detections: Detections
    """The n candidates; the id of one is ``smallest fragment`` of it for a fragment itself, and see ``name_bits``."""
    parent: Indices
    """(n,) int64 smallest candidate that contains it, -1 if none."""
    height: Floats
    """(n,) float64 mean evidence at which its parts were merged; 0 for a fragment."""
    parent_height: Floats
    """(n,) float64 mean evidence at which it is merged into more than itself; 1 if it never is."""
    leaf: Indices
    """(k,) int64 a fragment (row of the fragments) …"""
    candidate: Indices
    """(k,) int64 … and a candidate that contains it; ascending by (leaf, candidate)."""


def build(
    fragments: Detections,
    u: Ids,
    v: Ids,
    area: Floats,
    evidence: Floats,
    limits: Limits,
) -> Hierarchy:
    """The candidates of one time point.

    Args:
        fragments: (n,) fragments.
        u: (k,) uint64 fragment on one side of each contact.
        v: (k,) uint64 fragment on the other.
        area: (k,) float64 size of each contact; the weight of its evidence.
        evidence: (k,) float64 mean boundary evidence of each contact in [0, 1].
        limits: which clusters are candidates.
    """
    raise NotImplementedError


def candidate_overlaps(before: Hierarchy, after: Hierarchy, overlaps: Overlaps, fragments: tuple[Ids, Ids]) -> Overlaps:
    """Overlaps of candidates from those of fragments, whose ids at the two time points are ``fragments``."""
    raise NotImplementedError


def choice(hierarchy: Hierarchy, weight: Floats, *, cover: float = 2.0, persistence: float = 1.0) -> Choice:
    """What taking each candidate costs, and which exclude each other.

    Args:
        hierarchy: the candidates.
        weight: (n,) float64 of each, from :func:`weights`.
        cover: reward for a candidate of weight 1.
        persistence: reward for a candidate of weight 1 that persists from evidence 0 to 1.
    """
    raise NotImplementedError


def weights(hierarchy: Hierarchy, typical_volume_um3: float) -> Floats:
    """(n,) float64 volume of each candidate in units of a typical one."""
    raise NotImplementedError


def weigh(pair: Pair, before: Floats, after: Floats) -> Pair:
    """The pair with each event's cost multiplied by the weight of what takes part in it."""
    raise NotImplementedError
