"""Nested candidate objects of method ``joint``: their tables, and what taking one costs."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.kernels.tracking.hierarchy import (
    Hierarchy,
    Limits,
    build,
    candidate_overlaps,
    choice,
    spacing_um,
    weigh,
    weights,
)
from bigseg.kernels.tracking.model import Choice, Overlaps, Pair
from bigseg.layout import Layout
from bigseg.stages.track.tables import boundary_of, detection_columns, detections_of
from bigseg.volumes.tables import Table, read_table

_LARGEST_CLUSTER = 20
"""Largest candidate, in volumes of the fragment in which the median voxel lies: more pieces than cells come in."""


def hierarchy_tables(fragments: Table, contacts: Table, settings: dict[str, Any]) -> dict[str, Table]:
    """The tables of the candidates of a time point.

    Args:
        fragments: table of :func:`bigseg.stages.track.tables.fragments_of`.
        contacts: columns of :class:`bigseg.kernels.small_objects.Contacts`.
        settings: section ``track.joint``.

    Returns:
        ``candidates``, one row each, and ``nesting``, each fragment with the candidates that contain it.
    """
    told = {field.name: settings[field.name] for field in fields(Limits)}
    limits = Limits(**{**told, "maximum_volume_um3": _largest(told["maximum_volume_um3"], fragments["volume_um3"])})
    found = build(
        detections_of(fragments), contacts["u"], contacts["v"], contacts["count"], boundary_of(contacts), limits
    )
    smallest = np.full(len(found.parent), len(fragments["id"]), np.int64)
    np.minimum.at(smallest, found.candidate, found.leaf)
    return {
        "candidates": {
            **detection_columns(found.detections),
            "object": fragments["id"][smallest],
            "parent": found.parent,
            "height": found.height,
            "parent_height": found.parent_height,
        },
        "nesting": {"leaf": found.leaf, "candidate": found.candidate},
    }


def _largest(told: float | str | None, volumes: NDArray[np.float64]) -> float:
    """The largest volume of a candidate.

    What all merges to in the end has nothing left to be merged with, so it seems to persist: in a dense tissue it would
    outweigh all cells.
    """
    if told is None or not len(volumes):
        return np.inf
    if told != "auto":
        return float(told)
    ascending = np.sort(volumes)
    total = np.cumsum(ascending)
    return float(_LARGEST_CLUSTER * ascending[np.searchsorted(total, total[-1] / 2)])


def read_hierarchy(layout: Layout, time: int) -> Hierarchy:
    """The candidates of a time point.

    Raises:
        UserError: a table is missing or damaged.
    """
    candidates, nesting = (read_table(layout.table("track", name, time)) for name in ("candidates", "nesting"))
    return Hierarchy(
        detections_of(candidates),
        candidates["parent"],
        candidates["height"],
        candidates["parent_height"],
        nesting["leaf"],
        nesting["candidate"],
    )


def read_choice(layout: Layout, time: int, settings: dict[str, Any]) -> Choice:
    """What taking each candidate of a time point costs, and which exclude each other.

    Raises:
        UserError: a table is missing or damaged.
    """
    hierarchy = read_hierarchy(layout, time)
    weight = _weights(layout, time, hierarchy)
    return choice(hierarchy, weight, cover=settings["cover"], persistence=settings["persistence"])


def nested_overlaps(layout: Layout, times: tuple[int, int], shared: Overlaps) -> Overlaps:
    """Overlaps of the candidates of two time points, from those of their fragments."""
    before, after = (read_table(layout.table("track", "fragments", time), ["id"])["id"] for time in times)
    one, other = (read_hierarchy(layout, time) for time in times)
    return candidate_overlaps(one, other, shared, (before, after))


def nested_spacing(layout: Layout, times: tuple[int, int]) -> float | None:
    """The scale of distances between the candidates of two time points, in µm."""
    return spacing_um(*(read_hierarchy(layout, time) for time in times))


def weighed(layout: Layout, times: tuple[int, int], pair: Pair) -> Pair:
    """The pair with each event's cost multiplied by the weight of what takes part in it."""
    one, other = (_weights(layout, time, read_hierarchy(layout, time)) for time in times)
    return weigh(pair, one, other)


def _weights(layout: Layout, time: int, hierarchy: Hierarchy) -> NDArray[np.float64]:
    """Weights of candidates, in units of the median fragment of their own time point."""
    volumes = read_table(layout.table("track", "fragments", time), ["volume_um3"])["volume_um3"]
    return weights(hierarchy, float(np.median(volumes)) if len(volumes) else 1.0)
