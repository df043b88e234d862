"""Between the tables of the stage and what the kernels of tracking take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bigseg.geometry.box import Triple
from bigseg.kernels.tracking.model import Detections, Events, Flags, Floats, Overlaps, Pair, Solution
from bigseg.kernels.tracking.tracing import Traced
from bigseg.layout import Layout
from bigseg.volumes.tables import Table, read_table

POSITION = ("z_um", "y_um", "x_um")
"""Columns of a position."""

_LARGEST = 255.0
"""What the boundary map is at a boundary."""


def fragments_of(objects: pd.DataFrame, shape: Triple, voxel_size_um: tuple[float, float, float]) -> Table:
    """Positions, volumes and distances to the border from a table as of :func:`bigseg.kernels.objects.object_table`."""
    border = np.full(len(objects), np.inf)
    for axis, length, size in zip("zyx", shape, voxel_size_um, strict=True):
        if length > 1:  # the only plane of a 2D movie is no border
            low = objects[f"min_{axis}"].to_numpy()
            high = length - 1 - objects[f"max_{axis}"].to_numpy()
            border = np.minimum(border, np.minimum(low, high) * size)
    return {
        "id": objects["object"].to_numpy(),
        **{f"{axis}_um": objects[f"centroid_{axis}_um"].to_numpy() for axis in "zyx"},
        "volume_um3": objects["volume_um3"].to_numpy(),
        "border_um": border,
    }


def detections_of(table: Table) -> Detections:
    """Detections from a table of :func:`fragments_of`."""
    position = np.stack([table[name] for name in POSITION], axis=1).reshape(-1, 3)
    return Detections(table["id"], position, table["volume_um3"], table["border_um"])


def detection_columns(detections: Detections) -> Table:
    """The columns from which :func:`detections_of` makes detections."""
    position = dict(zip(POSITION, detections.position_um.T, strict=True))
    return {"id": detections.ids, **position, "volume_um3": detections.volume_um3, "border_um": detections.border_um}


def boundary_of(contacts: Table) -> Floats:
    """Mean of the boundary map along each contact, in [0, 1].

    Args:
        contacts: columns of :class:`bigseg.kernels.small_objects.Contacts`.
    """
    mean: Floats = contacts["outside"] / (_LARGEST * contacts["count"])
    return mean


def overlaps_of(table: Table, voxel_volume_um3: float) -> Overlaps:
    """Overlaps from a table of :func:`bigseg.kernels.tracking.overlaps.add_up_overlaps`."""
    return Overlaps(table["source"], table["target"], table["voxels"] * voxel_volume_um3)


def pair_tables(pair: Pair) -> dict[str, Table]:
    """The tables of a pair, by name; detections by their rows."""
    return {
        "links": {"source": pair.links[:, 0], "target": pair.links[:, 1], "cost": pair.link_cost},
        "divisions": {
            **dict(zip(("mother", "first", "second"), pair.divisions.T, strict=True)),
            "cost": pair.division_cost,
        },
        "disappearance": {"cost": pair.disappearance},
        "appearance": {"cost": pair.appearance},
        "scale": {"scale_um": np.array([pair.scale_um])},
    }


def read_pair(layout: Layout, time: int) -> Pair:
    """The candidate events between the time point before and ``time``.

    Raises:
        UserError: a table is missing or damaged.
    """
    links, divisions, disappearance, appearance, scale = (
        read_table(layout.table("track", name, time))
        for name in ("links", "divisions", "disappearance", "appearance", "scale")
    )
    return Pair(
        np.stack([links["source"], links["target"]], axis=1),
        links["cost"],
        np.stack([divisions[name] for name in ("mother", "first", "second")], axis=1),
        divisions["cost"],
        disappearance["cost"],
        appearance["cost"],
        float(scale["scale_um"][0]),
    )


def event_columns(events: Events) -> Table:
    """Chosen events of a pair: ``source``, ``target``, ``second``, where a link has no second target (-1)."""
    none = np.full(len(events.links), -1, np.int64)
    return {
        "source": np.concatenate([events.links[:, 0], events.divisions[:, 0]]),
        "target": np.concatenate([events.links[:, 1], events.divisions[:, 1]]),
        "second": np.concatenate([none, events.divisions[:, 2]]),
    }


def events_of(table: Table) -> Events:
    """Chosen events from a table of :func:`event_columns`."""
    link = table["second"] < 0
    return Events(
        np.stack([table["source"][link], table["target"][link]], axis=1),
        np.stack([table[name][~link] for name in ("source", "target", "second")], axis=1),
    )


def solution_tables(solution: Solution) -> tuple[Table, Table]:
    """What was chosen in a run of time points, which are known by their position in it.

    Returns:
        Events, as :func:`event_columns` with the position of the earlier time point (``at``); and for each detection
        of each time point (``at``) whether it is taken (``taken``).
    """
    columns = [event_columns(events) for events in solution.events]
    at = np.repeat(np.arange(len(columns)), [len(c["source"]) for c in columns])
    names = ("source", "target", "second")
    events = {name: np.concatenate([np.empty(0, np.int64), *(c[name] for c in columns)]) for name in names}
    sizes = [len(flags) for flags in solution.selected]
    taken = {
        "at": np.repeat(np.arange(len(sizes)), sizes),
        "taken": np.concatenate([np.empty(0, np.bool_), *solution.selected]),
    }
    return {"at": at, **events}, taken


def solution_of(events: Table, taken: Table, length: int) -> Solution:
    """What was chosen in a run of ``length`` time points, from the tables of :func:`solution_tables`."""
    names = ("source", "target", "second")
    rows = [np.flatnonzero(events["at"] == at) for at in range(length - 1)]
    chosen = tuple(events_of({name: events[name][row] for name in names}) for row in rows)
    return Solution(tuple(taken_at(taken, at) for at in range(length)), chosen)


def taken_at(taken: Table, at: int) -> Flags:
    """Whether each detection of the time point at a position of the run is taken."""
    return np.asarray(taken["taken"][taken["at"] == at], np.bool_)


def read_traced(layout: Layout, time: int) -> Traced:
    """The tracks of the detections of a time point.

    Raises:
        UserError: a table is missing or damaged.
    """
    table, numbered = (read_table(layout.table("track", name, time)) for name in ("lineages", "numbered"))
    return Traced(**table, number=int(numbered["tracks"][0]))


def track_rows(time: int, found: Table, traced: Traced) -> Table:
    """The rows of a time point in the table of tracks, ascending by track, but for the end of each.

    Args:
        time: the time point.
        found: its fragments or candidates.
        traced: the tracks of these.
    """
    taken = np.flatnonzero(traced.track)
    taken = taken[np.argsort(traced.track[taken])]
    return {
        "time": np.full(len(taken), time, np.int32),
        "object": found["object" if "object" in found else "id"][taken],
        "track": traced.track[taken],
        "parent": traced.parent[taken],
        "generation": traced.generation[taken].astype(np.uint16),
        "start": traced.start[taken].astype(np.int32),
        **{name: found[name][taken] for name in (*POSITION, "volume_um3")},
    }


def tracks_table(rows: Sequence[Table]) -> Table:
    """The table of tracks from the rows of all time points in their order, of which the first has the columns."""
    table = {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
    last = np.zeros(int(table["track"].max(initial=0)) + 1, np.int32)
    np.maximum.at(last, table["track"], table["time"])
    order = ("time", "object", "track", "parent", "generation", "start")
    return {
        **{name: table[name] for name in order},
        "end": last[table["track"]],
        **{name: table[name] for name in (*POSITION, "volume_um3")},
    }
