"""Tracks as GEFF, the graph exchange file format: a graph as Zarr, which many tracking programs read.

Nodes are the rows of the table. An edge links a row to the next one of its track, and the last row of a track to the
first of each track that comes from it. Axes are time (in time points) and z, y, x in µm.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bigseg.errors import UserError
from bigseg.resume.files import replacing_folder
from bigseg.tracks.table import lineage_of

_PROPERTIES = {
    "t": "time",
    "z": "z_um",
    "y": "y_um",
    "x": "x_um",
    "track": "track",
    "object": "object",
    "generation": "generation",
    "volume_um3": "volume_um3",
}
"""Names of the properties of a node, and the columns that they are."""


def write_geff(path: Path, columns: Mapping[str, np.ndarray], labels: str | None = None, *, overwrite: bool) -> int:
    """Write tracks as GEFF, whole or not at all.

    Args:
        path: folder to write, Zarr v2, which all readers know.
        columns: a table of tracks.
        labels: path, relative to ``path``, of a label image of the tracks.
        overwrite: whether an existing GEFF is replaced.

    Returns:
        The number of tracks.

    Raises:
        UserError: the folder exists, or cannot be written.
    """
    from geff.core_io import write_arrays
    from geff_spec import Axis, GeffMetadata, RelatedObject

    if path.exists() and not (overwrite and (path / ".zattrs").is_file() and (path / "nodes").is_dir()):
        remedy = "choose another name" if overwrite else "choose another name, or give --overwrite"
        raise UserError(f"{path}: exists already{' and is no GEFF' if overwrite else ''}", remedy)
    lineage = lineage_of(columns)
    edges, single = _edges(columns)
    properties = {name: {"values": columns[column], "missing": None} for name, column in _PROPERTIES.items()}
    properties["lineage"] = {"values": _founders(columns), "missing": None}
    axes = [Axis(name="t", type="time", unit="frame")]
    axes += [Axis(name=name, type="space", unit="micrometer") for name in "zyx"]
    # By the definition of a tracklet, a track that another one simply continues would be part of it.
    named = {"lineage": "lineage"} if single else {"lineage": "lineage", "tracklet": "track"}
    metadata = GeffMetadata(
        directed=True,
        axes=axes,
        node_props_metadata={},
        edge_props_metadata={},
        track_node_props=named,
        related_objects=None if labels is None else [RelatedObject(type="labels", path=labels, node_prop="track")],
    )
    with replacing_folder(path) as temporary:
        nodes = np.arange(len(columns["time"]), dtype=np.uint64)
        write_arrays(temporary, nodes, properties, edges, None, metadata, zarr_format=2)
    return lineage.number_of_tracks


def _edges(columns: Mapping[str, np.ndarray]) -> tuple[npt.NDArray[np.uint64], bool]:
    """Edges (n, 2) between rows, and whether a track has another one as its only successor."""
    track = columns["track"]
    order = np.argsort(track, kind="stable")  # of each track its rows in time
    same = np.flatnonzero(track[order][1:] == track[order][:-1])
    names, first, count = np.unique(track[order], return_index=True, return_counts=True)
    parent = columns["parent"][order][first]
    child = np.flatnonzero(parent)
    mother = np.searchsorted(names, parent[child])
    begin = np.concatenate([order[same], order[(first + count - 1)[mother]]])
    end = np.concatenate([order[same + 1], order[first[child]]])
    single = bool((np.bincount(mother) == 1).any())
    return np.stack([begin, end], axis=1).astype(np.uint64), single


def _founders(columns: Mapping[str, np.ndarray]) -> npt.NDArray[np.uint32]:
    """The track without a parent from which the track of each row comes."""
    lineage = lineage_of(columns)
    founder = lineage.track.copy()
    # Parents start before their daughters, so in the order of starts each is known before it is asked for.
    for row in np.argsort(lineage.start, kind="stable").tolist():
        if lineage.parent[row]:
            founder[row] = founder[lineage.rows(lineage.parent[row : row + 1])[0]]
    return founder[lineage.rows(columns["track"].astype(np.uint64))].astype(np.uint32)
