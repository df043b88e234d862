"""The models that come with bigseg."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from network_checks import in_blocks, package
from pipeline_checks import DATA, run, scores, settings

from bigseg.errors import UserError
from bigseg.networks.description import ModelSpec
from bigseg.networks.model import load_model
from bigseg.networks.processing import Values, apply_steps, resolve
from bigseg.networks.shipped import find_shipped, shipped_models

OVULE = DATA / "membranes" / "sample_ovule.h5"


def test_each_is_small_and_gives_what_it_should() -> None:
    assert "membrane" in shipped_models()
    for name in shipped_models():
        folder = find_shipped(name)
        assert folder is not None
        assert sum(path.stat().st_size for path in folder.iterdir()) < 4e6
        model = load_model(ModelSpec(path=name))
        raw, expected = (np.load(*folder.glob(f"test_{which}*.npy")) for which in ("input", "output"))
        steps = resolve(model.description.preprocessing, [Values.of(channel) for channel in raw[0]])
        with torch.inference_mode():
            result = model(torch.from_numpy(apply_steps(raw[0], steps).astype(np.float32))[None])
        assert np.abs(result.numpy() - expected).max() < 1e-4


def test_the_membrane_model_is_for_any_voxel_size_and_leaves_no_seams() -> None:
    model = load_model(ModelSpec(path="membrane"))
    description = model.description
    assert description.voxel_size_um is None
    assert description.outputs == ("boundary",)
    assert not description.statistics
    assert description.crest_weight == 40  # as the configuration says
    image = np.random.default_rng(0).random((1, 12, 64, 64)).astype(np.float32)
    blocks = in_blocks(model, image, (12, 32, 32))["boundary"]
    whole = in_blocks(model, image, (12, 64, 64))["boundary"]
    assert np.abs(blocks - whole).max() < 1e-5


def test_a_folder_of_the_same_name_needs_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path / "membrane", outputs=("foreground",))
    monkeypatch.chdir(tmp_path)
    assert load_model(ModelSpec(path="./membrane")).description.outputs == ("foreground",)
    assert load_model(ModelSpec(path="membrane")).description.outputs == ("boundary",)
    assert find_shipped("../models/membrane") is None
    with pytest.raises(UserError):
        load_model(ModelSpec(path="./membranes"))


@pytest.mark.slow
@pytest.mark.skipif(not OVULE.exists(), reason="the shared data are not on this machine")
def test_the_membrane_model_beats_the_image_itself(tmp_path: Path) -> None:
    """In all scores: in the cells that are found, and, by the crest of the image, in where walls lie."""
    sample = {"input": {"path": str(OVULE), "key": "raw"}, "truth": {"path": str(OVULE), "key": "label"}}
    network = {"method": "network", "model": "membrane"}
    found = []
    for name, predict in (("image", {}), ("network", network), ("flips", {**network, "augment": "flips"})):
        made = settings(tmp_path / name, sample, predict=predict)
        run(made)
        found.append(scores(made))
    image, plain, flips = found
    for better in (plain, flips):
        assert all(better[key] > image[key] for key in ("ap50", "map", "sbd"))
        assert all(better[key] < image[key] for key in ("adapted_rand_error", "voi_split", "voi_merge"))
