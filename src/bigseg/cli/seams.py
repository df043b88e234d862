"""``bigseg seams``: whether a label volume shows the faces of the blocks in which it was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bigseg.cli.label_inputs import label_input
from bigseg.cli.options import AsJson

if TYPE_CHECKING:
    from bigseg.kernels.seam_summary import SeamSummary


def seams(
    labels: Annotated[
        str,
        typer.Argument(
            metavar="LABELS",
            help="Label volume: OME-Zarr, Zarr, TIFF or HDF5; FILE:KEY names a dataset in it. "
            "Of a bigseg result, labels/segmentation is taken.",
        ),
    ],
    block_shape: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            min=1,
            metavar="Z Y X",
            help="Shape of the blocks in voxels. Default: that of the bigseg run that made LABELS.",
        ),
    ] = None,
    truth: Annotated[
        str | None, typer.Option(metavar="TRUTH", help="Label volume of the same shape, to count errors near faces.")
    ] = None,
    distance: Annotated[
        int, typer.Option(min=1, max=64, help="Voxels from a block face within which a voxel is near it.")
    ] = 8,
    minimum_cut: Annotated[
        int, typer.Option(min=1, help="Edge in voxels of the smallest contact of two objects that counts as a cut.")
    ] = 8,
    time: Annotated[
        int | None, typer.Option(min=0, help="Look only at this time point, counted from 0. Default: all together.")
    ] = None,
    as_json: AsJson = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Blocks to read at once. Default: all cores.")] = None,
    key: Annotated[str | None, typer.Option(help="Dataset of LABELS in its container.")] = None,
    truth_key: Annotated[
        str | None, typer.Option(help="Dataset of TRUTH in its container. Default: label, if there is one.")
    ] = None,
    axes: Annotated[
        str | None, typer.Option(help="Axes of LABELS, e.g. tzyx, where the file does not tell or tells wrongly.")
    ] = None,
    truth_axes: Annotated[str | None, typer.Option(help="Axes of TRUTH, likewise.")] = None,
) -> None:
    """Tell whether block faces show: surface in excess on them, objects cut by them, errors near them.

    Works on any label volume whose block shape is known, of any size, read block by block. Without --truth the errors
    are left out. The figures are those of a run's seams.json if --distance and --minimum-cut are as in section seams of
    its configuration.
    """
    from contextlib import ExitStack

    from bigseg.labels.seams import seams_of_source
    from bigseg.volumes.label_files import recorded_block_shape
    from bigseg.volumes.source import open_source

    spec = label_input("labels", labels, key, axes, command="seams")
    truth_spec = None if truth is None else label_input("truth", truth, truth_key, truth_axes, command="seams")
    with ExitStack() as opened:
        source = opened.enter_context(open_source(spec))
        truth_source = None if truth_spec is None else opened.enter_context(open_source(truth_spec))
        found = seams_of_source(
            source,
            block_shape or recorded_block_shape(Path(spec.path) / (spec.key or "")),
            truth_source,
            distance=distance,
            minimum_cut=minimum_cut,
            time=time,
            threads=threads,
        )
    typer.echo(json.dumps(found) if as_json else _text(found))


def _text(found: SeamSummary) -> str:
    """A table of the axes, the cuts, and the verdict."""
    from bigseg.reporting.seam_words import verdict

    lines = [f"volume {_times(found['shape'])}, blocks {_times(found['block_shape'])} (z, y, x) voxels"]
    if found["axes"]:
        lines.append(f"\n{'axis':<6}{'faces':>8}{'surface on faces':>18}{'expected':>14}{'ratio':>16}")
        for axis in found["axes"]:
            lines.append(
                f"{axis['axis']:<6}{axis['faces']:>8,}{axis['surface_on_faces']:>18,}{axis['expected']:>14,.0f}"
                f"{_with_error(axis['ratio'], axis['ratio_error']):>16}"
            )
    if found["worst_cuts"]:
        area = found["minimum_area"]
        lines.append(f"\nobjects cut by block faces (contacts of {area:,} voxel faces or more), the largest first")
        lines.append(f"{'time':<6}{'area':>8}  {'voxel (z, y, x)':<22}objects")
        for cut in found["worst_cuts"]:
            position = ", ".join(map(str, cut["position"]))
            lines.append(f"{cut['time']:<6}{cut['area']:>8,}  {position:<22}{cut['objects'][0]}, {cut['objects'][1]}")
    return "\n".join([*lines, "", verdict(found)])


def _times(shape: list[int]) -> str:
    return " × ".join(f"{n:,}" for n in shape)


def _with_error(value: float | None, error: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if error is None else f"{value:.3f} ± {error:.3f}"
