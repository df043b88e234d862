"""``bigseg evaluate``: score a label volume against a truth, block by block."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bigseg.errors import UserError

if TYPE_CHECKING:
    from bigseg.config.samples import Input

_MEANINGS = {
    "voi_split": "bits, 0 is best: truth objects cut up",
    "voi_merge": "bits, 0 is best: truth objects joined",
    "adapted_rand_error": "0 is best",
    "sbd": "symmetric best Dice, 1 is best",
    "ap50": "TP / (TP + FP + FN) at IoU 0.5, 1 is best",
    "map": "the same, mean over IoU 0.50:0.05:0.95",
    "precision": "TP / objects of the result, at IoU 0.5",
    "recall": "TP / objects of the truth, at IoU 0.5",
    "n_result": "objects in the result",
    "n_truth": "objects in the truth",
}


def evaluate(
    result: Annotated[
        str,
        typer.Argument(
            metavar="RESULT",
            help="Label volume to score: OME-Zarr, Zarr, TIFF or HDF5; FILE:KEY names a dataset in it. "
            "Of a bigseg result, labels/segmentation is taken.",
        ),
    ],
    truth: Annotated[str, typer.Argument(metavar="TRUTH", help="Label volume of the same shape to score against.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
    with_zero: Annotated[
        bool,
        typer.Option(
            "--with-zero", help="Count voxels with truth label 0 as one segment in VOI and adapted Rand error."
        ),
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Blocks to read at once. Default: all cores.")] = None,
    result_key: Annotated[str | None, typer.Option(help="Dataset of RESULT in its container. As for TRUTH.")] = None,
    truth_key: Annotated[
        str | None, typer.Option(help="Dataset of TRUTH in its container. Default: label, if there is one.")
    ] = None,
    result_axes: Annotated[
        str | None, typer.Option(help="Axes of RESULT, e.g. tzyx, where the file does not tell or tells wrongly.")
    ] = None,
    truth_axes: Annotated[str | None, typer.Option(help="Axes of TRUTH, likewise.")] = None,
    time: Annotated[
        int | None, typer.Option(min=0, help="Score only this time point, counted from 0. Default: all together.")
    ] = None,
    roi: Annotated[
        str | None,
        typer.Option(
            metavar="Z0:Z1,Y0:Y1,X0:X1",
            help="Score only this region, voxels as in NumPy, e.g. 0:125,:,: . The volumes may then have different "
            "shapes, as long as both begin at the same voxel.",
        ),
    ] = None,
) -> None:
    """Score a segmentation against a truth: VOI, adapted Rand error, symmetric best Dice, average precision.

    Both are read block by block; neither is ever in memory as a whole. In a time-lapse an object is one label at one
    time point, so the scores say nothing of the tracking.
    """
    import json

    from bigseg.geometry.box import triple
    from bigseg.geometry.roi import parse_roi
    from bigseg.labels.scores import score_sources
    from bigseg.volumes.part import PartOfSource
    from bigseg.volumes.source import Source, open_source

    with (
        open_source(label_input("result", result, result_key, result_axes)) as result_source,
        open_source(label_input("truth", truth, truth_key, truth_axes)) as truth_source,
    ):
        both: list[Source] = [result_source, truth_source]
        if roi is not None:
            common = [min(n) for n in zip(*(source.header.volume_shape for source in both), strict=True)]
            box = parse_roi(roi, triple(common))
            both = [PartOfSource(source, box) for source in both]
        scores = score_sources(*both, ignore_zero=not with_zero, time=time, threads=threads)
    if as_json:
        typer.echo(json.dumps(scores))
        return
    for name, value in scores.items():
        number = f"{value:.4f}" if isinstance(value, float) else f"{value}"
        typer.echo(f"{name:<20}{number:>10}  {_MEANINGS[name]}")


def label_input(
    role: Literal["result", "truth", "labels"],
    text: str,
    key: str | None = None,
    axes: str | None = None,
    *,
    command: str = "evaluate",
) -> Input:
    """What the user means by RESULT, TRUTH or LABELS.

    Args:
        role: which of these, for messages; the options of LABELS have no prefix.
        text: a path, or ``PATH:KEY`` where the path exists and the whole is not itself a path.
        key: dataset in the container.
        axes: axes in the file, for example ``tzyx``.
        command: whose help tells more.

    Returns:
        The volume to open. Without a key it is, in a container that also holds the image, the labels
        (:func:`bigseg.volumes.label_files.default_key`).

    Raises:
        UserError: the key is given twice, an OME-Zarr holds several label images and none is ``segmentation``, or the
            axes make no sense.
    """
    from pydantic import ValidationError

    from bigseg.config.samples import Input
    from bigseg.volumes.label_files import default_key

    option = "--key" if role == "labels" else f"--{role}-key"
    path, colon, tail = text.rpartition(":")
    if not (colon and tail and not Path(text).exists() and Path(path).exists()):
        path = text
    elif key is not None:
        raise UserError(f"{text!r} names the dataset {tail!r}, and {option} names {key!r}", f"leave out {option}")
    else:
        key = tail
    if key is None:
        key = default_key(Path(path), option)
    try:
        return Input(path=path, key=key, axes=axes)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{first['loc'][0]} of the {role}: {first['msg']}", f"see `bigseg {command} --help`") from error
