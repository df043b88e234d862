"""Whole runs with every method, and with inputs of all kinds."""

from __future__ import annotations

import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from pipeline_checks import BLOCKS, NAME, changed, done, labels, layout, measured, run, scores, settings

from bigseg.config.stages import Partition
from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid


def names_of(field: str) -> list[str]:
    return list(Partition.model_fields[field].annotation.__args__)


RECIPES = [{key: name} for key in ("method", "linkage") for name in names_of(key)]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: "-".join(recipe.values()))
def test_every_method_and_linkage(finished, recipe):
    config = changed(finished, partition=recipe)
    if recipe == {"method": "lifted_multicut"}:  # it needs a map; the cells stand for their nuclei
        config["samples"] = {NAME: {**config["samples"][NAME], "nuclei": config["samples"][NAME]["truth"]}}
    run(config)
    supervoxels = zarr.open_array(str(layout(config).supervoxels), mode="r")[...]
    found = labels(config)
    assert ((found == 0) == (supervoxels == 0)).all()
    objects = pd.DataFrame({"s": supervoxels.reshape(-1), "o": found.reshape(-1)}).drop_duplicates()
    assert objects["s"].is_unique, "a supervoxel lies in one object"
    smallest = objects.groupby("o")["s"].min()
    assert (smallest.index == smallest).all(), "an object's id is that of its smallest supervoxel"
    assert 1 < len(smallest) < len(objects)
    if "method" in recipe:
        assert scores(config)["adapted_rand_error"] < 0.1


def test_planes_by_themselves(single, tmp_path):
    """Supervoxels of `stacked_2d` never reach from plane to plane; objects do."""
    config = settings(tmp_path, single, blocks=BLOCKS, supervoxels={"dimension": "stacked_2d"})
    run(config)
    (supervoxels,) = zarr.open_array(str(layout(config).supervoxels), mode="r")[...]
    planes = [set(np.unique(plane)) - {0} for plane in supervoxels]
    assert sum(map(len, planes)) == len(set.union(*planes))
    (found,) = labels(config)
    assert set(np.unique(found[10])) & set(np.unique(found[14])) - {0}
    assert scores(config)["adapted_rand_error"] < 0.25


def test_mask(cells, single, tmp_path):
    """Nothing outside the mask, in a block without any of it either; the mask is part of the key of what it touches."""
    mask = np.ones(cells.image[0].shape, np.uint8)
    mask[:, :40, :40] = 0
    cells.write(tmp_path / "mask.tif", mask)
    config = settings(
        tmp_path,
        {**single, "mask": {"path": str(tmp_path / "mask.tif")}},
        blocks={"block_shape": [24, 16, 16]},
        supervoxels={"halo": [4, 8, 8]},
    )
    run(config)
    (found,) = labels(config)
    assert (found[mask == 0] == 0).all()
    assert (found[mask > 0] > 0).all()
    assert done(config) == {}

    mask[:, 20:, 60:] = 0
    cells.write(tmp_path / "mask.tif", mask)
    ran = done(config)
    grid = Grid(mask.shape, (24, 16, 16))
    seen = [
        piece
        for piece in range(16)
        if set(grid.touching(Box((0, 20, 60), (24, 64, 64)))) & set(grid.neighbourhood(piece, (4, 8, 8), (4, 8, 8)))
    ]
    assert "predict.blocks" not in ran
    assert 0 < ran["supervoxels.blocks"] <= len(seen)
    (found,) = labels(config)
    assert (found[mask == 0] == 0).all()
    assert (found[mask > 0] > 0).all()


def test_a_corner_without_signal(cells, tmp_path):
    """Blocks of nothing but zeros are stored like any others, so that a file that is gone is noticed."""
    image = cells.image[0].copy()
    image[:, :32, :32] = 0
    mask = image > 0
    mask[:, 40:, 40:] = True
    with h5py.File(tmp_path / "image.h5", "w") as file:
        file["raw"], file["mask"] = image, mask
    path = str(tmp_path / "image.h5")
    for name, sample in (
        ("plain", {"input": {"path": path, "key": "raw"}}),
        ("masked", {"input": {"path": path, "key": "raw"}, "mask": {"path": path, "key": "mask"}}),
    ):
        config = settings(tmp_path / name, sample, blocks=BLOCKS, pyramid={"smallest": 32})
        run(config)
        assert (layout(config).image() / "c" / "0" / "0" / "0" / "0" / "0").stat().st_size < 2000
        assert done(config) == {}
        (copied,) = zarr.open_array(str(layout(config).image()), mode="r")[0]
        assert np.array_equal(copied, image)
        (found,) = labels(config)
        assert found.any()
        if name == "masked":
            assert not found[:, :32, :32].any()


def test_a_single_plane(cells, tmp_path):
    plane = cells.image[0, 12]
    with h5py.File(tmp_path / "plane.h5", "w") as file:
        file["raw"], file["label"] = plane, cells.truth[0, 12]
    path = str(tmp_path / "plane.h5")
    sample = {
        "input": {"path": path, "key": "raw", "voxel_size_um": [1.0, 0.25, 0.25]},
        "truth": {"path": path, "key": "label"},
    }
    config = settings(tmp_path, sample, blocks={"block_shape": [1, 32, 32]}, pyramid={"smallest": 32})
    run(config, None)
    assert labels(config).shape == (1, 1, 64, 64)
    assert labels(config, 1).shape == (1, 1, 32, 32)
    assert scores(config)["adapted_rand_error"] < 0.15
    assert (layout(config).result_folder / "report.html").exists()


def test_small_objects_are_merged(single, tmp_path):
    config = settings(tmp_path, single, blocks=BLOCKS, segment={"minimum_object_size": 0})
    run(config)
    (before,) = labels(config)
    config = changed(config, segment={"minimum_object_size": 1500})
    run(config)
    (after,) = labels(config)
    sizes = np.unique(before, return_counts=True)[1]
    assert sizes.min() < 1500 < np.unique(after, return_counts=True)[1].min()
    pairs = np.unique(np.stack([before.reshape(-1), after.reshape(-1)]), axis=1)
    assert pairs.shape[1] == len(sizes), "objects are only merged, never cut"
    assert len(np.unique(after)) < len(sizes)


def test_channel(cells, single, tmp_path):
    """Of two channels the chosen one is segmented, both are stored."""
    noise = np.random.default_rng(0).integers(0, 255, cells.image[0].shape, np.uint8)
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["raw"] = np.stack([noise, cells.image[0]])
    sample = {
        **single,
        "input": {
            "path": str(tmp_path / "two.h5"),
            "key": "raw",
            "axes": "czyx",
            "voxel_size_um": [0.5, 0.25, 0.25],
        },
    }
    config = settings(tmp_path / "two", sample, blocks=BLOCKS, predict={"channel": 1})
    run(config)
    alone = settings(tmp_path / "one", single, blocks=BLOCKS)
    run(alone)
    assert np.array_equal(labels(config), labels(alone))
    stored = zarr.open_array(str(layout(config).image()), mode="r")[...]
    assert np.array_equal(stored, np.stack([noise, cells.image[0]])[None])
    columns = ["object", "mean_intensity"]
    assert measured(config)[columns].equals(measured(alone)[columns])
    assert set(done(changed(config, predict={"channel": 0}))) >= {"predict.blocks", "measure.blocks"}
