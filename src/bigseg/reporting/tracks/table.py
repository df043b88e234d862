"""The table of tracks, as the pictures need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bigseg.layout import Layout
from bigseg.volumes.tables import Table, read_table

Rows = NDArray[np.int64]
"""Tracks by their row, one less than their number."""

_POSITION = ("z_um", "y_um", "x_um")
_COLUMNS = ("time", "track", "parent", "start", "end", *_POSITION, "volume_um3")


@dataclass(frozen=True, eq=False)
class Tracks:
    """All tracks of a movie; row k is track k + 1.

    Attributes:
        times: (m,) int64 time points of the movie, ascending.
        parent: (n,) row of the track that divided into it, -1 if none.
        first: (n,) position in ``times`` of the first time point.
        last: (n,) likewise of the last one.
        points: one row per object: ``time``, ``track``, ``z_um``, ``y_um``, ``x_um``, ``volume_um3``.
    """

    times: Rows
    parent: Rows
    first: Rows
    last: Rows
    points: Table

    def __len__(self) -> int:
        """Number of tracks."""
        return len(self.parent)

    @property
    def length(self) -> Rows:
        """(n,) time points of each track."""
        return self.last - self.first + 1

    @cached_property
    def mothers(self) -> Rows:
        """Rows of the tracks that divide, ascending."""
        return np.unique(self.parent[self.parent >= 0])

    @cached_property
    def root(self) -> Rows:
        """(n,) row of the first track of each one's lineage."""
        root = np.where(self.parent < 0, np.arange(len(self)), self.parent)
        while (root[root] != root).any():
            root = root[root]
        return root

    def daughters(self, row: int) -> Rows:
        """Rows of the tracks that a track divides into, ascending; empty if it does not divide."""
        begin, end = np.searchsorted(self._parents_in_order, [row, row + 1])
        return self._by_parent[begin:end]

    @property
    def begins_inside(self) -> NDArray[np.bool_]:
        """(n,) whether a track begins after the first time point, and by no division."""
        return (self.parent < 0) & (self.first > 0)

    @property
    def ends_inside(self) -> NDArray[np.bool_]:
        """(n,) whether a track ends before the last time point, and by no division."""
        ends = self.last < len(self.times) - 1
        ends[self.mothers] = False
        return ends

    @cached_property
    def _by_parent(self) -> Rows:
        return np.argsort(self.parent, kind="stable")

    @cached_property
    def _parents_in_order(self) -> Rows:
        return self.parent[self._by_parent]


def read_tracks(layout: Layout, times: Sequence[int]) -> Tracks:
    """The tracks of a finished movie.

    Args:
        layout: folders of the sample.
        times: its time points, ascending.

    Raises:
        UserError: ``tracks.parquet`` is missing or damaged.
    """
    return tracks_of(read_table(layout.track_table, _COLUMNS), times)


def tracks_of(table: Table, times: Sequence[int]) -> Tracks:
    """The tracks in a table like ``tracks.parquet``; they are numbered from 1 without a gap."""
    order = np.asarray(times, np.int64)
    _, at = np.unique(table["track"], return_index=True)
    return Tracks(
        order,
        table["parent"][at].astype(np.int64) - 1,
        np.searchsorted(order, table["start"][at]),
        np.searchsorted(order, table["end"][at]),
        {name: table[name] for name in ("time", "track", *_POSITION, "volume_um3")},
    )
