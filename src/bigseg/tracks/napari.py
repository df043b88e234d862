"""Tracks for napari's layer of tracks: a table of positions and a graph of parents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bigseg.errors import UserError
from bigseg.resume.files import replacing
from bigseg.tracks.table import lineage_of


def graph_beside(path: Path) -> Path:
    """The file of the graph that belongs to a table: ``tracks.csv`` and ``tracks.graph.json``."""
    return path.with_suffix(".graph.json")


def write_napari(path: Path, columns: Mapping[str, np.ndarray], *, overwrite: bool) -> int:
    """Write ``track_id,t,z,y,x`` as CSV, sorted by track and time, and the graph ``{child: [parent]}`` as JSON.

    t counts time points, z, y and x are µm: the coordinates in which napari shows an image whose layer has its voxel
    size as scale, as napari-ome-zarr opens it, so that the layer of tracks needs no scale.

    Args:
        path: of the CSV, which ends with ``.csv``.
        columns: a table of tracks.
        overwrite: whether existing files are replaced.

    Returns:
        The number of tracks.

    Raises:
        UserError: a file exists, has another ending, or cannot be written.
    """
    if path.suffix.lower() != ".csv":
        raise UserError(f"{path}: is no name of a CSV file", "end it with .csv")
    graph_path = graph_beside(path)
    for existing in (path, graph_path):
        if existing.exists() and not overwrite:
            raise UserError(f"{existing}: exists already", "choose another name, or give --overwrite")
    lineage = lineage_of(columns)
    graph = {int(track): [int(parent)] for track, parent in zip(lineage.track, lineage.parent, strict=True) if parent}
    order = np.argsort(columns["track"], kind="stable")
    rows = zip(*(columns[name][order].tolist() for name in ("track", "time", "z_um", "y_um", "x_um")), strict=True)
    with replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
        file.write("track_id,t,z,y,x\n")
        file.writelines(f"{track},{time},{z!r},{y!r},{x!r}\n" for track, time, z, y, x in rows)
    with replacing(graph_path) as temporary:
        temporary.write_text(json.dumps(graph) + "\n", encoding="ascii")
    return lineage.number_of_tracks
