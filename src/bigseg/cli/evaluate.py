"""``bigseg evaluate``: score a label volume against a truth, block by block."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigseg.cli.label_inputs import label_input
from bigseg.cli.options import AsJson

if TYPE_CHECKING:
    from bigseg.cli.track_inputs import TrackInput
    from bigseg.config.samples import Input
    from bigseg.geometry.box import Box
    from bigseg.kernels.tracking_scores import TrackingTally
    from bigseg.volumes.source import Source

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
    "det": "detection, 1 is best",
    "seg": "mean Jaccard index of the objects of the truth, 1 is best",
    "tra": "tracking, 1 is best",
    "division_precision": "divisions found / those of the result",
    "division_recall": "divisions found / those of the truth",
    "division_f1": "harmonic mean of the two",
    "division_precision_within_1": "the same, one time point early or late",
    "division_recall_within_1": "likewise",
    "division_f1_within_1": "likewise",
    "n_tracks_result": "tracks in the result",
    "n_tracks_truth": "tracks in the truth",
    "n_divisions_result": "tracks of the result that divide",
    "n_divisions_truth": "tracks of the truth that divide",
}


def evaluate(
    result: Annotated[
        str,
        typer.Argument(
            metavar="RESULT",
            help="Label volume to score: OME-Zarr, Zarr, TIFF or HDF5; FILE:KEY names a dataset in it. "
            "Of a bigseg result, labels/segmentation is taken. Or a folder of the Cell Tracking Challenge "
            "(mask000.tif, …, res_track.txt).",
        ),
    ],
    truth: Annotated[
        str,
        typer.Argument(
            metavar="TRUTH",
            help="Label volume of the same shape to score against, or a folder of the challenge (man_track000.tif, …).",
        ),
    ],
    as_json: AsJson = False,
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
    tracks: Annotated[
        bool, typer.Option("--tracks", help="Labels of RESULT persist in time: score them as tracks.")
    ] = False,
    lineage: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Which tracks of RESULT come from which: text of the Cell Tracking Challenge (lines L B E P) or "
            "tracks.parquet. Implies --tracks. Default: that of the folder, or beside a bigseg result.",
        ),
    ] = None,
    truth_lineage: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The same for TRUTH. Default: that of the folder, or divisions are found in the labels: a track ends "
            "and two start in its place.",
        ),
    ] = None,
) -> None:
    """Score a segmentation against a truth: VOI, adapted Rand error, symmetric best Dice, average precision.

    Both are read block by block; neither is ever in memory as a whole. In a time-lapse an object is one label at one
    time point. Where RESULT holds tracks (labels/tracks of a bigseg result, a folder of the Cell Tracking Challenge,
    or with --tracks or --lineage), these are scored as well: DET, SEG and TRA of the challenge, and divisions.
    """
    import json

    from bigseg.cli.track_inputs import challenge_folder, check_options, result_tracks, truth_tracks
    from bigseg.labels.scores import score_sources
    from bigseg.volumes.source import open_source

    found = challenge_folder("result", result, lineage)
    result_input = found.volume if found else label_input("result", result, result_key, result_axes)
    if found is None:
        chosen = result_key is not None or result_input.path != result
        found = result_tracks(result_input, lineage, tracks=tracks, chosen=chosen)
    wanted = challenge_folder("truth", truth, truth_lineage)
    truth_input = wanted.volume if wanted else label_input("truth", truth, truth_key, truth_axes)
    wanted = wanted or truth_tracks(truth_input, truth_lineage)

    with open_source(result_input) as result_source, open_source(truth_input) as truth_source:
        times = result_source.header.number_of_times
        asked = tracks or lineage is not None
        if not check_options(found, times, asked=asked, truth_lineage=truth_lineage is not None, time=time):
            found = None
        box = None if roi is None else _common_box(roi, result_source, truth_source)
        both = (_part(result_source, box), _part(truth_source, box))
        tally = None
        if found is not None:
            from bigseg.kernels.tracking_scores import TrackingTally

            tally = TrackingTally()
        same = found is not None and found.volume == result_input
        each = tally.add if tally is not None and same else None
        scores = dict(score_sources(*both, ignore_zero=not with_zero, time=time, threads=threads, each=each))
        if found is not None and tally is not None:
            if not same:
                _add_tracks(tally, found.volume, both[1], box, threads)
            scores |= _tracking_scores(tally, found, wanted, both[1], threads, part=roi is not None)
    if as_json:
        typer.echo(json.dumps(scores))
        return
    for name, value in scores.items():
        number = f"{value:.4f}" if isinstance(value, float) else f"{value}"
        typer.echo(f"{name:<28}{number:>10}  {_MEANINGS[name]}")


def _common_box(roi: str, *sources: Source) -> Box:
    """The region that the user named, of what all sources have."""
    from bigseg.geometry.box import triple
    from bigseg.geometry.roi import parse_roi

    common = [min(n) for n in zip(*(source.header.volume_shape for source in sources), strict=True)]
    return parse_roi(roi, triple(common))


def _part(source: Source, box: Box | None) -> Source:
    from bigseg.volumes.part import PartOfSource

    return source if box is None else PartOfSource(source, box)


def _add_tracks(tally: TrackingTally, volume: Input, truth: Source, box: Box | None, threads: int | None) -> None:
    """Count tracks that are another volume than the objects."""
    from bigseg.labels.scores import count_tables
    from bigseg.volumes.source import open_source

    with open_source(volume) as source:
        for t, table in count_tables(_part(source, box), truth, threads=threads, what="evaluate tracks"):
            tally.add(t, table)


def _tracking_scores(
    tally: TrackingTally, found: TrackInput, wanted: TrackInput, truth: Source, threads: int | None, *, part: bool
) -> dict[str, Any]:
    """The scores of the tracks, once all time points are counted."""
    from bigseg.labels.tracking import derive_lineage, score_tally

    lineage = wanted.lineage if wanted.lineage is not None else derive_lineage(truth, threads=threads)
    return dict(score_tally(tally, found.lineage, lineage, part=part))
