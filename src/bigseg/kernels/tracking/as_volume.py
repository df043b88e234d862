"""Time as an axis of space: fragments of all time points in one graph, agglomerated at once (after PlantSeg 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigseg.kernels.tracking.model import Floats, Ids


@dataclass(frozen=True, eq=False)
class Contacts:
    """Contacts of fragments of one time point, or overlaps of those of two; each pair once."""

    u: Ids
    """(k,) uint64 fragment; of overlaps, that of the earlier time point."""
    v: Ids
    """(k,) uint64 fragment; of overlaps, that of the later time point."""
    count: Floats
    """(k,) float64 voxel faces of the contact, or voxels of the overlap."""
    evidence: Floats
    """(k,) float64 mean boundary evidence there, in [0, 1]."""


@dataclass(frozen=True, eq=False)
class SpaceTimeObjects:
    """The components; row k is track k + 1."""

    tracks: tuple[NDArray[np.uint32], ...]
    """For each time point (n,) uint32 track of each fragment, 0 if its component is too short."""
    shape: NDArray[np.str_]
    """(m,) what each looks like: I (one piece at each time), Y (one piece becomes two), X (pieces meet and part)."""


def tracks_as_volume(
    fragments: Sequence[Ids],
    contacts: Sequence[Contacts],
    overlaps: Sequence[Contacts],
    beta: float,
    minimum_length: int = 2,
) -> SpaceTimeObjects:
    """Agglomerate the fragments of all time points by average linkage.

    Args:
        fragments: for each time point (n,) uint64 ids, ascending.
        contacts: for each time point.
        overlaps: for each pair of consecutive time points.
        beta: as for the partition: pairs with a mean evidence below 1 - beta are merged.
        minimum_length: components of fewer time points are removed.
    """
    raise NotImplementedError
