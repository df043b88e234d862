"""Empty blocks: what is left out of them changes nothing, and nothing is done for them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipeline_checks import changed, digests, done, labels, layout, run
from pipeline_checks import settings as configuration

from bigseg.geometry.grid import Grid
from bigseg.planning.workflow import Workflow
from bigseg.stages import find_step
from bigseg.stages.empty import EmptyPieces
from bigseg.stages.predict import PredictBlocks

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
    # What it says of itself is no part of any result: the same blocks with other digests would not be empty.
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
