"""From what was chosen in the windows to the table of tracks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bigseg.geometry.movie import Seam, Window
from bigseg.kernels.tracking.lineage import LineagesSoFar, begin, extend
from bigseg.kernels.tracking.model import Events, Flags, Solution, no_events
from bigseg.layout import Layout
from bigseg.stages.step import Parameters
from bigseg.stages.track.settings import NESTED
from bigseg.stages.track.tables import solution_of
from bigseg.stages.track.windows import solution_paths
from bigseg.volumes.tables import Table, read_table


def by_windows(
    layout: Layout, parameters: Parameters, windows: Sequence[Window], seams: Sequence[Seam]
) -> tuple[Table, list[Table]]:
    """The table of tracks (``tracks.parquet``) and for each time point the track of each object of ``segment``.

    One time point after the other is read; what is kept is the table itself.
    """
    times: list[int] = parameters["times"]
    nested = parameters["method"] in NESTED
    lineage: LineagesSoFar | None = None
    rows: list[Table] = []
    names: list[Table] = []
    for time, (selected, events) in zip(times, _chosen(layout, windows, seams), strict=True):
        lineage = begin(time, selected) if lineage is None else extend(lineage, time, selected, events)
        found = read_table(layout.table("track", "candidates" if nested else "fragments", time))
        rows.append(_rows(time, found, lineage.current))
        names.append(_nested_names(layout, time, lineage.current) if nested else _names(found["id"], lineage.current))
    if lineage is None:
        raise ValueError("a movie has time points")
    return tracks_table(rows, lineage), names


def tracks_table(rows: Sequence[Table], lineage: LineagesSoFar) -> Table:
    """The rows of all time points with what the lineage says of their tracks, ascending by (time, track)."""
    table = {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
    place = table["track"].astype(np.int64) - 1
    return {
        "time": table["time"],
        "object": table["object"],
        "track": table["track"],
        "parent": lineage.parent[place],
        "generation": lineage.generation[place].astype(np.uint16),
        "start": lineage.start[place].astype(np.int32),
        "end": lineage.end[place].astype(np.int32),
        **{name: table[name] for name in ("z_um", "y_um", "x_um", "volume_um3")},
    }


def _chosen(layout: Layout, windows: Sequence[Window], seams: Sequence[Seam]) -> Iterator[tuple[Flags, Events]]:
    """For each time point what is taken, and the events between it and the one before.

    Around a seam what was solved there counts; at its two ends it agrees with the windows.
    """

    @lru_cache(maxsize=2)
    def solution(step: str, piece: int, length: int) -> Solution:
        events, taken = solution_paths(layout, step, piece)
        return solution_of(read_table(events), read_table(taken), length)

    for number, window in enumerate(windows):
        for position in range(window.begin, window.end):
            across = next((n for n, s in enumerate(seams) if s.first < position < s.last), None)
            if across is None:
                found, at = solution("windows", number, window.end - window.begin), position - window.begin
            else:
                seam = seams[across]
                found, at = solution("seams", across, seam.last - seam.first), position - seam.first
            yield found.selected[at], found.events[at - 1] if position else no_events()


def _rows(time: int, found: Table, tracks: NDArray[np.uint32]) -> Table:
    """The rows of a time point, ascending by track."""
    taken = np.flatnonzero(tracks)
    taken = taken[np.argsort(tracks[taken])]
    return {
        "time": np.full(len(taken), time, np.int32),
        "object": found["object" if "object" in found else "id"][taken],
        "track": tracks[taken],
        **{name: found[name][taken] for name in ("z_um", "y_um", "x_um", "volume_um3")},
    }


def _names(ids: NDArray[np.uint64], tracks: NDArray[np.uint32]) -> Table:
    """The track of each object, ascending by object."""
    return {"id": ids, "track": tracks}


def _nested_names(layout: Layout, time: int, tracks: NDArray[np.uint32]) -> Table:
    """The track of each fragment, by the candidate that was taken of those that contain it."""
    fragments = read_table(layout.table("track", "fragments", time), ["id"])["id"]
    nesting = read_table(layout.table("track", "nesting", time))
    named = np.zeros(len(fragments), np.uint32)
    taken = tracks[nesting["candidate"]] > 0
    named[nesting["leaf"][taken]] = tracks[nesting["candidate"][taken]]
    return _names(fragments, named)
