"""The partition in levels, run by Snakemake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from bigseg.local import run_here
from bigseg.planning.workflow import Workflow

pytestmark = pytest.mark.workflow

STAGES = ("ingest", "predict", "supervoxels", "graph", "partition", "segment")


def write(folder: Path, wall: int) -> None:
    """Two cells with a bright wall on the face between the blocks; a faint wall parts the first cell, or does not."""
    folder.mkdir(exist_ok=True)
    image = np.zeros((16, 32, 64), np.uint8)
    image[:, :, 15:17], image[:, :, 30:34] = wall, 255
    tifffile.imwrite(folder / "image.tif", image)
    config = {
        "samples": {"a": {"input": {"path": "image.tif", "axes": "zyx", "voxel_size_um": [1, 1, 1]}}},
        "blocks": {"block_shape": [16, 32, 32]},
        "predict": {"percentiles": [0, 100], "sigma": 0},
        "partition": {"levels": 1},
        "execution": {"threads": 1},
    }
    (folder / "config.yaml").write_text(json.dumps(config))


def labels(folder: Path) -> np.ndarray:
    return zarr.open_array(str(folder / "results" / "a.ome.zarr" / "labels" / "segmentation" / "0"), mode="r")[...]


def test_what_a_level_settles_reaches_the_labels_after_a_stop(tmp_path, snakemake, monkeypatch):
    """The cell is final in its block, so the root never sees what becomes of it, and its marker stays the same."""
    run, fresh = tmp_path / "run", tmp_path / "fresh"
    write(run, 110)
    assert snakemake(run, "--until", "segment").status == 0
    before, root = labels(run), (run / "work/a/status/partition/t0000/root.json").read_text()
    write(run, 200)
    assert snakemake(run, "--until", "segment_objects").status == 0
    assert (run / "work/a/status/partition/t0000/root.json").read_text() == root, "this tests nothing"
    assert snakemake(run, "--until", "segment").status == 0
    write(fresh, 200)
    monkeypatch.chdir(fresh)
    run_here(Workflow(json.loads(Path("config.yaml").read_text()), "config.yaml"), STAGES)
    np.testing.assert_array_equal(labels(run), labels(fresh))
    assert not np.array_equal(before, labels(fresh)), "this tests nothing"
