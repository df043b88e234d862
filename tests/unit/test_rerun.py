"""What runs again after a change, and what does not, in whole runs in this process."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pipeline_checks import changed, done, labels, run, same_partition, settings

from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid

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
