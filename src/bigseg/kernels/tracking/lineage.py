"""Tracks and lineages from chosen events, one time point after the other.

A track goes on through links; a division ends the mother's track and begins two. Tracks are numbered from 1 in the
order of (first time point, id of the first detection), so time points that are added at the end leave the numbers of
earlier tracks alone. :func:`begin` and :func:`extend` need the previous time point only, so a movie may be read part by
part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigseg.kernels.tracking.model import Events, Flags, Indices, Solution

Tracks = NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Lineage:
    """All tracks so far; row k is track k + 1."""

    current: Tracks
    """(n,) uint32 track of each detection of the last time point, 0 if it is not taken."""
    parent: Tracks
    """(m,) uint32 track that divided into it, 0 if none."""
    generation: NDArray[np.uint32]
    """(m,) uint32 divisions between it and the first track of its lineage."""
    start: Indices
    """(m,) int64 first time point."""
    end: Indices
    """(m,) int64 last time point."""


def begin(time: int, selected: Flags) -> Lineage:
    """The lineage of a movie of one time point.

    Args:
        time: the time point.
        selected: (n,) bool the detections that are taken.
    """
    raise NotImplementedError


def extend(lineage: Lineage, time: int, selected: Flags, events: Events) -> Lineage:
    """The lineage with the next time point.

    Args:
        lineage: up to the time point before.
        time: the next time point.
        selected: (n,) bool the detections that are taken there.
        events: what was chosen between the two.

    Raises:
        ValueError: the events and what is taken contradict each other.
    """
    raise NotImplementedError


def lineage_of(times: Sequence[int], solution: Solution) -> tuple[list[Tracks], Lineage]:
    """Track of each detection of each time point, and the lineage of the whole movie.

    Args:
        times: the time points, ascending.
        solution: what was chosen.
    """
    raise NotImplementedError
