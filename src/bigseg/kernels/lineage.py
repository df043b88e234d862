"""Lineages: when tracks begin and end, and which track each of them comes from.

A track is one object over time, with one label at all time points. This is the table of the Cell Tracking Challenge
(label, begin, end, parent).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.uint64]
Times = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Lineage:
    """A table of tracks, ascending by ``track``, each once.

    Raises:
        ValueError: a track is 0 or occurs twice, ends before it starts, or its parent is no track or does not end
            before it starts.
    """

    track: Ids
    """(n,) uint64 label."""
    parent: Ids
    """(n,) uint64 label of the track that it comes from, 0 for none."""
    start: Times
    """(n,) int64 first time point."""
    end: Times
    """(n,) int64 last time point."""

    def __post_init__(self) -> None:
        """Sort and check."""
        order = np.argsort(self.track, kind="stable")
        for name, dtype in (("track", np.uint64), ("parent", np.uint64), ("start", np.int64), ("end", np.int64)):
            object.__setattr__(self, name, np.asarray(getattr(self, name)).astype(dtype)[order])
        track, parent = self.track, self.parent
        if track.size and track[0] == 0:
            raise ValueError("there is a track 0, which is the background")
        if (twice := np.flatnonzero(track[1:] == track[:-1])).size:
            raise ValueError(f"track {track[twice[0]]} occurs twice")
        if (wrong := np.flatnonzero(self.end < self.start)).size:
            raise ValueError(f"track {track[wrong[0]]} ends ({self.end[wrong[0]]}) before it starts")
        child = np.flatnonzero(parent)
        place = self.rows(parent[child])
        if (lost := np.flatnonzero(place < 0)).size:
            row = child[lost[0]]
            raise ValueError(f"the parent {parent[row]} of track {track[row]} is no track")
        if (late := np.flatnonzero(self.end[place] >= self.start[child])).size:
            row = child[late[0]]
            raise ValueError(
                f"track {track[row]} starts at {self.start[row]}, but its parent {parent[row]} ends at "
                f"{self.end[place[late[0]]]}"
            )

    @property
    def number_of_tracks(self) -> int:
        """Rows of the table."""
        return int(self.track.size)

    def rows(self, labels: Ids) -> npt.NDArray[np.intp]:
        """The row of each label, -1 for one that is no track."""
        if self.track.size == 0:
            return np.full(labels.shape, -1, np.intp)
        place = np.minimum(np.searchsorted(self.track, labels), self.track.size - 1)
        return np.where(self.track[place] == labels, place, -1)

    def mothers(self) -> Ids:
        """The tracks that divide: those from which two or more come, ascending."""
        found, count = np.unique(self.parent[self.parent != 0], return_counts=True)
        return np.asarray(found[count > 1], np.uint64)


def appearing(labels: Iterable[tuple[int, Ids]]) -> Lineage:
    """The tracks of labels that persist in time, without parents.

    Args:
        labels: time point and the distinct labels there, 0 or not, in any order.
    """
    parts = [(np.full(found.shape, time, np.int64), found.astype(np.uint64)) for time, found in labels]
    times = np.concatenate([part[0] for part in parts]) if parts else np.empty(0, np.int64)
    found = np.concatenate([part[1] for part in parts]) if parts else np.empty(0, np.uint64)
    track, inverse = np.unique(found[found != 0], return_inverse=True)
    start, end = np.full(track.size, np.iinfo(np.int64).max), np.full(track.size, -1, np.int64)
    np.minimum.at(start, inverse, times[found != 0])
    np.maximum.at(end, inverse, times[found != 0])
    return Lineage(track, np.zeros(track.size, np.uint64), start, end)


def restrict(lineage: Lineage, seen: Lineage) -> Lineage:
    """The lineage of what is seen of it, e.g. in a part of the volume or at some of the time points.

    Args:
        lineage: the whole one.
        seen: when tracks are seen (:func:`appearing`).

    Returns:
        The tracks of ``seen`` as long as they are seen, each with its parent in ``lineage`` where that is seen too.

    Raises:
        ValueError: a track that is seen is not in ``lineage``.
    """
    place = lineage.rows(seen.track)
    if (unknown := np.flatnonzero(place < 0)).size:
        raise ValueError(f"the lineage has no track {seen.track[unknown[0]]}, and there are such labels")
    parent = lineage.parent[place]
    return Lineage(seen.track, np.where(seen.rows(parent) >= 0, parent, np.uint64(0)), seen.start, seen.end)


def check_agreement(lineage: Lineage, seen: Lineage) -> None:
    """Refuse a lineage that tells of other tracks than the labels.

    Raises:
        ValueError: it names a track that there is not, lacks one, or gives another first or last time point.
    """
    if (extra := np.setdiff1d(lineage.track, seen.track)).size:
        raise ValueError(f"the lineage has track {extra[0]}, and there are no such labels")
    if (lost := np.setdiff1d(seen.track, lineage.track)).size:
        raise ValueError(f"the lineage has no track {lost[0]}, and there are such labels")
    for name in ("start", "end"):
        stated, found = getattr(lineage, name), getattr(seen, name)
        if (other := np.flatnonzero(stated != found)).size:
            row = other[0]
            raise ValueError(
                f"by the lineage the {name} of track {lineage.track[row]} is {stated[row]}, by the labels {found[row]}"
            )
