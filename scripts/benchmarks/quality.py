"""Scores on real and synthetic data, and how much they depend on the cut into blocks.

The last line is one JSON object with keys ``<data set>.<recipe>.<score>``; ``spread_<score>`` is the largest difference
between block shapes. Data sets that are not on this machine are left out.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from bigseg.geometry.box import Box
from bigseg.kernels.tissue import Tissue
from bigseg.local import run_here
from bigseg.planning.workflow import Workflow

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
OVULE = DATA / "membranes" / "sample_ovule.h5"
SCORES = ("adapted_rand_error", "voi_split", "voi_merge", "ap50", "map")
STAGES = ("ingest", "predict", "supervoxels", "graph", "partition", "segment", "evaluate")
RECIPES: dict[str, dict[str, Any]] = {
    "gasp": {},
    "multicut": {"partition": {"method": "multicut"}},
    "mutex_watershed": {"partition": {"method": "mutex_watershed"}},
    "membrane": {"predict": {"method": "network", "model": "membrane"}},
}


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


def data_sets(folder: Path) -> dict[str, tuple[dict[str, Any], list[list[int]]]]:
    """Samples with the block shapes to try, from one block to sixteen."""
    tissue = Tissue(shape=(64, 192, 192), seed=3)
    image, truth = tissue.render(Box((0, 0, 0), tissue.shape))
    tifffile.imwrite(folder / "tissue.tif", image)
    tifffile.imwrite(folder / "truth.tif", truth.astype(np.uint16))
    size = list(tissue.voxel_size_um)
    sets: dict[str, tuple[dict[str, Any], list[list[int]]]] = {
        "synthetic_tissue": (
            {
                "input": {"path": str(folder / "tissue.tif"), "axes": "zyx", "voxel_size_um": size},
                "truth": {"path": str(folder / "truth.tif"), "axes": "zyx"},
            },
            [[64, 192, 192], [64, 96, 96], [32, 64, 96], [24, 80, 112]],
        )
    }
    if OVULE.exists():
        sets["ovule"] = (
            {"input": {"path": str(OVULE), "key": "raw"}, "truth": {"path": str(OVULE), "key": "label"}},
            [[32, 128, 128], [32, 64, 64], [16, 64, 64], [16, 32, 64], [20, 48, 80]],
        )
    return sets


def main() -> None:
    """Score, print a table and the JSON line."""
    figures: dict[str, float] = {}
    print("| data set | recipe | block | " + " | ".join(SCORES) + " |")
    print("|---|---|---|" + "---|" * len(SCORES))
    with tempfile.TemporaryDirectory() as folder:
        for name, (sample, shapes) in data_sets(Path(folder)).items():
            for recipe, settings in RECIPES.items():
                rows = []
                for shape in shapes if recipe == "gasp" else shapes[:2]:
                    rows.append(score(sample, shape, settings))
                    cells = " | ".join(f"{rows[-1][key]:.4f}" for key in SCORES)
                    print(f"| {name} | {recipe} | {' × '.join(map(str, shape))} | {cells} |", flush=True)
                for key in SCORES:
                    values = [row[key] for row in rows]
                    figures[f"{name}.{recipe}.{key}"] = round(values[0], 5)
                    figures[f"{name}.{recipe}.spread_{key}"] = round(max(values) - min(values), 5)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
