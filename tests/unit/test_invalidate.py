"""Voxels that change where nothing tells of it: what is looked at again, what follows, and that nothing else does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from graph_checks import grids
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pipeline_checks import Settings, digests, done, labels, run, settings
from typer.testing import CliRunner
from upkeep_checks import found, jobs

from bigseg.cli import app
from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid
from bigseg.geometry.levels import pyramid_levels
from bigseg.geometry.octree import Octree
from bigseg.layout import Layout
from bigseg.resume.ledger import Record
from bigseg.stages.partition.levels import partition_level
from bigseg.stages.pyramid import pyramid_step
from bigseg.upkeep.invalidate import parse_blocks
from bigseg.upkeep.jobs import Selection

BLOCK, HALO = (24, 16, 16), (4, 8, 8)
REGION = "8:16,24:26,24:26"
"""Inside block 5 of the 16."""


# --- blocks ---------------------------------------------------------------------------------------------


def test_lists_of_blocks():
    grid = Grid((4, 4, 4), (2, 2, 2))
    assert parse_blocks("3, 5-7,3,0", grid) == [0, 3, 5, 6, 7]
    for text in ("", "8", "5-3", "a", "1,", "6-8"):
        with pytest.raises(UserError, match="--blocks"):
            parse_blocks(text, grid)


@given(grids(longest=12), st.data())
@examples(max_examples=60, deadline=None)
def test_pieces_of_other_grids_are_those_that_hold_voxels_of_the_blocks(grid, data):
    """Against each voxel of the blocks, one by one."""
    chosen = sorted(data.draw(st.sets(st.integers(0, grid.number_of_blocks - 1))))
    voxels = [
        tuple(b + p for b, p in zip(grid.box(block).begin, place, strict=True))
        for block in chosen
        for place in np.ndindex(*grid.box(block).shape)
    ]
    layout = Layout(Path("results"), Path("work"), "a")
    levels = pyramid_levels(grid.shape, (1.0, 1.0, 1.0), 2)
    for number, level in enumerate(levels[1:], start=1):
        step = pyramid_step("labels", number)({"shape": level.shape, "block_shape": grid.block_shape}, layout, 0)
        holding = {
            step.grid.touching(Box(at, tuple(a + 1 for a in at)))[0]
            for at in {tuple(v // s for v, s in zip(voxel, level.scale, strict=True)) for voxel in voxels}
        }
        assert step.pieces_of(chosen, grid) == sorted(holding)
    tree = Octree(grid.blocks_per_axis)
    for level in range(3):
        step = partition_level(level)({"blocks_per_axis": grid.blocks_per_axis}, layout, 0)
        expected = {
            piece
            for piece in range(tree.number(level))
            for block in chosen
            if all(c >> level == p for c, p in zip(grid.coordinate(block), coordinate(tree, level, piece), strict=True))
        }
        assert step.pieces_of(chosen, grid) == sorted(expected)


def coordinate(tree: Octree, level: int, piece: int) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(piece, tree.per_axis(level)))


# --- runs -----------------------------------------------------------------------------------------------------------


def plain_zarr(folder: Path, image: np.ndarray) -> dict[str, Any]:
    """An array without OME-Zarr metadata, which is copied."""
    array = zarr.create_array(str(folder / "image.zarr"), shape=image.shape, chunks=(24, 16, 16), dtype=image.dtype)
    array[...] = image
    return {"path": str(folder / "image.zarr"), "axes": "zyx", "voxel_size_um": [0.5, 0.25, 0.25]}


def referenced(folder: Path, image: np.ndarray) -> dict[str, Any]:
    """An OME-Zarr, which is used where it lies."""
    group = zarr.open_group(str(folder / "image.zarr"), mode="w", zarr_format=3)
    group.create_array("0", shape=image.shape, chunks=(24, 16, 16), dtype=image.dtype)[...] = image
    scale = {"type": "scale", "scale": [0.5, 0.25, 0.25]}
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
    datasets = [{"path": "0", "coordinateTransformations": [scale]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    return {"path": str(folder / "image.zarr"), "key": "0"}


def edit(spec: dict[str, Any]) -> np.ndarray:
    """Let two voxels of the region change places, so that intensities are normalised as before; the whole image."""
    array = zarr.open_array(str(Path(spec["path"]) / spec.get("key", "")), mode="r+")
    image = array[...]
    region = image[8:16, 24:26, 24:26]
    low, high = np.unravel_index(region.argmin(), region.shape), np.unravel_index(region.argmax(), region.shape)
    region[low], region[high] = region[high], region[low]
    array[8:16, 24:26, 24:26] = region
    return image


def near(block: int, grid: Grid) -> set[int]:
    """Blocks that read voxels of a block in their halo."""
    return {piece for piece in range(grid.number_of_blocks) if block in grid.neighbourhood(piece, HALO, HALO)}


def configuration(folder: Path, sample: dict[str, Any]) -> Settings:
    return settings(
        folder,
        sample,
        blocks={"block_shape": list(BLOCK)},
        supervoxels={"halo": list(HALO), "minimum_size": 5},
        pyramid={"smallest": 32},
        execution={"batches": 5},
    )


def call(folder: Path, config: Settings, *arguments: str) -> Any:
    (folder / "config.yaml").write_text(json.dumps(config))
    return CliRunner().invoke(app, [arguments[0], "--config", str(folder / "config.yaml"), *arguments[1:]])


def supervoxel_records(config: Settings) -> dict[int, Record]:
    """What the ledgers tell of the supervoxels of each block."""
    return {n: record for job in jobs(config, Selection(stage="supervoxels")) for n, record in job.records.items()}


@pytest.mark.parametrize("make", [plain_zarr, referenced])
def test_voxels_changed_in_place_give_what_a_whole_run_gives(cells, tmp_path, make):
    spec = make(tmp_path, cells.image[0])
    config = configuration(tmp_path, {"input": spec})
    run(config)
    grid = Grid(cells.image[0].shape, BLOCK)
    image = edit(spec)
    assert done(config) == {}, "nothing tells of it"
    assert found(config) == ({("ingest.blocks", 5)} if make is referenced else set())

    planned = call(tmp_path, config, "invalidate", "--roi", REGION, "--dry-run", "--json")
    assert done(config) == {}
    marked = call(tmp_path, config, "invalidate", "--roi", REGION, "--json")
    assert marked.exit_code == 0, marked.output
    assert json.loads(marked.stdout)["marked"] == json.loads(planned.stdout)["marked"]
    (entry,) = json.loads(marked.stdout)["marked"]
    assert (entry["step"], entry["pieces"]) == ("ingest.blocks", [5])
    before = supervoxel_records(config)
    ran = done(config)
    assert ran["ingest.blocks"] == 1
    assert ran["predict.blocks"] == len(near(5, grid)), "the default smoothing looks less far than the supervoxels do"
    assert ran.get("supervoxels.blocks", 0) <= len(near(5, grid))
    after = supervoxel_records(config)
    assert all(after[piece] == before[piece] for piece in set(before) - near(5, grid)), "not touched"

    fresh = configuration(tmp_path / "fresh", {"input": spec})
    run(fresh)
    assert digests(config) == digests(fresh)
    assert np.array_equal(labels(config), labels(fresh))
    copied = zarr.open_array(f"{fresh['results']}/a.ome.zarr/0", mode="r")[...]
    assert np.array_equal(copied.reshape(image.shape), image)


@pytest.fixture(scope="module")
def first_run(cells, tmp_path_factory) -> tuple[Settings, Path]:
    folder = tmp_path_factory.mktemp("first")
    for t in range(2):
        shutil.copy2(cells.folder / f"image_t{t}.tif", folder)
    mask = zarr.create_array(
        str(folder / "mask.zarr"), shape=(2, *cells.image[0].shape), chunks=(1, 24, 16, 16), dtype="u1"
    )
    mask[...] = 1
    sample = {
        "input": {"path": f"{folder}/image_t{{t}}.tif"},
        "mask": {"path": str(folder / "mask.zarr"), "axes": "tzyx"},
    }
    config = {**configuration(folder, sample), "results": "results", "work": "work"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(config)
    return config, folder


@pytest.fixture
def finished(first_run, tmp_path, monkeypatch) -> Settings:
    config, folder = first_run
    for key in ("results", "work", "mask.zarr"):
        shutil.copytree(folder / key, tmp_path / key)
    monkeypatch.chdir(tmp_path)
    return config


CHOICES: dict[str, tuple[list[str], dict[str, int]]] = {
    "unchanged voxels": (["--roi", REGION, "--time", "1"], {"ingest.blocks": 1}),
    "both time points": (["--roi", REGION], {"ingest.blocks": 2}),
    "blocks": (["--blocks", "0,3-5", "--time", "0"], {"ingest.blocks": 4}),
    "blocks in a region": (["--blocks", "0,3-5", "--roi", REGION, "--time", "0"], {"ingest.blocks": 1}),
    "a stage": (["--stage", "graph", "--time", "0"], {"graph.blocks": 16}),
    "a stage of single pieces": (["--stage", "partition"], {"partition.root": 2}),
    "a stage over all time points": (["--stage", "measure", "--blocks", "2"], {"measure.blocks": 2}),
    "levels of the pyramid": (
        ["--stage", "pyramid", "--roi", ":,0:16,0:16", "--time", "1"],
        {"pyramid.image1": 1, "pyramid.labels1": 1, "pyramid.tracks1": 1},
    ),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_what_is_chosen_runs_again_and_ends_there_if_it_comes_out_the_same(finished, tmp_path, choice):
    arguments, expected = CHOICES[choice]
    before = digests(finished)
    assert call(tmp_path, finished, "invalidate", *arguments).exit_code == 0
    assert done(finished) == expected
    assert digests(finished) == before
    assert done(finished) == {}


def test_everything(finished, tmp_path):
    before = digests(finished)
    assert call(tmp_path, finished, "invalidate", "--stage", "all", "--time", "0").exit_code == 0
    ran = done(finished)
    assert ran == {name: sum(1 for key in before if key[:2] == (name, 0)) for name, time, _ in before if time == 0}
    assert digests(finished) == before


def test_a_mask_that_moved(finished, tmp_path, first_run):
    """In place, in one corner of one time point."""
    mask = zarr.open_array(str(first_run[1] / "mask.zarr"), mode="r+")
    mask[1, :, :20, 52:] = 0
    try:
        assert done(finished, ("ingest", "predict", "partition", "segment")) == {}
        arguments = ["--stage", "supervoxels", "--roi", ":,:20,52:", "--time", "1"]
        assert call(tmp_path, finished, "invalidate", *arguments).exit_code == 0
        grid = Grid((24, 64, 64), BLOCK)
        moved = np.zeros(grid.shape, np.bool_)
        moved[:, :20, 52:] = True
        reading = [n for n in range(16) if moved[grid.box(n).grow(HALO, HALO, grid.shape).slices].any()]
        ran = done(finished)
        assert "predict.blocks" not in ran
        assert ran["supervoxels.blocks"] == len(reading), "the halo counts, by the keys"
        (found,) = labels(finished)[1:]
        assert not found[:, :20, 52:].any()
        fresh = {**finished, "results": "fresh", "work": "fresh-work"}
        run(fresh)
        assert digests(fresh) == digests(finished)
    finally:
        mask[...] = 1


def test_nothing_that_was_made_is_an_error(finished, tmp_path):
    empty = {**finished, "work": "other", "results": "others"}
    for config, arguments, message in (
        (empty, [], "none of what is chosen was made yet"),
        (finished, ["--stage", "partition", "--roi", REGION], "no step of this stage works in blocks"),
        (finished, ["--stage", "all", "--roi", "9:1,:,:"], "--roi"),
        (finished, ["--stage", "x"], "is no stage"),
    ):
        result = call(tmp_path, config, "invalidate", *arguments)
        assert result.exit_code != 0
        assert isinstance(result.exception, UserError)
        assert message in str(result.exception)


def test_while_a_run_goes_on_nothing_is_marked(finished, tmp_path):
    """Of another process: locks are between processes."""
    path = Path("work/a/locks/run.lock")
    code = (
        "import sys; from pathlib import Path; from bigseg.resume.locks import run_locked\n"
        f"with run_locked(Path({str(path)!r}), 'a'):\n print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    try:
        for command in (["invalidate"], ["verify", "--fix"], ["clean", "--yes"]):
            result = call(tmp_path, finished, *command)
            assert isinstance(result.exception, UserError)
            assert f"process {holder.pid}" in str(result.exception)
        assert call(tmp_path, finished, "invalidate", "--dry-run").exit_code == 0
        assert call(tmp_path, finished, "verify", "--stage", "measure").exit_code == 0
    finally:
        holder.communicate()
    assert done(finished) == {}
