"""Scores on real and synthetic data, and how much they depend on the cut into blocks.

The last line is one JSON object with keys ``<data set>.<recipe>.<score>``; ``spread_<score>`` is the largest difference
between block shapes. Data sets that are not on this machine are left out.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile

from bigseg.geometry.box import Box
from bigseg.kernels.tissue import Tissue
from bigseg.local import run_here
from bigseg.planning.workflow import Workflow

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
OVULE = DATA / "membranes" / "sample_ovule.h5"
FIB25 = DATA / "em" / "fib25.h5"
LABELLED = 125
"""Planes of FIB-25 that have a truth."""
SCORES = ("adapted_rand_error", "voi_split", "voi_merge", "ap50", "map")
STAGES = ("ingest", "predict", "supervoxels", "graph", "partition", "segment", "evaluate")
RECIPES: dict[str, dict[str, Any]] = {
    "gasp": {},
    "multicut": {"partition": {"method": "multicut"}},
    "mutex_watershed": {"partition": {"method": "mutex_watershed"}},
    "membrane": {"predict": {"method": "network", "model": "membrane"}},
}


@dataclass(frozen=True)
class DataSet:
    """A sample with the block shapes to try, the whole volume first, and what its recipes have in common."""

    sample: dict[str, Any]
    shapes: list[list[int]]
    settings: dict[str, Any] = field(default_factory=dict)


def score(sample: dict[str, Any], block_shape: list[int], recipe: dict[str, Any]) -> dict[str, float]:
    """Run the stages up to the scores."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        settings = {
            "samples": {"s": sample},
            "results": f"{folder}/results",
            "work": f"{folder}/work",
            "blocks": {"block_shape": block_shape},
            **recipe,
        }
        run_here(Workflow(settings, "benchmark"), STAGES)
        found = json.loads(Path(folder, "results", "s", "scores.json").read_text(encoding="utf-8"))
    return {name: float(found[name]) for name in SCORES}


def data_sets(folder: Path) -> dict[str, DataSet]:
    """The data sets that are on this machine."""
    tissue = Tissue(shape=(64, 192, 192), seed=3)
    image, truth = tissue.render(Box((0, 0, 0), tissue.shape))
    tifffile.imwrite(folder / "tissue.tif", image)
    tifffile.imwrite(folder / "truth.tif", truth.astype(np.uint16))
    size = list(tissue.voxel_size_um)
    sets = {
        "synthetic_tissue": DataSet(
            {
                "input": {"path": str(folder / "tissue.tif"), "axes": "zyx", "voxel_size_um": size},
                "truth": {"path": str(folder / "truth.tif"), "axes": "zyx"},
            },
            [[64, 192, 192], [64, 96, 96], [32, 64, 96], [24, 80, 112]],
        )
    }
    if OVULE.exists():
        sets["ovule"] = DataSet(
            {"input": {"path": str(OVULE), "key": "raw"}, "truth": {"path": str(OVULE), "key": "label"}},
            [[32, 128, 128], [32, 64, 64], [16, 64, 64], [16, 32, 64], [20, 48, 80]],
        )
    if FIB25.exists():
        with h5py.File(FIB25) as source, h5py.File(folder / "fib25.h5", "w") as target:
            for key in ("raw", "label"):
                target[key] = source[key][:LABELLED]
            target["raw"].attrs["element_size_um"] = [0.01, 0.01, 0.01]
        place = str(folder / "fib25.h5")
        sets["fib25"] = DataSet(
            {"input": {"path": place, "key": "raw"}, "truth": {"path": place, "key": "label"}},
            [[125, 250, 250], [64, 64, 64]],
            {"predict": {"invert": True}, "partition": {"beta": 0.3, "levels": 2}},
        )
    return sets


def merged(*sections: dict[str, Any]) -> dict[str, Any]:
    """Sections of several configurations, later keys first."""
    names = {name for section in sections for name in section}
    return {name: {key: v for s in sections for key, v in s.get(name, {}).items()} for name in sorted(names)}


def main() -> None:
    """Score, print a table and the JSON line."""
    figures: dict[str, float] = {}
    print("| data set | recipe | block | " + " | ".join(SCORES) + " |")
    print("|---|---|---|" + "---|" * len(SCORES))
    with tempfile.TemporaryDirectory() as folder:
        for name, data in data_sets(Path(folder)).items():
            for recipe, settings in RECIPES.items():
                rows = []
                for shape in data.shapes if recipe == "gasp" else data.shapes[:2]:
                    rows.append(score(data.sample, shape, merged(data.settings, settings)))
                    cells = " | ".join(f"{rows[-1][key]:.4f}" for key in SCORES)
                    print(f"| {name} | {recipe} | {' × '.join(map(str, shape))} | {cells} |", flush=True)
                for key in SCORES:
                    values = [row[key] for row in rows]
                    figures[f"{name}.{recipe}.{key}"] = round(values[0], 5)
                    figures[f"{name}.{recipe}.spread_{key}"] = round(max(values) - min(values), 5)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
