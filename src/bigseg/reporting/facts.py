"""What the page states in words and figures: objects, scores, settings, versions, files."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from math import pi
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from bigseg import __version__
from bigseg.config import Config
from bigseg.layout import LINEAGES, TRACKING_SCORES, Layout
from bigseg.volumes.figures import read_figures
from bigseg.volumes.tables import read_table

if TYPE_CHECKING:
    from bigseg.stages.step import Parameters

_LIBRARIES = ("bioimage-cpp", "numpy", "scipy", "pandas", "pyarrow", "zarr", "zarrs", "matplotlib", "snakemake")

Meaning = tuple[str, str, str]
"""Of a score: its name, best value and meaning."""

_SCORES: dict[str, Meaning] = {
    "voi_split": ("VOI split", "0 bits", "Variation of information lost to over-segmentation: cells cut into pieces."),
    "voi_merge": ("VOI merge", "0 bits", "Variation of information lost to under-segmentation: cells joined."),
    "adapted_rand_error": ("Adapted Rand error", "0", "Share of voxel pairs wrongly joined or parted; 1 is worst."),
    "sbd": ("Symmetric best Dice", "1", "Overlap of each object with its best match, averaged; the worse direction."),
    "ap50": ("AP50", "1", "Share of matched objects, TP / (TP + FP + FN), where a match overlaps by IoU ≥ 0.5."),
    "map": ("mAP", "1", "The same, averaged over IoU ≥ 0.50, 0.55, …, 0.95: demands exact outlines."),
    "precision": ("Precision", "1", "Share of the found objects that match a true one (IoU ≥ 0.5)."),
    "recall": ("Recall", "1", "Share of the true objects that were found (IoU ≥ 0.5)."),
    "n_result": ("Objects found", "", "Objects in the result, over all time points."),
    "n_truth": ("True objects", "", "Objects in the truth, over all time points."),
}


class _SettingsDumper(yaml.SafeDumper):
    """Writes settings as people do: nested, but shapes and other lists on one line."""


_SettingsDumper.add_representer(
    list, lambda dumper, values: dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)
)


@dataclass(frozen=True)
class Score:
    """A line of the table of scores."""

    name: str
    value: str
    best: str
    meaning: str


class Objects:
    """The table of objects, without the columns that the page does not show."""

    def __init__(self, layout: Layout, parameters: Parameters) -> None:
        """Read ``objects.parquet``; ``parameters`` are those of step ``report.page``."""
        columns = ["time", "voxels", "touches_edge"]
        self._table = read_table(layout.result_folder / "objects.parquet", columns)
        depth, *_ = parameters["shape"]
        size_z, size_y, size_x = parameters["voxel_size_um"]
        self._flat = depth == 1
        self._voxel = size_y * size_x * (1 if self._flat else size_z)

    @property
    def number(self) -> int:
        """Objects, over all time points."""
        return len(self.sizes)

    @property
    def unit(self) -> str:
        """Of the sizes; the only plane of a 2D image has no thickness."""
        return "µm²" if self._flat else "µm³"

    @cached_property
    def sizes(self) -> np.ndarray:
        """Volumes or areas (n,) float64."""
        return np.asarray(self._table["voxels"] * self._voxel, np.float64)

    @property
    def at_edge(self) -> np.ndarray:
        """(n,) bool: whether the edge of the volume cuts the object off."""
        return self._table["touches_edge"].astype(bool)

    def at(self, time: int) -> int:
        """Objects of one time point."""
        return int((self._table["time"] == time).sum())

    def summary(self) -> dict[str, str]:
        """Figures beside the histogram."""
        if not self.number:
            return {"objects": "0"}
        low, middle, high = np.percentile(self.sizes, [5, 50, 95])
        # of a circle or a sphere of the median size
        diameter = 2 * (middle / pi) ** 0.5 if self._flat else (6 * middle / pi) ** (1 / 3)
        return {
            "objects": f"{self.number:,}",
            "cut off by the edge of the image": f"{int(self.at_edge.sum()):,}",
            "median size": f"{middle:.3g} {self.unit}",
            "5th to 95th percentile": f"{low:.3g} to {high:.3g} {self.unit}",
            "median equivalent diameter": f"{diameter:.3g} µm",
        }


def read_scores(layout: Layout) -> list[Score]:
    """The scores in the order in which they are explained, then any others.

    Raises:
        UserError: ``scores.json`` is missing or damaged.
    """
    return explained(read_figures(layout.scores), _SCORES)


def explained(found: Mapping[str, Any], meanings: Mapping[str, Meaning]) -> list[Score]:
    """Scores in the order in which they are explained, then any others; one that there is no value of is a dash."""
    scores = []
    for key in (*meanings, *(key for key in found if key not in meanings)):
        if key in found:
            name, best, meaning = meanings.get(key, (key, "", ""))
            scores.append(Score(name, _score_text(found[key]), best, meaning))
    return scores


def _score_text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def settings_yaml(sample: str, parameters: Parameters) -> str:
    """The configuration that was used, with all defaults, in the order in which it is documented."""
    config = Config.model_validate({"samples": {sample: parameters["sample"]}, **parameters["settings"]})
    content = config.model_dump(exclude_none=True, exclude={"results", "work", "execution"})
    shown = {section: settings for section, settings in content.items() if settings}
    text: str = yaml.dump(shown, Dumper=_SettingsDumper, sort_keys=False, allow_unicode=True, width=100)
    return text


def versions() -> dict[str, str]:
    """bigseg, Python and the main libraries."""
    found = {"bigseg": __version__, "Python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # rules may run in environments that hold only what they need
    return found


def stage_meaning(stage: str) -> str:
    """What a stage does, as the configuration explains it."""
    return Config.model_fields[stage].description or ""


_TRACK_FILES = {
    "tracks.geff": "the tracks as a graph, GEFF; for the geff package and programs that read its format",
    "tracks.csv": "the tracks for napari's layer of tracks: track, time point and position in µm",
    "tracks.graph.json": "the parents of the tracks, for the same layer",
    "res_track.txt": "the lineage in the format of the Cell Tracking Challenge",
}
"""Exports of tracks and what they are."""


def files(layout: Layout, parameters: Parameters) -> list[tuple[Path, str]]:
    """Where the results lie and what is in them; ``parameters`` are those of step ``report.page``."""
    folder = layout.result_folder
    tracked = parameters["tracked"]
    found = [
        (
            layout.result,
            "image and labels in several resolutions, OME-Zarr 0.5; opens in napari, Fiji (MoBIE), neuroglancer",
        ),
        (layout.labels().parent, "the labels alone; 0 is no object"),
    ]
    if tracked:
        found.append((layout.tracks().parent, "the same objects, with the number of its track for each"))
    found.append(
        (folder / "objects.parquet", "one row per object and time point: size, position, intensity; pandas, R (arrow)")
    )
    if tracked:
        found.append(
            (layout.track_table, "one row per object and time point: its track, the track it came from, position")
        )
        found += [(folder / name, what) for name, what in _TRACK_FILES.items() if (folder / name).exists()]
    if parameters["scored"]:
        found.append((layout.scores, "the scores, for programs"))
        if (layout.result_folder / TRACKING_SCORES).exists():
            found.append((layout.result_folder / TRACKING_SCORES, "the scores of the tracks, for programs"))
    if parameters["seams"]:
        found.append((layout.seams, "what lies on block faces, for programs"))
    found += [
        (folder / "overview.png", "the overview picture"),
        (folder / "sizes.png", "the histogram of sizes"),
        *([(folder / LINEAGES, "the picture of the lineages")] if tracked else []),
        (layout.folder, "intermediates, ledgers and logs; may be deleted when all is done"),
    ]
    return [(path.absolute(), what) for path, what in found]
