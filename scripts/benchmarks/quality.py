"""Scores on real and synthetic data, and how much they depend on the cut into blocks.

The last line is one JSON object with keys ``<data set>.<recipe>.<score>``; ``spread_<score>`` is the largest difference
between block shapes. Data sets that are not on this machine are left out, and so is the recipe ``network`` of FIB-25
until ``bigseg train --config config/fib25_train.yaml`` has made its model.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import yaml

from bigseg.config.samples import Input
from bigseg.geometry.box import Box, triple
from bigseg.geometry.roi import parse_roi
from bigseg.kernels.synthetic.tissue import Tissue
from bigseg.labels.scores import score_sources
from bigseg.local import run_here
from bigseg.planning.workflow import Workflow
from bigseg.volumes.part import PartOfSource
from bigseg.volumes.source import open_source

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY.parent / "shared" / "data"
OVULE = DATA / "membranes" / "sample_ovule.h5"
FIB25 = DATA / "em" / "fib25.h5"
FIB25_MODEL = REPOSITORY / "models" / "fib25"
CONFIG = REPOSITORY / "config"
SCORES = ("adapted_rand_error", "voi_split", "voi_merge", "ap50", "map")
STAGES = ("ingest", "predict", "supervoxels", "graph", "partition", "segment")
RECIPES: dict[str, dict[str, Any]] = {
    "gasp": {},
    "multicut": {"partition": {"method": "multicut"}},
    "mutex_watershed": {"partition": {"method": "mutex_watershed"}},
    "membrane": {"predict": {"method": "network", "model": "membrane"}},
}


@dataclass(frozen=True)
class DataSet:
    """A sample with its truth and the block shapes to try, the whole volume first.

    Attributes:
        sample: as in the configuration.
        truth: labels that begin at the same voxel as the image.
        shapes: block shapes; the first recipe is tried with all of them, others with the first two.
        recipes: settings by name.
        rois: regions that are scored, by what is added to the name of the data set.
    """

    sample: dict[str, Any]
    truth: Input
    shapes: list[list[int]]
    recipes: dict[str, dict[str, Any]] = field(default_factory=lambda: RECIPES)
    rois: dict[str, str] = field(default_factory=lambda: {"": ":,:,:"})


def score(data: DataSet, block_shape: list[int], recipe: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Run the stages up to the labels and score each region."""
    found = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        settings = {
            "samples": {"s": data.sample},
            "results": f"{folder}/results",
            "work": f"{folder}/work",
            "blocks": {"block_shape": block_shape},
            **recipe,
        }
        run_here(Workflow(settings, "benchmark"), STAGES)
        # Their group comes with the pyramid only.
        result = Input(path=f"{folder}/results/s.ome.zarr", key="labels/segmentation/0")
        for name, roi in data.rois.items():
            with open_source(result) as labels, open_source(data.truth) as truth:
                both = zip(labels.header.volume_shape, truth.header.volume_shape, strict=True)
                box = parse_roi(roi, triple([min(pair) for pair in both]))
                scores: dict[str, Any] = {**score_sources(PartOfSource(labels, box), PartOfSource(truth, box))}
            found[name] = {key: float(scores[key]) for key in SCORES}
    return found


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
            },
            Input(path=str(folder / "truth.tif"), axes="zyx"),
            [[64, 192, 192], [64, 96, 96], [32, 64, 96], [24, 80, 112]],
        )
    }
    if OVULE.exists():
        sets["ovule"] = DataSet(
            {"input": {"path": str(OVULE), "key": "raw"}},
            Input(path=str(OVULE), key="label"),
            [[32, 128, 128], [32, 64, 64], [16, 64, 64], [16, 32, 64], [20, 48, 80]],
        )
    if FIB25.exists():
        dark = {"predict": {"invert": True}, "partition": {"beta": 0.3, "levels": 2}}
        recipes = {"gasp": dark}
        if FIB25_MODEL.exists():
            told = yaml.safe_load((CONFIG / "fib25.yaml").read_text(encoding="utf-8"))
            stages = {
                key: told[key] for key in ("predict", "supervoxels", "partition", "segment", "execution") if key in told
            }
            recipes["network"] = {**stages, "predict": {**stages["predict"], "model": str(FIB25_MODEL)}}
        sets["fib25"] = DataSet(
            {"input": {"path": str(FIB25), "key": "raw"}},
            Input(path=str(FIB25), key="label"),
            [[250, 250, 250], [64, 64, 64]],
            recipes,
            {"": "0:125,:,:", "_held_out": "100:125,:,:"},
        )
    return sets


def _shapes(number: int, settings: dict[str, Any]) -> int | None:
    """With how many block shapes a recipe is tried."""
    if settings.get("predict", {}).get("augment", "none") != "none":
        return 1  # small blocks would compute their wide halo for every flip
    return None if number == 0 else 2


def main() -> None:
    """Score, print a table and the JSON line."""
    figures: dict[str, float] = {}
    print("| data set | recipe | block | " + " | ".join(SCORES) + " |")
    print("|---|---|---|" + "---|" * len(SCORES))
    with tempfile.TemporaryDirectory() as folder:
        for name, data in data_sets(Path(folder)).items():
            for number, (recipe, settings) in enumerate(data.recipes.items()):
                rows = []
                for shape in data.shapes[: _shapes(number, settings)]:
                    rows.append(score(data, shape, settings))
                    for region, found in rows[-1].items():
                        cells = " | ".join(f"{found[key]:.4f}" for key in SCORES)
                        print(f"| {name}{region} | {recipe} | {' × '.join(map(str, shape))} | {cells} |", flush=True)
                for region in data.rois:
                    for key in SCORES:
                        values = [row[region][key] for row in rows]
                        figures[f"{name}{region}.{recipe}.{key}"] = round(values[0], 5)
                        figures[f"{name}{region}.{recipe}.spread_{key}"] = round(max(values) - min(values), 5)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
