"""``bigseg plan``: what it counts, what it measures, and when it refuses."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pipeline_checks import changed, layout, run, settings
from typer.testing import CliRunner

from bigseg.cli import app
from bigseg.errors import UserError
from bigseg.geometry.grid import Grid
from bigseg.planning.calibration import Calibration, calibration_identity, read_calibration, write_calibration
from bigseg.planning.estimate import JOB_START_SECONDS, disk_warnings, estimate, halo_factor
from bigseg.planning.workflow import Workflow
from bigseg.stages.supervoxels.blocks import SupervoxelsBlocks

Usage = namedtuple("Usage", "total used free")


def plan(config, folder, *options):
    """The JSON of ``bigseg plan`` and how it ended."""
    path = folder / "config.yaml"
    path.write_text(json.dumps(config))
    return CliRunner().invoke(app, ["plan", "--config", str(path), *options])


def measured(config, **costs):
    """Store a calibration, as if measured."""
    workflow = Workflow(config, "test")
    own = workflow.plans["a"]
    found = Calibration(
        identity=calibration_identity(workflow.config, own),
        seconds_per_mvox=costs,
        bytes_per_voxel={"image": 1.0, "maps": 2.0, "supervoxels": 3.0, "labels": 4.0, "tables": 5.0},
    )
    write_calibration(own.layout, found)


@pytest.fixture
def config(cells, tmp_path):
    image = {"input": {"path": str(cells.folder / "image_t{t}.tif")}}
    return settings(tmp_path, image, blocks={"block_shape": [24, 32, 32]}, execution={"batches": 3, "threads": 2})


def test_what_is_planned_is_what_the_workflow_has(config, tmp_path):
    measured(config, **{"graph.blocks": 3600.0})
    done = plan(config, tmp_path, "--json")
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    workflow = Workflow(config, "test")
    jobs = list(workflow.jobs())
    assert found["jobs"] == len(jobs)
    sample = found["samples"]["a"]
    assert (sample["blocks"], sample["batches"], sample["time_points"]) == (4, 3, 3)
    assert sample["calibrated"]
    for name, step in sample["steps"].items():
        assert step["jobs"] == sum(job[0] == name for job in jobs), name
        assert step["memory_mb"] == workflow.memory_mb(name, "a", step["threads"], 1), name
    voxels = 24 * 64 * 64 * 3
    assert sample["steps"]["graph.blocks"]["cpu_hours"] == pytest.approx(voxels / 1e6 + 9 * JOB_START_SECONDS / 3600)
    # image copied: 1 byte; labels and tracks: 4 each; no coarser level.
    assert sample["results_gb"] == pytest.approx(voxels * 9 / 1e9)
    assert sample["work_gb"] * 1e9 > voxels * 10
    assert found["fits"]


def test_the_text_names_every_step(config, tmp_path):
    done = plan(config, tmp_path, "--no-calibration")
    assert done.exit_code == 0
    for name in Workflow(config, "test").steps("a"):
        assert f"  {name} " in done.stdout
    assert "a: 24 × 64 × 64 voxels, 3 time point(s), 4 blocks of 24 × 32 × 32 in 3 batches" in done.stdout
    assert "costs supposed, not measured" in done.stdout


def test_costs_are_measured_once_and_again_when_settings_change(config, tmp_path):
    def stored():
        workflow = Workflow(config, "test")
        return read_calibration(workflow.plans["a"].layout, calibration_identity(workflow.config, workflow.plans["a"]))

    done = plan(config, tmp_path, "--json")
    assert json.loads(done.stdout)["samples"]["a"]["calibrated"]
    first = stored()
    steps = {
        "ingest.blocks",
        "predict.blocks",
        "supervoxels.blocks",
        "graph.blocks",
        "partition.root",
        "pyramid.labels",
    }
    assert steps <= set(first.seconds_per_mvox)
    assert all(value > 0 for value in {**first.seconds_per_mvox, **first.bytes_per_voxel}.values())
    assert not list(layout(config).folder.glob("status*"))  # nothing of the run itself has run
    assert "measuring" not in plan(config, tmp_path).stderr
    assert stored() == first
    config |= {"supervoxels": {"sigma_seeds": 3.0}}
    assert stored() is None


def test_a_disk_that_is_too_small_is_an_error_unless_forced(config, tmp_path, monkeypatch):
    measured(config)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, 1_000_000))
    refused = plan(config, tmp_path, "--json")
    assert isinstance(refused.exception, UserError)
    assert "GB are free" in refused.exception.problem
    assert not json.loads(refused.stdout)["fits"]
    assert "TOO LITTLE" in plan(config, tmp_path, "--force").stdout
    assert plan(config, tmp_path, "--force").exit_code == 0
    assert len(disk_warnings(Workflow(config, "test"))) == 1


def test_what_is_stored_already_is_not_planned_again(config, tmp_path, monkeypatch):
    run(config, ("ingest",))
    measured(config)
    found = estimate(Workflow(config, "test"), "a")
    stored = sum(f.stat().st_size for d in ("results", "work") for f in (tmp_path / d).rglob("*") if f.is_file())
    needed = found.results_bytes + found.work_bytes - stored
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, needed + 1))
    assert disk_warnings(Workflow(config, "test")) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, needed - 1000))
    assert len(disk_warnings(Workflow(config, "test"))) == 1


def test_an_image_that_cannot_be_processed_is_planned_with_supposed_costs(tmp_path):
    zarr.create_array(str(tmp_path / "v.zarr"), shape=(40, 40, 40), chunks=(20, 20, 20), dtype=np.uint8)[...] = 7
    sample = {"input": {"path": str(tmp_path / "v.zarr"), "axes": "zyx"}}
    done = plan(settings(tmp_path, sample), tmp_path, "--json")
    assert done.exit_code == 0
    assert "costs are supposed" in done.stderr
    assert not json.loads(done.stdout)["samples"]["a"]["calibrated"]


def test_a_gpu_is_planned_only_where_one_is_asked_for(config, tmp_path):
    intensity = json.loads(plan(config, tmp_path, "--no-calibration", "--json").stdout)
    assert intensity["gpu_hours"] == 0
    network = changed(config, predict={"method": "network", "model": "membrane"}, execution={"device": "cuda"})
    found = json.loads(plan(network, tmp_path, "--no-calibration", "--json").stdout)
    assert found["samples"]["a"]["steps"]["predict.blocks"]["gpus"] == 1
    assert found["gpu_hours"] > 0
    assert found["samples"]["a"]["gpu_supposed"]


@given(st.tuples(*[st.integers(1, 30)] * 3), st.data())
@hypothesis_settings(deadline=None)
def test_voxels_with_halo_against_counting_block_by_block(shape, data):
    grid = Grid(shape, tuple(data.draw(st.integers(1, n)) for n in shape))
    halo = tuple(data.draw(st.integers(0, 9)) for _ in shape)
    step = SupervoxelsBlocks({"shape": shape, "block_shape": grid.block_shape, "halo": list(halo)}, None, 0)
    read = sum(grid.box(block).grow(halo, halo, shape).size for block in range(grid.number_of_blocks))
    assert halo_factor(grid, step) * np.prod(shape) == pytest.approx(read)
