"""The tracks of a result of bigseg, written in the formats of other programs."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bigseg.errors import UserError
from bigseg.layout import TRACKS_KEY
from bigseg.tracks.table import read_tracks, tracks_beside
from bigseg.volumes.tables import Table


def _columns(result: Path) -> Table:
    """The table of tracks that belongs to a result.

    Raises:
        UserError: it is missing or damaged, or the result is of a later run without tracking.
    """
    listed = result / "labels" / "zarr.json"
    if listed.is_file():
        told = json.loads(listed.read_text(encoding="utf-8")).get("attributes", {}).get("ome", {}).get("labels", [])
        if "tracks" not in told:
            raise UserError(
                f"{listed} lists no tracks: those beside it are older than the result, or this one is not complete",
                "tracks need two time points or more; switch tracking on (`track.method`) and run snakemake to its end",
            )
    return read_tracks(tracks_beside(result))


def export_ctc(result: Path, output: Path, *, masks: bool, overwrite: bool) -> int:
    """Write a folder of the Cell Tracking Challenge; see :func:`bigseg.tracks.ctc.write_folder`.

    Args:
        result: OME-Zarr of a sample, beside whose folder of tables it lies.
        output: folder to write.
        masks: whether the label images are written.
        overwrite: whether a folder that is there is replaced.

    Returns:
        The number of tracks.

    Raises:
        UserError: there are no tracks, the format cannot hold them, or it cannot be written.
    """
    from bigseg.config.samples import Input
    from bigseg.tracks.ctc import write_folder
    from bigseg.volumes.source import open_source

    columns = _columns(result)
    if not masks:
        return write_folder(output, columns, None, overwrite=overwrite)
    with open_source(Input(path=str(result), key=TRACKS_KEY)) as labels:
        return write_folder(output, columns, labels, overwrite=overwrite)


def export_geff(result: Path, output: Path, *, overwrite: bool) -> int:
    """Write a GEFF; see :func:`bigseg.tracks.geff.write_geff`. Arguments as :func:`export_ctc`."""
    from bigseg.tracks.geff import write_geff

    labels = result / TRACKS_KEY
    relative = os.path.relpath(labels, output) if labels.is_dir() else None
    return write_geff(output, _columns(result), relative, overwrite=overwrite)


def export_napari(result: Path, output: Path, *, overwrite: bool) -> int:
    """Write a table for napari; see :func:`bigseg.tracks.napari.write_napari`. Arguments as :func:`export_ctc`."""
    from bigseg.tracks.napari import write_napari

    return write_napari(output, _columns(result), overwrite=overwrite)
