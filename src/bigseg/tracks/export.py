"""The tracks of a result of bigseg, written in the formats of other programs."""

from __future__ import annotations

import os
from pathlib import Path

from bigseg.layout import TRACKS_KEY
from bigseg.tracks.table import read_tracks, tracks_beside


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

    columns = read_tracks(tracks_beside(result))
    if not masks:
        return write_folder(output, columns, None, overwrite=overwrite)
    with open_source(Input(path=str(result), key=TRACKS_KEY)) as labels:
        return write_folder(output, columns, labels, overwrite=overwrite)


def export_geff(result: Path, output: Path, *, overwrite: bool) -> int:
    """Write a GEFF; see :func:`bigseg.tracks.geff.write_geff`. Arguments as :func:`export_ctc`."""
    from bigseg.tracks.geff import write_geff

    labels = result / TRACKS_KEY
    relative = os.path.relpath(labels, output) if labels.is_dir() else None
    return write_geff(output, read_tracks(tracks_beside(result)), relative, overwrite=overwrite)


def export_napari(result: Path, output: Path, *, overwrite: bool) -> int:
    """Write a table for napari; see :func:`bigseg.tracks.napari.write_napari`. Arguments as :func:`export_ctc`."""
    from bigseg.tracks.napari import write_napari

    return write_napari(output, read_tracks(tracks_beside(result)), overwrite=overwrite)
