"""``bigseg export``: labels as TIFF for programs that read no OME-Zarr."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="Result of bigseg, results/<sample>.ome.zarr.")],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="TIFF file to write.")],
    labels: Annotated[str, typer.Option(help="Name of the label image.")] = "segmentation",
    time: Annotated[int | None, typer.Option(min=0, help="Time point; all if left out.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUTPUT if it exists.")] = False,
) -> None:
    """Write labels as an ImageJ TIFF with small consecutive ids (1, 2, 3, …), other ones at each time point.

    Plane by plane, so the volume need not fit in memory. 16 bit where the ids fit, else 32 bit.
    """
    from bigseg.volumes.tiff_export import export_labels

    count = export_labels(result, output, labels, time, overwrite=overwrite)
    typer.echo(f"{output}: {count} objects", err=True)
