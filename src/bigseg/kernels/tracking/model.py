"""What the parts of tracking hand to each other: detections, events that may happen, events that were chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.uint64]
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects of one time point; elsewhere a detection is known by its row."""

    ids: Ids
    """(n,) uint64 objects, ascending."""
    position_um: Floats
    """(n, 3) float64 centres z, y, x in µm; z is 0 throughout in a 2D movie."""
    volume_um3: Floats
    """(n,) float64 > 0 volumes in µm³; only ratios count, so areas times any thickness do for a 2D movie."""
    border_um: Floats
    """(n,) float64 distance of the object to the nearest face of the volume in µm; 0 where it touches one."""


@dataclass(frozen=True, eq=False)
class Overlaps:
    """What objects of one time point share with those of the next, after correction of the drift; each pair once."""

    source: Ids
    """(k,) uint64 object of the earlier time point."""
    target: Ids
    """(k,) uint64 object of the later time point."""
    volume_um3: Floats
    """(k,) float64 volume of the shared voxels in µm³."""


@dataclass(frozen=True, eq=False)
class Pair:
    """The events that may happen between two consecutive time points, and what each costs.

    Links ascend by (source, target), divisions by (mother, first, second) with first < second; each occurs once.
    """

    links: Indices
    """(k, 2) int64 rows (source, target)."""
    link_cost: Floats
    """(k,) float64."""
    divisions: Indices
    """(d, 3) int64 rows (mother, first daughter, second daughter)."""
    division_cost: Floats
    """(d,) float64."""
    disappearance: Floats
    """(n,) float64 cost that each detection of the earlier time point is not there any more."""
    appearance: Floats
    """(m,) float64 cost that each detection of the later time point was not there before."""
    scale_um: float
    """What distances were divided by, in µm."""


@dataclass(frozen=True, eq=False)
class Choice:
    """The detections of one time point may be left out: what each costs if it is taken, and which exclude each other.

    Where there is no :class:`Choice` for a time point, all its detections are taken.
    """

    cost: Floats
    """(n,) float64 cost of taking each detection; negative rewards."""
    conflict: Indices
    """(c,) int64 number of a set of which at most one may be taken, ascending from 0."""
    member: Indices
    """(c,) int64 a detection in that set."""


@dataclass(frozen=True, eq=False)
class Events:
    """What was chosen in a pair; detections in no event of it appear or disappear."""

    links: Indices
    """(k, 2) int64 rows (source, target), ascending."""
    divisions: Indices
    """(d, 3) int64 rows (mother, first daughter, second daughter), ascending."""


@dataclass(frozen=True, eq=False)
class Solution:
    """What was chosen in a run of time points."""

    selected: tuple[Flags, ...]
    """For each time point (n,) bool, whether each detection is taken."""
    events: tuple[Events, ...]
    """For each pair; one fewer than time points."""


def no_events() -> Events:
    """Nothing happened."""
    return Events(np.empty((0, 2), np.int64), np.empty((0, 3), np.int64))
