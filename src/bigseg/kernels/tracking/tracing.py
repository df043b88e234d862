"""Tracing: tracks from chosen events, one time point after the other.

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

from bigseg.kernels.tracking.model import Events, Flags, Indices, Solution, no_events

Tracks = NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Traced:
    """The detections of a time point with the tracks that they are part of; all 0 for one that is not taken."""

    track: Tracks
    """(n,) uint32 track of each detection."""
    parent: Tracks
    """(n,) uint32 track that divided into it, 0 if none."""
    generation: NDArray[np.uint32]
    """(n,) uint32 divisions between it and the first track of its lineage."""
    start: Indices
    """(n,) int64 first time point of the track."""
    number: int
    """Tracks so far, also those that have ended."""


def begin(time: int, selected: Flags) -> Traced:
    """The tracks of the first time point.

    Args:
        time: the time point.
        selected: (n,) bool the detections that are taken.
    """
    nothing = Traced(np.zeros(0, np.uint32), np.zeros(0, np.uint32), np.zeros(0, np.uint32), np.zeros(0, np.int64), 0)
    return extend(nothing, time, selected, no_events())


def extend(before: Traced, time: int, selected: Flags, events: Events) -> Traced:
    """The tracks of the next time point.

    Args:
        before: those of the time point before.
        time: the next time point.
        selected: (n,) bool the detections that are taken there.
        events: what was chosen between the two.

    Raises:
        ValueError: the events and what is taken contradict each other.
    """
    sources, targets = events.links.T
    mothers, daughters = events.divisions[:, 0], events.divisions[:, 1:]
    _check_once(np.concatenate([sources, mothers]), before.track > 0, "earlier")
    _check_once(np.concatenate([targets, daughters.ravel()]), selected, "later")
    track, parent, generation = (np.zeros(len(selected), np.uint32) for _ in range(3))
    start = np.zeros(len(selected), np.int64)
    for now, then in ((track, before.track), (parent, before.parent), (generation, before.generation)):
        now[targets] = then[sources]
    start[targets] = before.start[sources]
    parent[daughters] = before.track[mothers, None]
    generation[daughters] = before.generation[mothers, None] + 1
    new = np.flatnonzero(selected & (track == 0))
    if before.number + len(new) > np.iinfo(np.uint32).max:
        raise ValueError(f"{before.number + len(new)} tracks are more than 32 bits can number")
    track[new] = np.arange(before.number + 1, before.number + 1 + len(new))
    start[new] = time
    return Traced(track, parent, generation, start, before.number + len(new))


def trace(times: Sequence[int], solution: Solution) -> list[Traced]:
    """The tracks of each time point of a movie.

    Args:
        times: the time points, ascending.
        solution: what was chosen.
    """
    traced = [begin(times[0], solution.selected[0])]
    for time, selected, events in zip(times[1:], solution.selected[1:], solution.events, strict=True):
        traced.append(extend(traced[-1], time, selected, events))
    return traced


def _check_once(used: Indices, taken: Flags, which: str) -> None:
    count = np.bincount(used, minlength=len(taken))
    if len(count) > len(taken) or (count > taken).any():
        raise ValueError(f"a detection of the {which} time point is in two events, or in one though it is not taken")
