"""What the report says of tracks in words and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bigseg.layout import TRACKING_SCORES, Layout
from bigseg.reporting.facts import Meaning, Score, explained
from bigseg.reporting.tracks.table import Tracks
from bigseg.reporting.tracks.trees import Trees
from bigseg.volumes.figures import read_figures

if TYPE_CHECKING:
    from bigseg.reporting.tracks.animation import Animation

_SCORES: dict[str, Meaning] = {
    "tra": (
        "TRA",
        "1",
        "Tracking accuracy of the Cell Tracking Challenge: 1 − the cost of turning the graph of tracks into the true "
        "one, as a share of the cost of making that from nothing.",
    ),
    "det": ("DET", "1", "Detection accuracy: the same, of objects missed, invented or joined alone, without links."),
    "seg": (
        "SEG",
        "1",
        "Overlap (IoU) of true objects with those that cover most of them, averaged; 0 if missed.",
    ),
    "division_precision": ("Division precision", "1", "Share of the divisions found that are true ones."),
    "division_recall": ("Division recall", "1", "Share of the true divisions that were found, at their time point."),
    "division_f1": ("Division F1", "1", "Harmonic mean of the two."),
    "division_precision_within_1": (
        "Division precision, ± 1",
        "1",
        "As above, where one time point early or late counts.",
    ),
    "division_recall_within_1": ("Division recall, ± 1", "1", "Likewise."),
    "division_f1_within_1": ("Division F1, ± 1", "1", "Harmonic mean of these two."),
    "n_tracks_result": ("Tracks found", "", "Tracks in the result."),
    "n_tracks_truth": ("True tracks", "", "Tracks in the truth."),
    "n_divisions_result": ("Divisions found", "", "Divisions in the result."),
    "n_divisions_truth": ("True divisions", "", "Divisions in the truth."),
}
"""Name, best value and meaning of each score."""


def summary(tracks: Tracks) -> dict[str, str]:
    """Figures beside the pictures."""
    found = {"tracks": f"{len(tracks):,}"}
    if not len(tracks):
        return found
    whole = int((tracks.length == len(tracks.times)).sum())
    return {
        **found,
        "over the whole movie": f"{whole:,}",
        "divisions": f"{len(tracks.mothers):,}",
        "begin inside the movie": f"{int(tracks.begins_inside.sum()):,}",
        "end inside the movie": f"{int(tracks.ends_inside.sum()):,}",
        "median length": f"{float(np.median(tracks.length)):g} of {len(tracks.times):,} time points",
    }


def what_is_drawn(tracks: Tracks, trees: Trees) -> str:
    """How many of the tracks and lineages a picture shows."""
    if len(trees.rows) == len(tracks):
        return f"{_counted(len(tracks), 'track')} in {_counted(trees.all_lineages, 'lineage')}"
    left = len(tracks) - len(trees.rows)
    return (
        f"the {trees.lineages:,} largest of {trees.all_lineages:,} lineages; "
        f"{len(trees.rows):,} of {len(tracks):,} tracks, {left:,} not shown"
    )


def what_moves(animation: Animation, times: int) -> str:
    """Which plane an animation shows, and how many of the time points."""
    shown = len(animation.times)
    frames = f"all {times:,} time points" if shown == times else f"{shown:,} of {times:,} time points, evenly spread"
    return f"{animation.where}, {frames}"


def read_tracking_scores(layout: Layout) -> list[Score]:
    """The scores of tracks, explained; none where there is no file of them.

    Raises:
        UserError: the file is damaged.
    """
    path = layout.result_folder / TRACKING_SCORES
    return explained(read_figures(path)["tracking"], _SCORES) if path.exists() else []


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
