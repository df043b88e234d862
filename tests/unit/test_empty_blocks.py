"""Empty blocks: what is left out of them changes nothing, and nothing is done for them."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipeline_checks import changed, digests, done, labels, layout, run
from pipeline_checks import settings as configuration
from upkeep_checks import cut_short, found, mended

from bigseg.errors import UserError
from bigseg.geometry.grid import Grid
from bigseg.planning.workflow import Workflow
from bigseg.stages import find_step
from bigseg.stages.empty import EmptyPieces
from bigseg.stages.predict.blocks import PredictBlocks

SHAPE, BLOCK = (12, 16, 16), (6, 8, 8)
STAGES = ("ingest", "predict", "supervoxels", "graph", "partition", "segment", "pyramid", "measure", "seams")


def cells(seed: int) -> np.ndarray:
    """Cells of random size with bright walls, uint8, nowhere 0."""
    rng = np.random.default_rng(seed)
    points = rng.random((9, 3)) * SHAPE
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)[..., None, :]
    near = np.sort(np.linalg.norm(grid - points, axis=-1), axis=-1)
    return np.clip(240 - 60 * (near[..., 1] - near[..., 0]) + rng.integers(0, 9, SHAPE), 20, 255).astype(np.uint8)


def written(folder: Path, name: str, volume: np.ndarray) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    zarr.create_array(str(folder / name), shape=SHAPE, chunks=BLOCK, dtype=volume.dtype)[...] = volume
    return {"path": str(folder / name), "axes": "zyx"}


def config_of(folder: Path, image: dict[str, str], **sample: object) -> dict:
    return configuration(
        folder,
        {"input": image, **sample},
        blocks={"block_shape": list(BLOCK)},
        execution={"batches": 2, "threads": 1},
        predict={"sigma": 0.5, "percentiles": [0.0, 100.0]},
        supervoxels={"halo": [2, 3, 3], "minimum_size": 4},
        segment={"minimum_object_size": 20},
        pyramid={"smallest": 8},
        partition={"levels": 2},
    )


def everything(config: dict) -> dict[str, bytes]:
    """Every array and table by its path."""
    found = {}
    for folder in (layout(config).folder, layout(config).results):
        for path in folder.rglob("*"):
            if path.suffix == ".parquet" or "c" in path.parts:
                found[str(path.relative_to(folder))] = path.read_bytes() if path.is_file() else b""
    return found


def masks() -> st.SearchStrategy[np.ndarray]:
    """Masks that leave out some blocks wholly and others in part."""
    grid = Grid(SHAPE, BLOCK)

    def mask(kinds: list[int]) -> np.ndarray:
        volume = np.zeros(SHAPE, np.uint8)
        for index, kind in enumerate(kinds):
            if kind:
                begin = grid.box(index).begin
                end = grid.box(index).end if kind > 1 else tuple(b + 3 for b in begin)
                volume[tuple(slice(b, e) for b, e in zip(begin, end, strict=True))] = 1
        return volume

    count = grid.number_of_blocks
    return st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=count, max_size=count).filter(any).map(mask)


@given(masks(), st.sampled_from(["gasp", "multicut"]), st.integers(0, 3))
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_outputs_are_those_of_computing_every_block(tmp_path, mask, method, seed):
    """Bit for bit: arrays, tables and digests, where empty blocks are computed like all others."""
    shutil.rmtree(tmp_path, ignore_errors=True)
    found = []
    image, mask_file = written(tmp_path, "image.zarr", cells(seed)), written(tmp_path, "mask.zarr", mask)
    for name, skipping in (("skipped", True), ("computed", False)):
        config = config_of(tmp_path / name, image, mask=mask_file)
        config = changed(config, partition={"method": method})
        with pytest.MonkeyPatch.context() as patch:
            if not skipping:
                patch.setattr(EmptyPieces, "__contains__", lambda self, piece: False)
            run(config, STAGES)
        found.append((everything(config), digests(config)))
    assert found[0][1] == found[1][1]
    assert found[0][0].keys() == found[1][0].keys()
    assert [path for path, content in found[0][0].items() if content != found[1][0][path]] == []


def test_maps_out_of_reach_of_the_mask_are_not_made_and_change_nothing(tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    mask[:4, :5, :5] = 1
    found = []
    image, mask_file = written(tmp_path, "image.zarr", cells(1)), written(tmp_path, "mask.zarr", mask)
    for name, skipping in (("skipped", True), ("computed", False)):
        config = config_of(tmp_path / name, image, mask=mask_file)
        with pytest.MonkeyPatch.context() as patch:
            if not skipping:
                patch.setattr(PredictBlocks, "left_out", lambda self, piece: False)
            run(config, STAGES)
        boundary = zarr.open_array(str(layout(config).boundary_map), mode="r")[0]
        found.append((labels(config), boundary))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][0][0][mask > 0].all()
    assert not found[0][0][0][mask == 0].any()
    made, all_made = found[0][1], found[1][1]
    np.testing.assert_array_equal(made[:6, :8, :8], all_made[:6, :8, :8])
    assert not made[:, 8:].any()
    assert all_made[:, 8:].any()


def test_nothing_is_computed_for_blocks_that_follow_from_an_empty_one(tmp_path, monkeypatch):
    mask = np.zeros(SHAPE, np.uint8)
    mask[:6, :8, :8] = 1
    image = written(tmp_path, "image.zarr", cells(2))
    config = config_of(tmp_path, image, mask=written(tmp_path, "mask.zarr", mask))
    computed: dict[str, list[int]] = {}

    def counting(kind):
        process = kind.process

        def wrapped(self, piece):
            computed.setdefault(self.name, []).append(piece)
            return process(self, piece)

        monkeypatch.setattr(kind, "process", wrapped)

    for name in Workflow(config, "test").steps("a"):
        counting(find_step(name))
    run(config, STAGES)
    for name in ("graph.blocks", "segment.contacts", "segment.blocks", "measure.blocks", "partition.level0"):
        # The block of the mask, and in each of two batches the first empty one.
        assert len(computed[name]) == 3, name
    # Block 0 alone has labels, and all others look away from it.
    assert len(computed["seams.blocks"]) == 3
    assert len(computed["pyramid.image1"]) == Workflow(config, "test").step("pyramid.image1", "a", 0).number_of_pieces


def test_a_background_is_left_out_and_does_not_count(tmp_path):
    image = cells(3)
    image[:, 8:16] = 0
    image[:6, :8, :3] = 0
    file = written(tmp_path, "image.zarr", image)
    plain = config_of(tmp_path / "plain", file)
    told = config_of(tmp_path / "told", file, background=0.0)
    run(plain, STAGES)
    run(told, STAGES)
    assert not labels(told)[0, :, 8:16].any()
    assert labels(told)[0, :, :8].all()
    assert labels(plain).all()
    statistics = layout(told).statistics(0).read_text()
    assert f'"voxels": {int((image > 0).sum())}' in statistics
    assert done(told, STAGES) == {}
    assert done(changed_sample(told, background=None), STAGES)["supervoxels.blocks"] == 8


def changed_sample(config: dict, **keys: object) -> dict:
    sample = {key: value for key, value in {**config["samples"]["a"], **keys}.items() if value is not None}
    return {**config, "samples": {"a": sample}}


def test_a_mask_that_grows_makes_empty_blocks_full(tmp_path):
    small = np.zeros(SHAPE, np.uint8)
    small[:6, :8, :8] = 1
    image = written(tmp_path, "image.zarr", cells(4))
    config = config_of(tmp_path / "grown", image, mask=written(tmp_path, "mask.zarr", small))
    run(config, STAGES)
    zarr.open_array(str(tmp_path / "mask.zarr"), mode="r+")[:] = 1
    run(config, STAGES)
    again = config_of(tmp_path / "again", image, mask=config["samples"]["a"]["mask"])
    run(again, STAGES)
    np.testing.assert_array_equal(labels(config), labels(again))
    assert digests(config) == digests(again)
    zarr.open_array(str(tmp_path / "mask.zarr"), mode="r+")[:] = small
    run(config, STAGES)
    assert not labels(config)[0][small == 0].any()
    assert labels(config)[0][small > 0].all()


def test_a_larger_halo_makes_maps_of_the_blocks_that_it_reaches_and_of_no_others(tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    mask[:4, :5, :5] = 1
    image = written(tmp_path, "image.zarr", cells(5))
    config = config_of(tmp_path / "run", image, mask=written(tmp_path, "mask.zarr", mask))
    run(config, STAGES)
    assert done(changed(config, supervoxels={"halo": [2, 3, 2]}), STAGES).get("predict.blocks") is None
    further = {"halo": [2, 4, 3]}  # from the second row of blocks to the last voxels of the mask
    assert done(changed(config, supervoxels=further), STAGES)["predict.blocks"] == 1
    again = changed(config_of(tmp_path / "again", image, mask=config["samples"]["a"]["mask"]), supervoxels=further)
    run(again, STAGES)
    assert digests(changed(config, supervoxels=further)) == digests(again)


def test_the_image_of_a_background_is_pooled_once(tmp_path, monkeypatch):
    image = cells(6)
    image[:, 8:] = 7
    config = config_of(tmp_path, written(tmp_path, "image.zarr", image), background=7.0)
    config = {**config, "blocks": {"block_shape": [3, 4, 4]}, "pyramid": {"smallest": 2}}
    pooled = []
    process = find_step("pyramid.image1").process
    monkeypatch.setattr(
        find_step("pyramid.image1"), "process", lambda self, piece: pooled.append(piece) or process(self, piece)
    )
    run(config, STAGES)
    coarse = zarr.open_array(str(layout(config).image(1)), mode="r")[0, 0]
    assert (coarse[:, 4:] == 7).all()
    step = Workflow(config, "test").step("pyramid.image1", "a", 0)
    below = [piece for piece in range(step.number_of_pieces) if step.grid.box(piece).begin[1] >= 4]
    assert len(below) > 2
    assert len(set(pooled) & set(below)) == 2, "one of each batch"


def test_a_channel_of_nothing_but_background_is_constant(tmp_path):
    """Another one than the one that is segmented: an unused detector."""
    image = np.stack([np.zeros(SHAPE, np.uint8), cells(7)])
    zarr.create_array(str(tmp_path / "image.zarr"), shape=image.shape, chunks=(1, *BLOCK), dtype="uint8")[...] = image
    file = {"path": str(tmp_path / "image.zarr"), "axes": "czyx"}
    config = config_of(tmp_path, file, background=0.0)
    config = changed(config, predict={"channel": 1})
    run(config, STAGES)
    assert labels(config).all()
    unused, used = json.loads(layout(config).statistics(0).read_text())
    assert (unused["voxels"], unused["percentiles"]["0"], unused["percentiles"]["100"]) == (0, 0, 0)
    assert used["voxels"] == image[1].size


def test_a_time_point_of_nothing_but_background_is_a_user_error(tmp_path):
    config = config_of(tmp_path, written(tmp_path, "image.zarr", np.full(SHAPE, 7, np.uint8)), background=7.0)
    with pytest.raises(UserError, match="time point 0 is constant, every voxel is 7"):
        run(config, STAGES)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_background_is_a_number(tmp_path, value):
    with pytest.raises(UserError, match="background"):
        Workflow(config_of(tmp_path, {"path": "image.tif"}, background=value), "config.yaml")


@pytest.fixture
def masked(tmp_path) -> dict:
    """A finished run in which one block has voxels in the mask."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[:4, :5, :5] = 1
    image = written(tmp_path, "image.zarr", cells(8))
    config = config_of(tmp_path / "run", image, mask=written(tmp_path, "mask.zarr", mask))
    run(config, STAGES)
    return config


def inodes(files: Iterable[Path]) -> Counter[int]:
    """How many of the files have the same content on disk."""
    return Counter(path.stat().st_ino for path in files)


def test_intermediates_share_files_and_results_do_not(masked):
    """A user may correct labels with a program that writes in place."""
    place = layout(masked)
    shared = [path for path in place.supervoxels.rglob("c/**/*") if path.is_file()]
    assert sorted(inodes(shared).values()) == [1, 3, 4], "one block is full, and a job has its own file"
    own = [path for path in place.results.rglob("c/**/*") if path.is_file()]
    assert len(own) > 16
    assert set(inodes(own).values()) == {1}


def test_without_links_files_are_copied(masked, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    again = config_of(tmp_path / "copied", masked["samples"]["a"]["input"], mask=masked["samples"]["a"]["mask"])
    run(again, STAGES)
    assert digests(again) == digests(masked)
    assert everything(again) == everything(masked)
    files = [path for path in layout(again).folder.rglob("*") if path.is_file()]
    assert set(inodes(files).values()) == {1}
    assert not list(layout(again).folder.rglob("*.tmp"))


def test_a_damaged_file_is_damage_of_all_blocks_that_share_it(masked):
    before = everything(masked)
    grid = Grid(SHAPE, BLOCK)
    store = layout(masked).supervoxels
    shard = store / "c" / "0" / "1" / "1" / "1"
    cut_short(shard)
    assert grid.number_of_blocks == 8
    shared = {("supervoxels.blocks", piece) for piece in range(4, 8)}
    assert found(masked) == shared
    assert len(mended(masked)) == 1
    assert done(masked, STAGES) == {"supervoxels.blocks": 4}
    assert everything(masked) == before
    assert found(masked) == set()


def test_a_marker_that_tells_of_other_empty_blocks_is_damaged(masked):
    (marker, *_) = sorted(layout(masked).status("supervoxels").rglob("*.json"))
    told = json.loads(marker.read_text())
    assert told["empty"] == [1, 2, 3]
    for wrong in ([0, 1, 2, 3], [1, 2]):
        marker.write_text(json.dumps({**told, "empty": wrong}))
        assert found(masked) == {("supervoxels.blocks", None)}
    mended(masked)
    assert done(masked, STAGES) == {}
    assert json.loads(marker.read_text()) == told


def test_a_block_that_is_no_longer_empty_leaves_those_that_shared_its_file_alone(masked):
    """Written in the very file, it would change them all."""
    labels_before = labels(masked)
    mask = zarr.open_array(masked["samples"]["a"]["mask"]["path"], mode="r+")
    mask[6:10, 8:13, 8:13] = 1
    run(masked, STAGES)
    made = labels(masked)
    assert made[0][mask[...] > 0].all()
    assert not made[0][mask[...] == 0].any()
    np.testing.assert_array_equal(made[0, :6], labels_before[0, :6])
    assert found(masked) == set()
