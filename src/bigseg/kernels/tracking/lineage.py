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
class LineagesSoFar:
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


def begin(time: int, selected: Flags) -> LineagesSoFar:
    """The lineage of a movie of one time point.

    Args:
        time: the time point.
        selected: (n,) bool the detections that are taken.
    """
    number = int(selected.sum())
    current = np.zeros(len(selected), np.uint32)
    current[selected] = np.arange(1, number + 1)
    times = np.full(number, time, np.int64)
    return LineagesSoFar(current, np.zeros(number, np.uint32), np.zeros(number, np.uint32), times, times.copy())


def extend(lineage: LineagesSoFar, time: int, selected: Flags, events: Events) -> LineagesSoFar:
    """The lineage with the next time point.

    Args:
        lineage: up to the time point before.
        time: the next time point.
        selected: (n,) bool the detections that are taken there.
        events: what was chosen between the two.

    Raises:
        ValueError: the events and what is taken contradict each other.
    """
    mothers = events.divisions[:, 0]
    _check_once(np.concatenate([events.links[:, 0], mothers]), lineage.current > 0, "earlier")
    _check_once(np.concatenate([events.links[:, 1], events.divisions[:, 1:].ravel()]), selected, "later")
    current = np.zeros(len(selected), np.uint32)
    current[events.links[:, 1]] = lineage.current[events.links[:, 0]]
    parent = np.zeros(len(selected), np.uint32)
    parent[events.divisions[:, 1:]] = lineage.current[mothers, None]
    end = lineage.end.copy()
    end[lineage.current[events.links[:, 0]].astype(np.int64) - 1] = time
    new = np.flatnonzero(selected & (current == 0))
    known = len(lineage.parent)
    if known + len(new) > np.iinfo(np.uint32).max:
        raise ValueError(f"{known + len(new)} tracks are more than 32 bits can number")
    current[new] = np.arange(known + 1, known + 1 + len(new))
    generation = np.where(parent[new] > 0, np.append(lineage.generation, 0)[parent[new].astype(np.int64) - 1] + 1, 0)
    times = np.full(len(new), time, np.int64)
    return LineagesSoFar(
        current,
        np.concatenate([lineage.parent, parent[new]]),
        np.concatenate([lineage.generation, generation.astype(np.uint32)]),
        np.concatenate([lineage.start, times]),
        np.concatenate([end, times]),
    )


def lineage_of(times: Sequence[int], solution: Solution) -> tuple[list[Tracks], LineagesSoFar]:
    """Track of each detection of each time point, and the lineage of the whole movie.

    Args:
        times: the time points, ascending.
        solution: what was chosen.
    """
    lineage = begin(times[0], solution.selected[0])
    tracks = [lineage.current]
    for time, selected, events in zip(times[1:], solution.selected[1:], solution.events, strict=True):
        lineage = extend(lineage, time, selected, events)
        tracks.append(lineage.current)
    return tracks, lineage


def _check_once(used: Indices, taken: Flags, which: str) -> None:
    count = np.bincount(used, minlength=len(taken))
    if len(count) > len(taken) or (count > taken).any():
        raise ValueError(f"a detection of the {which} time point is in two events, or in one though it is not taken")
