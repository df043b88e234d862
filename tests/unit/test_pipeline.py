"""Whole runs, from files to scores, in this process."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from pipeline_checks import (
    DATA,
    NAME,
    WITHOUT_REPORT,
    Settings,
    changed,
    digests,
    done,
    labels,
    layout,
    run,
    same_partition,
    scores,
    settings,
)

from bigseg.config.stages import Partition
from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid
from bigseg.kernels.tissue import Tissue

BLOCKS = {"block_shape": [24, 32, 32]}
NUMBER_OF_BLOCKS = 4
HERE = {"results": "results", "work": "work"}
"""Relative folders, so that a finished run may be copied to another place."""
AFTER_SUPERVOXELS = {"graph.blocks", "partition.root"}
AFTER_PARTITION = {
    "segment.contacts",
    "segment.objects",
    "segment.blocks",
    "pyramid.labels1",
    "measure.blocks",
    "measure.table",
    "evaluate.blocks",
    "evaluate.scores",
    "seams.blocks",
    "seams.summary",
}


@pytest.fixture(scope="module")
def single(cells) -> dict[str, Any]:
    """The first time point, with its truth."""
    return {
        "input": {"path": str(cells.folder / "image_t0.tif")},
        "truth": {"path": str(cells.folder / "truth_t0.tif")},
    }


@pytest.fixture(scope="module")
def first_run(single, tmp_path_factory) -> Settings:
    """A finished run with its report; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("first")
    config = settings(folder, single, blocks=BLOCKS, pyramid={"smallest": 32})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run({**config, **HERE}, None)
    return config


@pytest.fixture
def finished(first_run, tmp_path, monkeypatch) -> Settings:
    """A finished run of the test's own, in the working directory."""
    for key in ("results", "work"):
        shutil.copytree(first_run[key], tmp_path / key)
    monkeypatch.chdir(tmp_path)
    return {**first_run, **HERE}


# Quality, and that blocks do not matter


@pytest.fixture(scope="module")
def ovule() -> dict[str, Any]:
    path = DATA / "membranes" / "sample_ovule.h5"
    if not path.exists():
        pytest.skip(f"real data {path} are not on this machine")
    return {"input": {"path": str(path), "key": "raw"}, "truth": {"path": str(path), "key": "label"}}


@pytest.fixture(scope="module")
def tissue(tmp_path_factory) -> dict[str, Any]:
    """A tissue with background around it."""
    path = tmp_path_factory.mktemp("tissue") / "tissue.h5"
    made = Tissue((32, 96, 96))
    image, truth = made.render(Box((0, 0, 0), made.shape))
    with h5py.File(path, "w") as file:
        file["raw"], file["label"] = image, truth
        file["raw"].attrs["element_size_um"] = made.voxel_size_um
    return {"input": {"path": str(path), "key": "raw"}, "truth": {"path": str(path), "key": "label"}}


def errors(config: Settings) -> tuple[float, float]:
    run(config)
    found = scores(config)
    return found["adapted_rand_error"], found["voi_split"] + found["voi_merge"]


def test_default_settings_on_real_data(ovule, tmp_path):
    rand, voi = errors(settings(tmp_path, ovule))
    assert rand <= 0.055
    assert voi <= 0.62


def test_default_settings_on_synthetic_data(tissue, tmp_path):
    config = settings(tmp_path, tissue)
    rand, voi = errors(config)
    assert rand <= 0.06
    assert voi <= 0.55
    assert scores(config)["recall"] >= 0.9


@pytest.mark.parametrize("shapes", [[[32, 128, 128], [16, 64, 64], [32, 32, 64], [8, 64, 128]]])
def test_blocks_do_not_matter_on_real_data(ovule, tmp_path, shapes):
    check_blocks_do_not_matter(ovule, tmp_path, shapes)


@pytest.mark.parametrize("shapes", [[[32, 96, 96], [16, 48, 48], [24, 40, 56], [8, 64, 64]]])
def test_blocks_do_not_matter_on_synthetic_data(tissue, tmp_path, shapes):
    check_blocks_do_not_matter(tissue, tmp_path, shapes)


def check_blocks_do_not_matter(sample: dict[str, Any], folder: Path, shapes: list[list[int]]) -> None:
    found = [errors(settings(folder / str(i), sample, blocks={"block_shape": shape})) for i, shape in enumerate(shapes)]
    spread = np.ptp(np.array(found), axis=0)
    assert spread[0] <= 0.01, found
    assert spread[1] <= 0.01, found


@pytest.mark.parametrize(("batches", "threads"), [(7, 1), (3, 2), (1, 2)], ids=["7-1", "3-2", "again"])
def test_batches_and_threads_do_not_matter(first_run, tmp_path, batches, threads):
    config = settings(
        tmp_path,
        first_run["samples"]["a"],
        blocks=BLOCKS,
        pyramid={"smallest": 32},
        execution={"batches": batches, "threads": threads},
    )
    run(config)
    expected = {key: digest for key, digest in digests(first_run).items() if not key[0].startswith("report.")}
    assert digests(config) == expected
    assert np.array_equal(labels(config), labels(first_run))


def test_other_batches_run_nothing_again(finished):
    assert done(changed(finished, execution={"batches": 7, "threads": 1}), None) == {}


def test_two_samples_in_one_run(cells, single, finished, tmp_path):
    other = {"input": {"path": str(cells.folder / "image_t1.tif")}}
    both = {**finished, "samples": {"a": single, "b": other}}
    before = digests(finished)
    assert set(done(both)) >= {"ingest.blocks", "segment.blocks", "measure.table"}
    assert digests(both) == before
    assert (tmp_path / "results" / "b.ome.zarr" / "labels" / "segmentation" / "zarr.json").exists()
    assert not (tmp_path / "results" / "b" / "scores.json").exists()


# What runs again


def test_nothing_is_done_again(finished):
    assert done(finished, None) == {}


CHANGES: list[tuple[dict[str, dict[str, Any]], set[str]]] = [
    ({"partition": {"beta": 0.2}}, {"partition.root", *AFTER_PARTITION}),
    (
        {"partition": {"method": "multicut", "beta": 0.2}},
        {"partition.root", "partition.energy", "partition.quality", *AFTER_PARTITION},
    ),
    (
        {"supervoxels": {"sigma_seeds": 1.0}},
        {"supervoxels.blocks", *AFTER_SUPERVOXELS, *AFTER_PARTITION},
    ),
    (
        {"supervoxels": {"threshold": 0.3}},
        {"supervoxels.blocks", *AFTER_SUPERVOXELS, *AFTER_PARTITION},
    ),
    (
        {"predict": {"sigma": 0.5}},
        {"predict.blocks", "supervoxels.blocks", *AFTER_SUPERVOXELS, *AFTER_PARTITION},
    ),
    ({"segment": {"minimum_object_size": 2000}}, AFTER_PARTITION),
    ({"pyramid": {"smallest": 16}}, {"pyramid.image2", "pyramid.labels2", "pyramid.metadata"}),
    ({"evaluate": {"ignore_zero": False}}, {"evaluate.scores"}),
    ({"seams": {"distance": 4}}, {"seams.blocks", "seams.summary"}),
    ({"seams": {"minimum_cut": 5}}, {"seams.summary"}),
    # What a method does not use, and how the work is run, change nothing.
    ({"partition": {"size_weight": 0.5}}, set()),
    ({"execution": {"threads": 1, "batches": 2}}, set()),
    ({"ingest": {"reference": False}}, set()),
]


@pytest.mark.parametrize(("change", "expected"), CHANGES, ids=lambda value: json.dumps(value, default=sorted)[:60])
def test_exactly_what_depends_on_a_change_runs_again(finished, change, expected):
    before = labels(finished)
    assert set(done(changed(finished, **change))) == expected
    if "segment.blocks" in expected:
        assert not same_partition(before, labels(finished)), "the change changes no label, so it tests nothing"


def test_report_settings_run_only_the_report(finished):
    assert set(done(changed(finished, report={"planes": 2}), None)) == {"report.page", "report.provenance"}


def test_another_block_shape_runs_everything_again(finished):
    config = changed(finished, blocks={"block_shape": [24, 64, 32]})
    assert set(done(config)) >= {"ingest.blocks", "predict.blocks", "supervoxels.blocks", "segment.blocks"}
    fresh = {**config, "results": f"{config['results']}-new", "work": f"{config['work']}-new"}
    run(fresh)
    assert np.array_equal(labels(config), labels(fresh))


def test_and_back_again(finished):
    """What was overwritten is computed again although its key is known."""
    before = labels(finished)
    run(changed(finished, partition={"beta": 0.2}))
    assert not np.array_equal(before, labels(finished))
    run(finished)
    assert np.array_equal(before, labels(finished))


def test_an_edited_region_runs_only_its_neighbourhood(cells, tmp_path):
    """Two voxels change places in the middle of a block, so the intensities that become 0 and 1 stay as they were."""
    image = cells.image[0].copy()
    cells.write(tmp_path / "image.tif", image)
    block, halo = [24, 16, 16], [4, 10, 10]
    config = settings(
        tmp_path,
        {"input": {"path": str(tmp_path / "image.tif")}},
        blocks={"block_shape": block},
        supervoxels={"halo": halo, "minimum_size": 5},
    )
    run(config)
    darkest, brightest = (
        np.unravel_index(find(image[8:16, 24:26, 24:26]), (8, 2, 2)) for find in (np.argmin, np.argmax)
    )
    region = image[8:16, 24:26, 24:26]
    region[darkest], region[brightest] = region[brightest], region[darkest]
    cells.write(tmp_path / "image.tif", image)
    os.utime(tmp_path / "image.tif", (1, 1))
    ran = done(config)
    grid = Grid(image.shape, tuple(block))
    (edited,) = grid.touching(Box((8, 24, 24), (16, 26, 26)))
    near = [piece for piece in range(16) if edited in grid.neighbourhood(piece, tuple(halo), tuple(halo))]
    assert len(near) == 9
    assert ran["ingest.blocks"] == 16  # the file is read again to see what changed in it
    assert ran["predict.blocks"] == 9
    assert ran["supervoxels.blocks"] == 9  # eight of the nine boundary maps came out the same
    assert ran.get("graph.blocks", 0) <= 12
    assert ran.get("segment.blocks", 0) < 16


def test_an_edited_region_that_changes_the_normalisation_runs_everything(cells, tmp_path):
    """A bright corner moves the intensity that becomes 1, for blocks far away too."""
    image = cells.image[0].copy()
    cells.write(tmp_path / "image.tif", image)
    sample = {"input": {"path": str(tmp_path / "image.tif")}}
    config = settings(
        tmp_path, sample, blocks={"block_shape": [24, 16, 16]}, predict={"percentiles": [1.0, 60.0], "sigma": 0.0}
    )
    run(config)
    image[:, :10, :10] = 255
    cells.write(tmp_path / "image.tif", image)
    os.utime(tmp_path / "image.tif", (1, 1))
    assert done(config)["predict.blocks"] == 16
    fresh = settings(tmp_path / "fresh", sample, **{name: config[name] for name in ("blocks", "predict")})
    run(fresh)
    assert np.array_equal(labels(config), labels(fresh))


GONE: dict[str, tuple[str, str]] = {
    "image": ("ingest.blocks", "results/a.ome.zarr/0/c"),
    "histograms": ("ingest.blocks", "work/a/ingest/t0000/histogram-000002.parquet"),
    "statistics": ("ingest.statistics", "work/a/ingest/t0000/statistics.json"),
    "merged histogram": ("ingest.statistics", "work/a/ingest/t0000/merged-histogram-c0.parquet"),
    "boundary map": ("predict.blocks", "work/a/predict.zarr/boundary/c"),
    "supervoxels": ("supervoxels.blocks", "work/a/supervoxels.zarr/labels/c"),
    "faces": ("supervoxels.blocks", "work/a/supervoxels.zarr/continues/c"),
    "edges": ("graph.blocks", "work/a/graph/t0000/edges-000001.parquet"),
    "partition": ("partition.root", "work/a/partition/t0000/map.parquet"),
    "contacts": ("segment.contacts", "work/a/segment/t0000/contacts-000002.parquet"),
    "sizes": ("segment.contacts", "work/a/segment/t0000/sizes-000002.parquet"),
    "objects": ("segment.objects", "work/a/segment/t0000/map.parquet"),
    "labels": ("segment.blocks", "results/a.ome.zarr/labels/segmentation/0/c"),
    "coarse image": ("pyramid.image1", "results/a.ome.zarr/1/c"),
    "coarse labels": ("pyramid.labels1", "results/a.ome.zarr/labels/segmentation/1/c"),
    "metadata of the labels": ("pyramid.metadata", "results/a.ome.zarr/labels/segmentation/zarr.json"),
    "list of labels": ("pyramid.metadata", "results/a.ome.zarr/labels/zarr.json"),
    "measurements": ("measure.blocks", "work/a/measure/t0000/objects-000003.parquet"),
    "table": ("measure.table", "results/a/objects.parquet"),
    "pairs": ("evaluate.blocks", "work/a/evaluate/t0000/pairs-000000.parquet"),
    "scores": ("evaluate.scores", "results/a/scores.json"),
    "surface": ("seams.blocks", "work/a/seams/t0000/surface-000001.parquet"),
    "objects in contact": ("seams.blocks", "work/a/seams/t0000/contacts-000003.parquet"),
    "pairs by distance": ("seams.blocks", "work/a/seams/t0000/pairs-000000.parquet"),
    "seams": ("seams.summary", "results/a/seams.json"),
}


@pytest.mark.parametrize("what", GONE)
def test_output_that_is_gone_is_made_again(finished, tmp_path, what):
    """And nothing else, because it comes out as it was."""
    step, name = GONE[what]
    path = tmp_path / name
    before = files(tmp_path)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    assert set(done(finished)) == {step}
    assert files(tmp_path) == before


def files(folder: Path) -> dict[str, bytes]:
    """Content of all files but ledgers, which tell the time."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "ledger" not in path.parts
    }


# Methods and inputs


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


def measured(config: Settings) -> pd.DataFrame:
    return pd.read_parquet(layout(config).result_folder / "objects.parquet")


# Time


def lapse(folder: Path, cells, times: int) -> dict[str, Any]:
    """The first time points of the cells in a folder of their own."""
    folder.mkdir(exist_ok=True)
    for t in range(times):
        for kind in ("image", "truth"):
            target = folder / f"{kind}_t{t}.tif"
            if not target.exists():
                shutil.copy2(cells.folder / target.name, target)
    return {"input": {"path": f"{folder}/image_t{{t}}.tif"}, "truth": {"path": f"{folder}/truth_t{{t}}.tif"}}


def test_a_new_time_point_is_processed_alone(cells, tmp_path):
    sample = lapse(tmp_path / "files", cells, 2)
    config = settings(tmp_path, sample, blocks=BLOCKS, pyramid={"smallest": 32})
    run(config)
    before, known = labels(config), digests(config)
    assert before.shape == (2, 24, 64, 64)
    assert set(measured(config)["time"]) == {0, 1}

    lapse(tmp_path / "files", cells, 3)
    ran = done(config)
    whole = {"ingest.statistics", "partition.root", "segment.objects"}
    whole |= {"track.detections", "track.links", "track.lineages"}
    merging = {"pyramid.metadata", "measure.table", "track.table", "evaluate.scores", "seams.summary"}
    merging |= {"track.exports", "evaluate.tracks"}
    coarse = {"pyramid.image1", "pyramid.labels1", "pyramid.tracks1"}
    assert {step: ran.pop(step) for step in whole | merging} == dict.fromkeys(whole | merging, 1)
    assert {step: ran.pop(step) for step in coarse} == dict.fromkeys(coarse, 1)
    assert set(ran.values()) == {NUMBER_OF_BLOCKS}
    stages = ("ingest", "predict", "supervoxels", "graph", "segment", "measure", "track", "evaluate", "seams")
    assert set(ran) == {f"{stage}.blocks" for stage in stages} | {
        "segment.contacts",
        "track.overlaps",
        "evaluate.track_overlaps",
    }
    found = labels(config)
    assert found.shape == (3, 24, 64, 64)
    assert np.array_equal(found[:2], before)
    assert found[2].all()
    assert {key: digest for key, digest in digests(config).items() if key[1] in (0, 1)} == {
        key: digest for key, digest in known.items() if key[1] in (0, 1)
    }
    assert set(measured(config)["time"]) == {0, 1, 2}
    assert np.array_equal(zarr.open_array(str(layout(config).image()), mode="r")[:, 0], cells.image)


def test_a_time_point_does_not_depend_on_the_others(cells, tmp_path):
    sample = lapse(tmp_path / "files", cells, 2)
    together = settings(tmp_path / "both", sample, blocks=BLOCKS)
    chosen = settings(tmp_path / "one", {**sample, "times": [1]}, blocks=BLOCKS)
    run(together)
    run(chosen)
    assert np.array_equal(labels(together)[1], labels(chosen)[1])
    assert not labels(chosen)[0].any()
    assert set(measured(chosen)["time"]) == {1}


def test_a_changed_time_point_runs_alone(cells, tmp_path):
    sample = lapse(tmp_path / "files", cells, 2)
    config = settings(tmp_path, sample, blocks=BLOCKS)
    run(config)
    before = labels(config)
    cells.write(tmp_path / "files" / "image_t1.tif", cells.image[2])
    ran = done(config)
    assert ran["ingest.blocks"] == ran["segment.blocks"] == NUMBER_OF_BLOCKS
    assert ran["partition.root"] == 1
    assert np.array_equal(labels(config)[0], before[0])
    assert not np.array_equal(labels(config)[1], before[1])


# An OME-Zarr that is used where it lies


def write_ome_zarr(path: Path, image: np.ndarray, axes: str, version: str) -> None:
    """An image (z, y, x) as OME-Zarr with the axes ``zyx`` or ``tczyx``, by zarr alone."""
    new = version == "0.5"
    group = zarr.open_group(str(path), mode="w", zarr_format=3 if new else 2)
    options: dict[str, Any] = (
        {"dimension_names": tuple(axes)} if new else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    )
    voxels = image.reshape((1,) * (len(axes) - 3) + image.shape)
    chunks = (1,) * (len(axes) - 3) + (16, 32, 32)
    group.create_array("0", shape=voxels.shape, dtype=voxels.dtype, chunks=chunks, **options)[...] = voxels
    kinds = {"t": {"type": "time"}, "c": {"type": "channel"}}
    space = {"type": "space", "unit": "micrometer"}
    size = {"z": 0.5, "y": 0.25, "x": 0.25}
    scale = {"type": "scale", "scale": [size.get(axis, 1.0) for axis in axes]}
    multiscale = {
        "name": "image",
        "axes": [{"name": axis, **kinds.get(axis, space)} for axis in axes],
        "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
    }
    if new:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    else:
        group.attrs["multiscales"] = [{**multiscale, "version": "0.4"}]


@pytest.mark.parametrize("axes", ["zyx", "tczyx"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_referenced_image_gives_the_same_as_a_copied_one(cells, tmp_path, first_run, version, axes):
    source = tmp_path / "source.ome.zarr"
    write_ome_zarr(source, cells.image[0], axes, version)
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    config = settings(tmp_path, {"input": {"path": str(source)}}, blocks=BLOCKS, pyramid={"smallest": 32})
    stages = None if (axes, version) == ("zyx", "0.4") else WITHOUT_REPORT
    run(config, stages)
    assert np.array_equal(labels(config), labels(first_run))
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == before
    assert done(config, stages) == {}

    image = zarr.open_group(str(layout(config).result), mode="r")
    assert np.array_equal(image["0"][...].reshape(cells.image[0].shape), cells.image[0])
    assert image["1"].ndim == image["0"].ndim
    own = [path for path in layout(config).result.rglob("*") if path.is_file() and inside(path, layout(config).result)]
    held = [path for path in own if path.relative_to(layout(config).result).parts[0] == "0"]
    assert [path.name for path in held] in ([], ["zarr.json"]), "no voxel of level 0 is copied"
    coarse = zarr.open_array(str(layout(first_run).image(1)), mode="r")
    assert np.array_equal(image["1"][...].reshape(coarse.shape), coarse[...])


def inside(path: Path, folder: Path) -> bool:
    """Whether a file really lies in a folder and not behind a link."""
    return path.resolve().is_relative_to(folder.resolve())


def test_a_referenced_image_can_be_copied(cells, tmp_path):
    """And the other way round, in the same place."""
    source = tmp_path / "source.ome.zarr"
    write_ome_zarr(source, cells.image[0], "zyx", "0.5")
    config = settings(tmp_path, {"input": {"path": str(source)}}, blocks=BLOCKS, pyramid={"smallest": 32})
    for reference in (True, False, True):
        run(changed(config, ingest={"reference": reference}))
        group = zarr.open_group(str(layout(config).result), mode="r")
        assert [array.ndim for _, array in sorted(group.arrays())] == ([3, 3] if reference else [5, 5])
        assert (layout(config).image()).is_symlink() == reference
        assert np.array_equal(group["0"][...].reshape(cells.image[0].shape), cells.image[0])


def test_an_array_that_cannot_be_linked_is_copied(cells, tmp_path):
    """Zarr v3 knows no Fortran order, and an image without z has no place among volumes."""
    source = tmp_path / "source.ome.zarr"
    write_ome_zarr(source, cells.image[0], "zyx", "0.4")
    shutil.rmtree(source / "0")
    zarr.open_group(str(source), mode="r+").create_array(
        "0", shape=cells.image[0].shape, dtype="uint8", chunks=(16, 32, 32), order="F"
    )[...] = cells.image[0]
    config = settings(tmp_path, {"input": {"path": str(source)}}, blocks=BLOCKS)
    run(config)
    copied = zarr.open_array(str(layout(config).image()), mode="r")
    assert not layout(config).image().is_symlink()
    assert np.array_equal(copied[0, 0], cells.image[0])
