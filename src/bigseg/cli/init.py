"""``bigseg init``: a configuration fitted to an input."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder for config.yaml; made if needed.")],
    input_path: Annotated[
        str | None,
        typer.Option("--input", help="The image: TIFF, HDF5, Zarr, OME-Zarr, or a pattern of TIFF files in quotes."),
    ] = None,
    provenance: Annotated[
        Path | None,
        typer.Option("--from", metavar="PROVENANCE", help="Instead: make a result again, from its provenance.json."),
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="Dataset inside an HDF5 or Zarr container.")] = None,
    axes: Annotated[str | None, typer.Option(help="Order of the axes, e.g. zyx, if the file does not say.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the sample. Default: the file's.")] = None,
    truth: Annotated[str | None, typer.Option(help="Label volume to score against; FILE:KEY for HDF5.")] = None,
    segmentation: Annotated[
        str | None,
        typer.Option(
            help="Label volume that is the segmentation already; FILE:KEY for HDF5. Nothing is segmented then. Where "
            "there is no image, --input may be left out."
        ),
    ] = None,
    stain: Annotated[
        Literal["membrane", "nuclei", "em"] | None,
        typer.Option(
            help="What is stained: membrane (bright cell membranes in dense tissue; the default), nuclei (bright, on a "
            "dark background) or em (dark membranes, electron microscopy).",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Network that makes the boundary map, instead of the image itself: membrane, which comes with bigseg, "
            "or the path of your own.",
        ),
    ] = None,
    memory_gb: Annotated[float, typer.Option(min=1, help="Memory that one job may use.")] = 4.0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing config.yaml.")] = False,
) -> None:
    """Write a config.yaml that fits a volume (shape, voxel size, blocks, memory), ready for `snakemake`.

    Then: cd FOLDER and run `snakemake --cores all`.
    """
    from bigseg.errors import UserError

    if provenance is not None:
        if any(given is not None for given in (input_path, key, axes, name, truth, stain, segmentation, model)):
            raise UserError("--from tells of the image and the sample itself", "leave out the options about them")
        from bigseg.planning.rerun import write_config_of

        for line in write_config_of(folder, provenance, force=force):
            typer.echo(line)
        return
    if segmentation is not None and stain is not None:
        raise UserError("--stain tells how to segment, and --segmentation is one", "leave out one of them")
    if model is not None and (stain is not None or segmentation is not None):
        raise UserError("--model tells how to segment, and --stain and --segmentation do too", "leave out the others")
    if input_path is None and segmentation is not None:
        from bigseg.volumes.label_files import split_key

        input_path, named = split_key(segmentation)
        key = named or key
    if input_path is None:
        raise UserError("--input is missing", "name the image with --input, or a result with --from")
    from bigseg.planning.initial import write_initial_config

    for line in write_initial_config(
        folder,
        input_path,
        key,
        axes,
        name,
        truth,
        memory_gb,
        stain=stain or "membrane",
        segmentation=segmentation,
        model=model,
        force=force,
    ):
        typer.echo(line)
