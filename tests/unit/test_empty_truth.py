"""Blocks in which labels and truth are empty: not counted one by one, and all tables and scores as if they were."""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipeline_checks import changed, digests, done, layout, run, scores
from pipeline_checks import settings as configuration
from test_empty_blocks import cells, everything
from volumes_checks import opened

from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid
from bigseg.planning.workflow import Workflow
from bigseg.runner import run_unit
from bigseg.stages import ASIDE, find_step
from bigseg.stages.empty import EmptyPieces
from bigseg.stages.evaluate.truth import TruthStep
from bigseg.volumes.zarr_reader import ZarrSource

SHAPE, BLOCK = (6, 8, 24), (3, 8, 8)
GRID = Grid(SHAPE, BLOCK)
STAGES = ("ingest", "segment", "measure", "track", "evaluate", "seams")
COUNTING = ("evaluate.blocks", "evaluate.track_overlaps", "seams.blocks")


def movie(kinds: list[int], seed: int) -> np.ndarray:
    """Labels (t, z, y, x) of two time points; of each block nothing (0), a voxel (1) or random objects (2)."""
    rng = np.random.default_rng(seed)
    volume = np.zeros((2, *SHAPE), np.uint16)
    for index, kind in enumerate(kinds):
        time, block = divmod(index, GRID.number_of_blocks)
        part = volume[time][GRID.box(block).slices]
        if kind == 1:
            part[tuple(rng.integers(0, n) for n in part.shape)] = 7
        elif kind == 2:
            part[...] = np.repeat(rng.integers(0, 4, (*part.shape[:2], part.shape[2] // 2)), 2, axis=2)
    return volume


def movies() -> st.SearchStrategy[np.ndarray]:
    count = 2 * GRID.number_of_blocks
    kinds = st.lists(st.sampled_from([0, 0, 0, 0, 1, 2]), min_size=count, max_size=count)
    return st.builds(movie, kinds, st.integers(0, 9))


def written(path: Path, volume: np.ndarray, *, sparse: bool) -> dict[str, str]:
    """The volume as a Zarr, with or without chunks of zeros."""
    options = {"shape": volume.shape, "chunks": (1, *BLOCK), "dtype": volume.dtype}
    with zarr.config.set({"codec_pipeline.path": "zarr.core.codec_pipeline.BatchedCodecPipeline"}):
        zarr.create_array(str(path), **options, config={"write_empty_chunks": not sparse})[...] = volume
    return {"path": str(path), "axes": "tzyx"}


def config_of(folder: Path, inputs: dict[str, dict[str, str]]) -> dict:
    return configuration(
        folder,
        inputs,
        blocks={"block_shape": list(BLOCK)},
        execution={"batches": 2, "threads": 1},
        seams={"distance": 2},
        pyramid={"smallest": 8},
        track={"method": "greedy", "drift": False},
    )


def inputs_of(folder: Path, labels: np.ndarray, truth: np.ndarray, *, sparse: bool = True) -> dict:
    folder.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(0).integers(0, 99, labels.shape).astype(np.uint8)
    return {
        "input": {**written(folder / "image.zarr", image, sparse=False), "voxel_size_um": [1, 1, 1]},
        "segmentation": written(folder / "labels.zarr", labels, sparse=sparse),
        "truth": written(folder / "truth.zarr", truth, sparse=sparse),
    }


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many blocks each step that knows the truth computes from now on."""
    found: Counter[str] = Counter()
    for name in (*COUNTING, *ASIDE):
        kind = find_step(name)

        def wrapped(self, piece, process=kind.process):
            found[self.name] += 1
            return process(self, piece)

        monkeypatch.setattr(kind, "process", wrapped)
    return found


def without_skipping(config: dict) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmptyPieces, "__contains__", lambda self, piece: False)
        run(config, STAGES)


@given(movies(), movies(), st.booleans(), st.booleans())
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tables_and_scores_are_those_of_counting_every_block(tmp_path, labels, truth, sparse, lineage):
    shutil.rmtree(tmp_path, ignore_errors=True)
    labels[:, 0, 0, :3], truth[:, 0, 0, 1:4] = [[3], [9]], 5  # something to score, and to link
    inputs = inputs_of(tmp_path, labels, truth, sparse=sparse)
    if lineage:
        (tmp_path / "truth.txt").write_text("".join(f"{n} 0 1 0\n" for n in np.unique(truth[truth > 0])))
        truth[0], truth[1] = truth[1], truth[1]
        inputs |= inputs_of(tmp_path / "same", labels, truth, sparse=sparse)
        inputs["truth_lineage"] = str(tmp_path / "truth.txt")
    skipped, computed = config_of(tmp_path / "skipped", inputs), config_of(tmp_path / "computed", inputs)
    run(skipped, STAGES)
    without_skipping(computed)
    assert digests(skipped) == digests(computed)
    assert everything(skipped) == everything(computed)
    assert scores(skipped) == scores(computed)
    for name in ("seams.json", "tracking_scores.json"):
        one, other = (layout(config).result_folder / name for config in (skipped, computed))
        assert one.read_bytes() == other.read_bytes()


def sparse_movie() -> np.ndarray:
    """The same block has objects at both time points, all others have none."""
    return np.stack([movie([2] + [0] * 11, 1)[0]] * 2)


@pytest.mark.parametrize("sparse", [True, False])
def test_a_block_without_labels_and_truth_is_not_counted(tmp_path, counted, monkeypatch, sparse):
    reads: set[tuple[int, Box]] = set()
    read = ZarrSource.read

    def reading(self, t, c, box):
        if self._folder.name == "truth.zarr":
            reads.add((t, box))
        return read(self, t, c, box)

    monkeypatch.setattr(ZarrSource, "read", reading)
    config = config_of(tmp_path / "run", inputs_of(tmp_path, sparse_movie(), sparse_movie(), sparse=sparse))
    run(config, STAGES[:-1])
    # Of 12 blocks in 4 jobs: those with labels, and in each job the first without.
    assert counted["evaluate.blocks"] == counted["evaluate.track_overlaps"] == 2 + 4
    assert len(reads) == (2 + 4 if sparse else 12), "of what is not stored, only what is counted is read"


def test_blocks_with_faces_at_the_same_sides_share_what_is_counted(tmp_path, counted):
    """Six blocks in a row: the first, four between two faces, the last."""
    labels = np.zeros((2, 3, 8, 48), np.uint16)
    labels[..., :8] = 4
    config = config_of(tmp_path / "run", inputs_of(tmp_path, labels, labels))
    config = changed(config, execution={"batches": 1})
    run(config, STAGES)
    # A job counts the block with labels, one between faces, and the last. The first of those needs nothing of it.
    assert counted["seams.blocks"] == 2 * 3
    computed = config_of(tmp_path / "computed", config["samples"]["a"])
    without_skipping(computed)
    assert everything(config) == everything(computed)


@pytest.mark.parametrize("what", ["truth", "segmentation"])
def test_what_becomes_full_is_counted_and_what_becomes_empty_is_not_kept(tmp_path, what):
    inputs = inputs_of(tmp_path, sparse_movie(), sparse_movie())
    config = config_of(tmp_path / "run", inputs)
    run(config, STAGES)
    before = scores(config)
    array, last = zarr.open_array(inputs[what]["path"], mode="r+"), GRID.box(GRID.number_of_blocks - 1).slices
    array[(slice(1, 2), *last)] = 8
    # A rule that is given a changed Zarr knows by its metadata; here the jobs are started again by hand.
    done(config, STAGES)
    again = config_of(tmp_path / "again", inputs)
    without_skipping(again)
    if what == "truth":
        assert scores(config) == scores(again)
        assert scores(config)["n_truth"] == before["n_truth"] + 1
        assert everything(config) == everything(again)
    array[(slice(1, 2), *last)] = 0
    done(config, STAGES)
    assert scores(config) == before


def test_a_truth_of_negative_labels_is_refused_where_there_are_no_labels(tmp_path):
    truth = np.zeros((2, *SHAPE), np.int16)
    truth[0, -1, -1, -1] = -1
    inputs = inputs_of(tmp_path, sparse_movie(), truth)
    with pytest.raises(UserError, match=r"truth\.zarr: the truth holds the negative label -1"):
        run(config_of(tmp_path / "run", inputs), STAGES)


def test_a_sweep_reads_no_truth_to_learn_that_it_is_empty(tmp_path, counted, monkeypatch):
    """Its tables are known by the state of the files; blocks that are not stored are not counted."""
    mask = np.zeros((1, *SHAPE), np.uint8)
    mask[:, :3, :8, :8] = 1
    truth = movie([2] + [0] * 11, 1)[:1]
    inputs = inputs_of(tmp_path, truth, truth)
    image = np.resize(cells(1), (1, *SHAPE))
    sample = {"input": written(tmp_path / "cells.zarr", image, sparse=False), "truth": inputs["truth"]}
    sample["mask"] = written(tmp_path / "mask.zarr", mask, sparse=False)
    found = []
    for name, sparse, skipping in (("sparse", True, True), ("full", False, True), ("computed", True, False)):
        folder = tmp_path / name
        folder.mkdir()
        truth_file = written(folder / "truth.zarr", truth, sparse=sparse)
        config = changed(config_of(folder, {**sample, "truth": truth_file}), execution={"batches": 1})
        config["supervoxels"] = {"halo": [1, 2, 2], "minimum_size": 1}
        run(config, ("ingest", "predict", "supervoxels"))
        counted.clear()
        with pytest.MonkeyPatch.context() as patch:
            if not skipping:
                patch.setattr(EmptyPieces, "__contains__", lambda self, piece: False)
            step = Workflow(config, "test").step("evaluate.overlaps", "a", 0)
            assert isinstance(step, TruthStep)
            run_unit(step, f"0-{GRID.number_of_blocks - 1}", 1)
        tables = [path.read_bytes() for n in range(GRID.number_of_blocks) for path in step.tables(n)]
        found.append((tables, counted["evaluate.overlaps"]))
    assert found[0][0] == found[1][0] == found[2][0]
    assert [number for _, number in found] == [2, 6, 6]


@given(
    st.integers(2, 3),
    st.sampled_from([0, 1]),
    st.lists(st.tuples(*(st.integers(0, n - 1) for n in (2, 4, 9, 10))), max_size=3),
    st.tuples(*(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True).map(sorted) for n in (4, 9, 10))),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_zarr_knows_what_is_not_stored(tmp_path, zarr_format, fill, places, ranges):
    shutil.rmtree(tmp_path, ignore_errors=True)
    tmp_path.mkdir()
    shape, chunks = (2, 4, 9, 10), (1, 2, 4, 4)
    sharding = {"shards": (1, 4, 4, 8)} if zarr_format == 3 else {}
    options = {"chunks": chunks, "dtype": "uint8", "fill_value": fill, "zarr_format": zarr_format, **sharding}
    array = zarr.create_array(str(tmp_path / "a.zarr"), shape=shape, **options)
    for place in places:
        array[place] = 9
    volume = array[...]
    unit = sharding.get("shards", chunks)
    begin, end = zip(*ranges, strict=True)
    box = Box(begin, end)
    source = opened(tmp_path / "a.zarr", axes="tzyx")
    for t in range(2):
        touched = {
            tuple(p // u for p, u in zip(place, unit, strict=True))
            for place in product((t,), *(range(b, e) for b, e in ranges))
        }
        stored = {tuple(p // u for p, u in zip(place, unit, strict=True)) for place in places}
        assert source.holds_nothing(t, 0, box) == (fill == 0 and not (touched & stored))
        if source.holds_nothing(t, 0, box):
            assert not volume[t][box.slices].any()
