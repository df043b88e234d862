"""What ``bigseg evaluate`` scores tracks by: which volumes hold tracks, and what tells their lineage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bigseg.errors import UserError
from bigseg.layout import TRACKS_KEY

if TYPE_CHECKING:
    from bigseg.config.samples import Input
    from bigseg.labels.tracking import LineageFile


@dataclass(frozen=True)
class TrackInput:
    """A volume whose labels persist in time."""

    volume: Input
    lineage: LineageFile | None
    """None where nothing tells."""


def challenge_folder(role: Literal["result", "truth"], text: str, lineage: Path | None) -> TrackInput | None:
    """The label images and the lineage of a folder of the Cell Tracking Challenge; None where ``text`` is none.

    Args:
        role: which volume.
        text: what the user gave.
        lineage: a file that goes before that of the folder.
    """
    from bigseg.config.samples import Input
    from bigseg.labels.tracking import LineageFile
    from bigseg.tracks.ctc import find_folder

    found = find_folder(Path(text))
    if found is None:
        return None
    own = LineageFile(found[0], role.upper())
    return TrackInput(Input(path=found[1]), _named(role, lineage) or own)


def result_tracks(volume: Input, lineage: Path | None, *, tracks: bool, chosen: bool) -> TrackInput | None:
    """What is scored as tracks of RESULT.

    Args:
        volume: what is scored as segmentation.
        lineage: the file that the user named.
        tracks: whether the user says that labels persist in time.
        chosen: whether the user named the dataset.

    Returns:
        ``labels/tracks`` of a result of bigseg, unless a dataset was named; else ``volume``, if its labels persist in
        time; else None.
    """
    from bigseg.config.samples import Input
    from bigseg.labels.tracking import LineageFile
    from bigseg.tracks.table import tracks_beside

    path = Path(volume.path)
    ours = (path / TRACKS_KEY).is_dir() and not chosen
    if ours or (volume.key or "").strip("/") == TRACKS_KEY:
        table = tracks_beside(path)
        own = LineageFile(table, "RESULT") if table.exists() or lineage is None else None
        return TrackInput(Input(path=volume.path, key=TRACKS_KEY, axes=volume.axes), _named("result", lineage) or own)
    if lineage is not None or tracks:
        return TrackInput(volume, _named("result", lineage))
    return None


def truth_tracks(volume: Input, lineage: Path | None) -> TrackInput:
    """What tracks are scored against."""
    return TrackInput(volume, _named("truth", lineage))


def check_options(found: TrackInput | None, times: int, *, asked: bool, truth_lineage: bool, time: int | None) -> bool:
    """Whether tracks are scored.

    Args:
        found: the tracks of RESULT, if there are any.
        times: time points of RESULT.
        asked: whether the user asked for it, in so many words or by naming the lineage of RESULT.
        truth_lineage: whether the user named the lineage of the truth.
        time: the only time point that is to be scored.

    Raises:
        UserError: it was asked for, and is not possible.
    """
    if found is None and truth_lineage:
        raise UserError(
            "--truth-lineage: RESULT holds no tracks",
            "give --tracks if its labels persist in time, or --lineage with the file that tells which come from which",
        )
    possible = found is not None and time is None and times > 1
    if (asked or truth_lineage) and not possible:
        problem = "--time names a single time point" if time is not None else "RESULT has a single time point"
        raise UserError(f"tracks cannot be scored: {problem}", "leave out --tracks, --lineage and --truth-lineage")
    return possible


def _named(role: Literal["result", "truth"], lineage: Path | None) -> LineageFile | None:
    """The lineage that the user named."""
    from bigseg.labels.tracking import LineageFile

    option = "--lineage" if role == "result" else "--truth-lineage"
    return None if lineage is None else LineageFile(lineage, option)
