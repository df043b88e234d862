"""The benchmark of scores, on a volume of a few blocks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tifffile

from bigseg.config.samples import Input
from bigseg.geometry.box import Box
from bigseg.kernels.synthetic.tissue import Tissue

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks" / "quality.py"


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_quality", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_quality", module)
    spec.loader.exec_module(module)
    return module


def test_scores_of_a_region_and_of_all_are_those_of_the_labels(quality: ModuleType, tmp_path: Path) -> None:
    tissue = Tissue(shape=(16, 64, 64), seed=3)
    image, truth = tissue.render(Box((0, 0, 0), tissue.shape))
    tifffile.imwrite(tmp_path / "image.tif", image)
    tifffile.imwrite(tmp_path / "truth.tif", truth.astype(np.uint16))
    data = quality.DataSet(
        {"input": {"path": str(tmp_path / "image.tif"), "axes": "zyx", "voxel_size_um": list(tissue.voxel_size_um)}},
        Input(path=str(tmp_path / "truth.tif"), axes="zyx"),
        [[16, 64, 64]],
        rois={"": ":,:,:", "_left": ":,:,0:32"},
    )
    found = quality.score(data, [16, 32, 64], {})
    assert set(found) == {"", "_left"}
    assert found[""] != found["_left"]
    for scores in found.values():
        assert set(scores) == set(quality.SCORES)
        assert 0 < scores["adapted_rand_error"] < 0.3  # one object, or each supervoxel its own, gives 0.5 and more
