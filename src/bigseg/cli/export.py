"""``bigseg export``: labels and tracks in the formats of other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bigseg.errors import UserError


class Format(StrEnum):
    """What is written."""

    tiff = "tiff"
    ctc = "ctc"
    geff = "geff"
    napari = "napari"


def export(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="Result of bigseg, results/<sample>.ome.zarr.")],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT",
            help="What to write: a file FILE.tif, a folder (ctc), a folder FOLDER.geff, or a file FILE.csv (napari).",
        ),
    ],
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="tiff: labels as ImageJ TIFF. Of tracks: ctc, a folder of the Cell Tracking Challenge (res_track.txt, "
            "mask000.tif, …); geff, a graph as Zarr; napari, positions in µm as CSV, and beside it the parents as "
            ".graph.json.",
        ),
    ] = Format.tiff,
    labels: Annotated[
        str | None, typer.Option(help="tiff: name of the label image.", show_default="segmentation")
    ] = None,
    time: Annotated[int | None, typer.Option(min=0, help="tiff: time point; all if left out.")] = None,
    masks: Annotated[
        bool | None,
        typer.Option(
            "--masks/--without-masks", help="ctc: with the label images, or only the text.", show_default="--masks"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUTPUT if it exists.")] = False,
) -> None:
    """Write labels as TIFF, or tracks in the formats of other programs.

    TIFF: small consecutive ids (1, 2, 3, …), other ones at each time point unless the labels are tracks; 16 bit where
    the ids fit, else 32 bit. Tracks: those of results/<sample>/tracks.parquet. Label images are written plane by plane,
    so no volume need fit in memory. OUTPUT is there whole or not at all.
    """
    chosen = {"--labels": labels, "--time": time} if form is not Format.tiff else {}
    chosen |= {"--masks": masks} if form is not Format.ctc else {}
    for option, value in chosen.items():
        if value is not None:
            raise UserError(f"{option}: means nothing with --format {form}", "leave it out, see `bigseg export --help`")
    if form is Format.tiff:
        from bigseg.volumes.tiff_export import export_labels

        count = export_labels(result, output, labels or "segmentation", time, overwrite=overwrite)
        typer.echo(f"{output}: {count} objects", err=True)
        return

    from bigseg.tracks.export import export_ctc, export_geff, export_napari

    if form is Format.ctc:
        count = export_ctc(result, output, masks=masks is not False, overwrite=overwrite)
    elif form is Format.geff:
        count = export_geff(result, output, overwrite=overwrite)
    else:
        count = export_napari(result, output, overwrite=overwrite)
    typer.echo(f"{output}: {count} tracks", err=True)
