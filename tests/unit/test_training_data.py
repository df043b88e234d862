"""Training: patches that are drawn, and validation as a run does it."""

from __future__ import annotations

import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import zarr
from network_checks import image, in_blocks, model
from pipeline_checks import labels as run_labels
from pipeline_checks import run, settings
from training_checks import tiny, tiny_training, volume, write_tissue, write_volume

from bigseg.config.training import Training
from bigseg.geometry.box import Box
from bigseg.geometry.sampling import relative_sampling
from bigseg.networks.unet import UNet, build
from bigseg.planning.workflow import Workflow
from bigseg.training.data import LabelledVolume, PatchSampler, read_mirrored, validation_boxes
from bigseg.training.loop import architecture_of, preprocessing_of
from bigseg.training.segmentation import segment_boundary
from bigseg.training.validate import predict_logits, validate


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tissue(tmp_path_factory.mktemp("tissue") / "a.h5")


def test_patches_do_not_depend_on_what_was_drawn_before(tissue: Path) -> None:
    config = tiny_training(Path("unused"), tissue)
    with LabelledVolume(config.train[0], "train.0", preprocessing_of(config)) as source:
        sampler = PatchSampler([source], config, 3)
        forth = [sampler.draw(1, i, 0) for i in range(4)]
        back = [sampler.draw(1, i, 0) for i in reversed(range(4))][::-1]
        for one, other in zip(forth, back, strict=True):
            assert one.image.shape == (1, 8, 16, 16)
            assert np.array_equal(one.image, other.image)
            assert np.array_equal(one.targets.values, other.targets.values)
        assert not np.array_equal(forth[0].image, forth[1].image)
        assert not np.array_equal(sampler.draw(2, 0, 0).image, forth[0].image)


@pytest.mark.parametrize("kind", ["zarr", "hdf5"])
def test_volumes_are_read_box_by_box(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    shape = (8, 600, 300)
    image = rng.integers(0, 255, shape).astype(np.uint8)
    labels = np.arange(np.prod(shape), dtype=np.uint32).reshape(shape) // 999
    if kind == "hdf5":
        spec = volume(write_volume(tmp_path / "v.h5", image, labels))
    else:
        for name, values in (("raw", image), ("label", labels)):
            array = zarr.create_array(
                str(tmp_path / f"{name}.zarr"),
                shape=shape,
                chunks=(8, 64, 64),
                dtype=values.dtype,
                dimension_names=list("zyx"),
            )
            array[...] = values
        spec = {name: {"path": str(tmp_path / f"{name}.zarr")} for name in ("raw", "label")}
    config = Training.model_validate({**tiny(tmp_path, tmp_path), "train": [spec], "validate_on": [spec]})
    with LabelledVolume(config.train[0], "train.0", preprocessing_of(config)) as source:
        largest, lock = 0, threading.Lock()
        read = source.image.read

        def counted(t: int, c: int, box: Box) -> np.ndarray:
            nonlocal largest
            with lock:
                largest = max(largest, box.size)
            return read(t, c, box)

        monkeypatch.setattr(source.image, "read", counted)
        gain, offset = source.steps[0][1][0], source.steps[0][2][0]
        assert gain == pytest.approx(1 / (image.std() + 1e-6), rel=1e-6)
        assert -offset / gain == pytest.approx(image.mean())
        PatchSampler([source], config, 3).draw(1, 0, 0)
        assert largest <= 8 * 26 * 26  # patch and margin


def test_beyond_the_part_voxels_are_mirrored_never_read(tissue: Path) -> None:
    config = Training.model_validate(
        {
            **tiny(Path("unused"), tissue),
            "train": [volume(tissue, begin=[4, 0, 0], end=[10, 30, 48])],
        }
    )
    with h5py.File(tissue) as file:
        truth = file["label"][4:10, :30]
    with LabelledVolume(config.train[0], "train.0", preprocessing_of(config)) as source:
        image, labels = read_mirrored(source, Box((4, 20, 40), (12, 30, 48)), (2, 2, 2))
        padded = np.pad(truth, [(2, 4), (0, 2), (0, 2)], mode="symmetric")
        assert np.array_equal(labels, padded[:, 18:32, 38:50])
        assert image.shape == (1, *labels.shape)


def test_little_labelled_patches_are_drawn_again(tmp_path: Path) -> None:
    labels = np.zeros((16, 64, 64), np.uint32)
    labels[:, 40:, 40:] = 1 + np.arange(24) // 6
    image = np.random.default_rng(0).integers(0, 255, labels.shape).astype(np.uint8)
    path = write_volume(tmp_path / "v.h5", image, labels)
    config = tiny_training(tmp_path, path, labelled=0.5, target={"ignore_label": 0})
    with LabelledVolume(config.train[0], "train.0", preprocessing_of(config)) as source:
        sampler = PatchSampler([source], config, 3)
        shares = [sampler.draw(1, i, 0).targets.known.mean() for i in range(12)]
    assert np.mean(np.array(shares) >= 0.5) > 0.7


def test_validation_boxes_cover_and_are_limited(tissue: Path) -> None:
    config = tiny_training(Path("unused"), tissue)
    with LabelledVolume(config.train[0], "train.0", preprocessing_of(config)) as source:
        boxes = validation_boxes(source, (16, 20, 48), 9)
        assert sum(box.size for box in boxes) == source.box.size
        assert len(validation_boxes(source, (4, 8, 8), 5)) == 5


def test_validation_predicts_what_a_run_predicts() -> None:
    found = model(f_maps=[4, 8, 8], num_levels=3)
    volume = image(1, 6, 13, 18)
    whole = in_blocks(found, volume, (6, 13, 18))["boundary"]
    assert isinstance(found.network, UNet)
    logits = predict_logits(found.network, volume, torch.device("cpu"), torch.float32)
    assert np.abs(torch.sigmoid(logits)[0].numpy() - whole).max() < 1e-5


def test_a_foreground_hides_nothing_from_validation_as_in_a_run(tmp_path: Path, tissue: Path) -> None:
    target = {"kind": "foreground_boundary"}
    config = tiny_training(tmp_path, tissue, target=target)
    network = build(architecture_of(config))
    found = []
    with LabelledVolume(config.validate_on[0], "validate_on.0", preprocessing_of(config)) as source:
        for bias in (0.0, -1000.0):
            with torch.no_grad():
                network.final_conv.bias[0] = bias
            found.append(validate(network, [source], config, torch.device("cpu"), torch.float32))
    assert found[0].adapted_rand_error == found[1].adapted_rand_error
    assert found[0].voi_split == found[1].voi_split
    assert found[1].loss > found[0].loss


def test_an_axis_of_one_voxel_does_not_count_as_in_a_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "plane.h5"
    with h5py.File(path, "w") as file:
        for name, values in (("raw", rng.integers(0, 255, (1, 40, 44))), ("label", rng.integers(0, 4, (1, 40, 44)))):
            file[name] = values.astype(np.uint8)
    size = [0.05, 0.4, 0.2]
    spec = volume(path)
    spec["raw"]["voxel_size_um"] = size
    config = tiny_training(tmp_path, path, train=[spec])
    with LabelledVolume(config.train[0], "train.0", preprocessing_of(config)) as source:
        assert source.sampling == pytest.approx((1.0, 2.0, 1.0))
        plan = Workflow(settings(tmp_path, {"input": spec["raw"]}), "test").plans["a"]
        assert source.sampling == plan.sampling
    assert relative_sampling((0.3, 0.1, 0.2), (5, 5, 5)) == pytest.approx((3.0, 1.0, 2.0))
    assert relative_sampling(None, (5, 5, 5)) == relative_sampling((2.0, 3.0, 4.0), (1, 1, 1)) == (1.0, 1.0, 1.0)


def test_segmentation_is_that_of_a_run(tmp_path: Path, tissue: Path) -> None:
    made = settings(tmp_path, {"input": volume(tissue)["raw"]}, supervoxels={"minimum_size": 20})
    run(made)
    boundary = zarr.open_array(str(Path(made["work"]) / "a" / "predict.zarr" / "boundary"), mode="r")[0]
    from bigseg.config.stages import Supervoxels

    result = segment_boundary(
        boundary.astype(np.float32) / 255,
        Supervoxels(minimum_size=20),
        beta=0.5,
        minimum_object_size=100,
        sampling=(1.0, 1.0, 1.0),
    )
    from pipeline_checks import same_partition

    assert same_partition(result, run_labels(made)[0])
