"""Stage ``predict`` with a network: whole runs, what they depend on, and what is refused before the first block."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from network_checks import MODELS, package
from pipeline_checks import Settings, changed, done, layout, run, settings

from bigseg.errors import UserError
from bigseg.networks.model import load_model
from bigseg.planning import models as planned
from bigseg.planning.workflow import Workflow

STAGES = ("ingest", "predict")
SHAPE = (12, 30, 34)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    package(folder / "boundary")
    package(folder / "both", outputs=("foreground", "boundary"))
    offsets = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
    package(folder / "affinities", outputs=("affinity",) * 3, offsets=offsets)
    package(folder / "flat", name="UNet2D")
    return folder


@pytest.fixture
def base(tmp_path, models) -> Settings:
    volume = np.random.default_rng(0).integers(0, 255, (2, *SHAPE)).astype(np.uint8)
    with h5py.File(tmp_path / "image.h5", "w") as file:
        file["raw"] = volume
    sample = {"input": {"path": str(tmp_path / "image.h5"), "axes": "tzyx", "voxel_size_um": [1.0, 1.0, 1.0]}}
    return settings(tmp_path, sample, blocks={"block_shape": [12, 16, 17]}, predict=predict(models, "boundary"))


@pytest.fixture(autouse=True)
def in_this_process(request, monkeypatch) -> None:
    """Describe models here: another process imports torch each time. One test does it as users do."""
    if "asks_once" not in request.node.name:
        monkeypatch.setattr(planned, "_describe", lambda spec: load_model(spec).description)


def predict(models: Path, name: str, **keys: Any) -> dict[str, Any]:
    return {"method": "network", "model": str(models / name), **keys}


def maps(config: Settings, name: str = "boundary") -> np.ndarray:
    return zarr.open_array(str(layout(config).folder / "predict.zarr" / name), mode="r")[...]


def refusal(config: Settings) -> UserError:
    with pytest.raises(UserError) as caught:
        Workflow(config, "test").parameters("predict.blocks", "a")
    assert caught.value.remedy
    return caught.value


def test_blocks_give_what_one_block_gives_and_only_changes_run_again(base, tmp_path):
    assert done(base, STAGES)["predict.blocks"] == 8
    whole = {
        **base,
        "work": str(tmp_path / "w"),
        "results": str(tmp_path / "r"),
        "blocks": {"block_shape": list(SHAPE)},
    }
    run(whole, STAGES)
    difference = np.abs(maps(base).astype(int) - maps(whole))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
    assert maps(whole).std() > 1
    assert done(base, STAGES) == {}
    assert "predict.blocks" not in done(changed(base, execution={"network_memory_gb": 1.0, "device": "cpu"}), STAGES)
    assert done(changed(base, predict={"mirror": [0, 4, 4]}), STAGES)["predict.blocks"] == 8


def test_another_model_at_the_same_place_runs_again(base, tmp_path):
    config = changed(base, predict={"model": str(tmp_path / "mine")})
    package(tmp_path / "mine")
    run(config, STAGES)
    package(tmp_path / "mine", seed=1)
    assert done(config, STAGES)["predict.blocks"] == 8


def test_the_rest_of_the_workflow_uses_the_boundary(base, models):
    config = changed(base, predict=predict(models, "both", dtype="float16"))
    made = run(config, ("ingest", "predict", "supervoxels", "graph"))
    assert made["graph.blocks"].done == 8
    assert maps(config).dtype == maps(config, "foreground").dtype == np.float16
    assert maps(config).shape == (2, *SHAPE)


def test_affinities_are_stored_with_a_boundary(base, models):
    config = changed(base, predict=predict(models, "affinities", augment="flips"))
    run(config, STAGES)
    affinities, boundary = maps(config, "affinities"), maps(config)
    assert affinities.shape == (2, 3, *SHAPE)
    assert np.array_equal(255 - affinities.min(axis=1), boundary)


def test_a_2d_network_runs_plane_by_plane(base, models):
    config = changed(base, predict=predict(models, "flat"))
    run(config, STAGES)
    before = maps(config)
    assert before.std() > 0
    assert json.loads(Workflow(config, "t").parameters("predict.blocks", "a"))["halo"][0] == 0


def test_unet2d_nuclei_broad_runs_over_a_3d_volume(base):
    folder = MODELS / "unet2d_nuclei_broad"
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    config = changed(
        base, predict={"model": str(folder), "outputs": ["foreground"]}, blocks={"block_shape": [1, 30, 34]}
    )
    config["samples"]["a"]["times"] = [0]
    with h5py.File(config["samples"]["a"]["input"]["path"], "r+") as file:
        volume = file["raw"][:, :2]
        del file["raw"]
        file["raw"] = volume
    run(config, STAGES)
    assert np.array_equal(maps(config), 255 - maps(config, "foreground"))


def test_planning_imports_no_torch_and_asks_once(base):
    code = (
        "import sys, json, time\n"
        "from bigseg.planning.workflow import Workflow\n"
        "w = Workflow(json.loads(sys.argv[1]), 'test')\n"
        "w.parameters('predict.blocks', 'a')\n"
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'bioimageio', 'numpy.linalg') if m in sys.modules][:4])\n"
    )
    for _ in range(2):
        found = subprocess.run(
            [sys.executable, "-c", code, json.dumps(base)], capture_output=True, text=True, check=True
        )
        assert not {"torch", "onnx", "onnxruntime", "bioimageio"} & set(json.loads(found.stdout.replace("'", '"')))
    assert layout(base).model.exists()


# Bad input


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"channels": [0, 0]}, "takes 1 channels"),
        ({"channels": [3]}, "3 is not a channel"),
        ({"outputs": ["boundary", "foreground"]}, "names 2 channels"),
        ({"outputs": ["ignore"]}, "all channels are ignored"),
        ({"outputs": ["affinity"]}, "0 offsets for 1 affinity"),
        ({"outputs": ["affinity"], "offsets": [[0, 0, 0]]}, "offsets must differ"),
        ({"patch": [3, 8, 8]}, "no multiple of the network's divisibility"),
        ({"mirror": [40, 0, 0]}, "more than the volume"),
        ({"model": "nowhere.onnx"}, "does not exist"),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_block(base, keys, told):
    assert told in refusal(changed(base, predict=keys)).problem


def test_images_are_normalised_as_in_training(base):
    from bigseg.config.training import Training
    from bigseg.training.loop import preprocessing_of

    files = {"raw": {"path": "a.h5"}, "label": {"path": "a.h5"}}
    for kind in ("percentiles", "standardise"):
        keys = {"normalise": kind, "percentiles": [2.0, 98.0]}
        config = changed(base, predict=keys)
        found = json.loads(Workflow(config, "test").parameters("predict.blocks", "a"))["normalise"]
        training = Training.model_validate({"output": "x", "train": [files], "validate_on": [files], **keys})
        assert found == [operation.model_dump(mode="json") for operation in preprocessing_of(training)]


def test_a_missing_model_is_told_once(base):
    problem = refusal(changed(base, predict={"model": "./nowhere"})).problem
    assert problem == "predict.model: ./nowhere does not exist"


def test_a_network_without_model_is_told(base):
    assert "needs a model: `membrane`" in refusal({**base, "predict": {"method": "network"}}).problem


def test_a_3d_network_on_one_plane_is_told(base, tmp_path):
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["raw"] = np.zeros((30, 34), np.uint8)
    config = {**base, "samples": {"a": {"input": {"path": str(tmp_path / "flat.h5")}}}, "blocks": {}}
    assert "single plane" in refusal(config).problem


def test_a_gpu_that_is_demanded_must_be_there(base):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match=r"execution\.device: cuda is demanded") as caught:
        run(changed(base, execution={"device": "cuda"}), STAGES)
    assert "set it to auto" in caught.value.remedy


def test_a_training_asks_for_a_gpu_whatever_makes_the_maps(base):
    for method in ("network", "intensity"):
        for device, gpus in (("cuda", 1), ("cpu", 0), ("auto", 0)):
            config = changed(base, predict={"method": method}, execution={"device": device})
            workflow = Workflow(config, "test")
            assert workflow.training_gpus() == gpus
            assert workflow.gpus() == (gpus if method == "network" else 0)


def test_memory_that_is_too_small_is_told(base):
    with pytest.raises(UserError, match="does not fit into memory"):
        run(changed(base, execution={"network_memory_gb": 1e-5}), STAGES)


def test_an_output_that_is_no_probability_is_told(base, models, tmp_path):
    package(tmp_path / "logits", is_segmentation=False)
    config = changed(base, predict={"model": str(tmp_path / "logits")})
    with pytest.raises(UserError, match="no probability") as caught:
        run(config, STAGES)
    assert "predict.activation" in caught.value.remedy
    run(changed(config, predict={"activation": "sigmoid"}), STAGES)


def test_a_model_that_changed_after_planning_is_told(base, tmp_path):
    package(tmp_path / "mine")
    workflow = Workflow(changed(base, predict={"model": str(tmp_path / "mine")}), "test")
    package(tmp_path / "mine", seed=1)
    from bigseg.local import run_here

    with pytest.raises(UserError, match="has changed since"):
        run_here(workflow, STAGES)


def test_out_of_memory_halves_the_patch_and_goes_on(base, monkeypatch):
    import torch

    from bigseg.networks.predictor import Predictor

    forward, refused = Predictor.forward, []

    def small(self, batch):
        if batch.numel() > 12 * 24 * 24:
            refused.append(batch.shape)
            raise torch.OutOfMemoryError("out of memory")
        return forward(self, batch)

    run(base, STAGES)
    expected = maps(base)
    again = changed(
        base, predict={"voxel_size_tolerance": 3.0, "precision": "float32"}, blocks={"block_shape": [12, 30, 34]}
    )
    monkeypatch.setattr(Predictor, "forward", small)
    with pytest.warns(UserWarning, match="going on with patches"):
        run(again, STAGES)
    assert refused
    assert np.abs(maps(again).astype(int) - expected).max() <= 1
