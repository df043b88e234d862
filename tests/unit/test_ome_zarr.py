"""The result is a valid OME-Zarr 0.5 that other programs open as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from ome_zarr_models.v05 import Image, ImageLabel, Labels
from pipeline_checks import Settings, changed, done, labels, layout, run, settings

VOXEL_SIZE_UM = (0.5, 0.25, 0.25)
LEVELS = [(24, 64, 64), (24, 32, 32), (12, 16, 16)]
"""The z axis, twice as coarse, is first halved when the voxels have become cubes."""
SCALES = [(1, 1, 1), (1, 2, 2), (2, 4, 4)]


@pytest.fixture(scope="module")
def config(cells, tmp_path_factory) -> Settings:
    """A finished sample of two time points and two channels."""
    folder = tmp_path_factory.mktemp("result")
    with h5py.File(folder / "image.h5", "w") as file:
        file["raw"] = np.stack([cells.image[:2], cells.image[1:]], axis=1)
    spec = {
        "path": str(folder / "image.h5"),
        "key": "raw",
        "axes": "tczyx",
        "voxel_size_um": list(VOXEL_SIZE_UM),
    }
    made = settings(folder, {"input": spec}, blocks={"block_shape": [24, 32, 32]}, pyramid={"smallest": 16})
    run(made)
    return made


@pytest.fixture(scope="module")
def result(config) -> zarr.Group:
    """The result as zarr alone opens it, without bigseg's settings."""
    with zarr.config.set({"codec_pipeline.path": "zarr.core.codec_pipeline.BatchedCodecPipeline"}):
        return zarr.open_group(str(layout(config).result), mode="r", zarr_format=3)


def image_of(group: zarr.Group) -> Image:
    return Image.from_zarr(group)


def labels_of(group: zarr.Group) -> ImageLabel:
    return ImageLabel.from_zarr(group["labels/segmentation"])


def test_the_models_of_the_specification_accept_it(result):
    image_of(result)
    listed = Labels.from_zarr(result["labels"])
    assert listed.attributes.ome.labels == ["segmentation", "tracks"]
    assert result.attrs["ome"]["version"] == "0.5"
    for name in listed.attributes.ome.labels:
        group = result[f"labels/{name}"]
        ImageLabel.from_zarr(group)
        assert group.attrs["ome"]["image-label"]["source"]["image"] == "../../"
        assert group.attrs["ome"]["version"] == "0.5"
        assert [group[str(level)].shape[1:] for level in range(3)] == LEVELS


@pytest.mark.parametrize(
    ("read", "axes", "leading"), [(image_of, "tczyx", (2, 2)), (labels_of, "tzyx", (2,))], ids=["image", "labels"]
)
def test_levels_with_their_shapes_and_positions(
    result: zarr.Group, read: Callable[[zarr.Group], Any], axes: str, leading: tuple[int, ...]
):
    (multiscale,) = read(result).attributes.ome.multiscales
    group = result if axes == "tczyx" else result["labels/segmentation"]
    assert "".join(axis.name for axis in multiscale.axes) == axes
    assert {axis.name: axis.unit for axis in multiscale.axes if axis.type == "space"} == dict.fromkeys(
        "zyx", "micrometer"
    )
    assert [dataset.path for dataset in multiscale.datasets] == ["0", "1", "2"]
    assert sorted(name for name, _ in group.arrays()) == ["0", "1", "2"]
    for dataset, shape, factors in zip(multiscale.datasets, LEVELS, SCALES, strict=True):
        array = group[dataset.path]
        assert array.shape == (*leading, *shape)
        assert array.metadata.dimension_names == tuple(axes)
        scale, translation = dataset.coordinateTransformations
        space = [s * f for s, f in zip(VOXEL_SIZE_UM, factors, strict=True)]
        assert scale.scale == [*(1.0 for _ in leading), *space]
        # The first voxel of a level is the mean of the first voxels of level 0, and lies in their middle.
        middle = [s * np.mean(np.arange(f)) for s, f in zip(VOXEL_SIZE_UM, factors, strict=True)]
        assert translation.translation == pytest.approx([*(0.0 for _ in leading), *middle])


def test_voxels(result, cells):
    assert result["0"].dtype == np.uint8
    for t in range(2):
        for c in range(2):
            assert np.array_equal(result["0"][t, c], cells.image[t + c])
    coarse = cells.image[0].reshape(24, 32, 2, 32, 2).mean(axis=(2, 4))
    assert np.abs(result["1"][0, 0] - coarse).max() <= 0.5


def test_coarse_labels_are_labels_of_the_voxels_under_them(result):
    group = result["labels/segmentation"]
    fine = group["0"][...]
    assert fine.dtype == np.uint64
    for level in ("1", "2"):
        coarse = group[level][...]
        factor = [f // c for f, c in zip(fine.shape, coarse.shape, strict=True)]
        spread = coarse
        for axis, times in enumerate(factor):
            spread = spread.repeat(times, axis=axis)
        known = {(t, label) for t in range(2) for label in np.unique(fine[t])}
        assert {(t, label) for t in range(2) for label in np.unique(coarse[t])} <= known
        assert (spread == fine).mean() > 0.7
    assert (group["1"][...].repeat(2, axis=2).repeat(2, axis=3) == fine).mean() > 0.9


def test_the_whole_is_readable_by_plain_json(config):
    """Groups consist of zarr.json alone, and name the run that they belong to."""
    root = layout(config).result
    groups = [root, root / "labels", root / "labels" / "segmentation"]
    for folder in groups:
        content = json.loads((folder / "zarr.json").read_text())
        assert (content["zarr_format"], content["node_type"]) == (3, "group")
    owner = json.loads((root / "zarr.json").read_text())["attributes"]["bigseg"]
    assert owner == {"input": config["samples"]["a"]["input"]["path"], "key": "raw"}
    others = [path for path in root.rglob("*") if path.is_file() and path.name != "zarr.json"]
    assert all("c" in path.relative_to(root).parts for path in others), "nothing but metadata and chunks"


def test_levels_that_are_no_more_wanted_are_removed(config, tmp_path):
    own = {**config, "results": str(tmp_path / "results"), "work": str(tmp_path / "work")}
    run(own)
    shallow = changed(own, pyramid={"smallest": 32})
    assert set(done(shallow)) == {"pyramid.metadata"}
    group = zarr.open_group(str(layout(own).result), mode="r")
    assert sorted(name for name, _ in group.arrays()) == ["0", "1"]
    assert len(image_of(group).attributes.ome.multiscales[0].datasets) == 2
    assert len(labels_of(group).attributes.ome.multiscales[0].datasets) == 2
    assert set(done(own)) == {"pyramid.image2", "pyramid.labels2", "pyramid.tracks2", "pyramid.metadata"}
    group = zarr.open_group(str(layout(own).result), mode="r")
    assert group["labels/segmentation/2"].shape == (2, 12, 16, 16)
    assert np.array_equal(labels(own, 2), labels(config, 2))


def test_a_result_that_is_not_whole_is_no_ome_zarr(cells, tmp_path):
    own = settings(tmp_path, {"input": {"path": str(cells.folder / "image_t0.tif")}})
    run(own, ("ingest", "predict", "supervoxels", "graph", "partition", "segment"))
    content = json.loads((layout(own).result / "zarr.json").read_text())
    assert "ome" not in content["attributes"]
    assert content["attributes"]["bigseg"]["input"] == str(Path(cells.folder / "image_t0.tif"))
    run(own)
    image_of(zarr.open_group(str(layout(own).result), mode="r"))
