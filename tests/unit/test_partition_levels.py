"""The partition in levels of superblocks, in whole runs: against one job, and with graphs and tables that are odd."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from pipeline_checks import Settings, changed, done, labels, layout, run, settings

from bigseg.config import validate_config
from bigseg.errors import UserError
from bigseg.geometry.octree import Octree
from bigseg.planning.workflow import Workflow
from bigseg.stages.partition.superblocks import object_names
from bigseg.volumes.tables import read_table, write_table

TO_LABELS = ("ingest", "predict", "supervoxels", "graph", "partition", "segment")
BLOCKS = {"block_shape": [16, 16, 16]}
"""2 × 4 × 4 blocks, the last ones of z with half the planes."""
EXACT: list[dict[str, Any]] = [
    {"linkage": "mean"},
    {"linkage": "mean", "beta": 0.7},
    {"linkage": "max"},
    {"linkage": "min"},
    {"linkage": "abs_max"},
    {"method": "mutex_watershed"},
]


@pytest.fixture(scope="module")
def to_graph(cells, tmp_path_factory) -> Settings:
    """A run up to the graph, with supervoxels so small that every block has many."""
    folder = tmp_path_factory.mktemp("graph")
    config = settings(
        folder,
        {"input": {"path": str(cells.folder / "image_t0.tif")}},
        blocks=BLOCKS,
        supervoxels={"minimum_size": 5, "sigma_seeds": 0.5, "halo": [8, 8, 8]},
        segment={"minimum_object_size": 60},
    )
    run(config, ("ingest", "predict", "supervoxels", "graph"))
    return config


@pytest.fixture
def graph(to_graph, tmp_path) -> Settings:
    """The run in a folder of the test's own."""
    for key in ("results", "work"):
        shutil.copytree(to_graph[key], tmp_path / key)
    record = tmp_path / "work" / "a" / "results.json"
    record.write_text(json.dumps(str(tmp_path / "results")))
    return {**to_graph, "results": str(tmp_path / "results"), "work": str(tmp_path / "work")}


@pytest.mark.parametrize("recipe", EXACT, ids=lambda recipe: "-".join(map(str, recipe.values())))
def test_any_number_of_levels_gives_the_labels_of_one_job(graph, recipe):
    found = []
    for levels in (0, 1, 2, 3):
        config = changed(graph, partition={**recipe, "levels": levels})
        ran = done(config, TO_LABELS)
        assert {name for name in ran if name.startswith("partition.level")} == (
            {f"partition.level{levels - 1}"} if levels else set()
        ), "levels below are kept"
        found.append(labels(config))
    assert 2 < len(np.unique(found[0])) < 200
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_a_multicut_in_levels_is_as_good_as_in_core(graph, levels):
    config = changed(graph, partition={"method": "multicut", "levels": levels})
    run(config, TO_LABELS)
    quality = json.loads(layout(config).multicut_quality(0).read_text())
    assert quality["lower_bound"] <= quality["energy"] <= 0
    assert quality["repulsion"] < quality["lower_bound"], "the bound says more than the repulsive costs alone"
    assert quality["relative_gap"] <= 0.001
    edges = [pd.read_parquet(layout(config).table("graph", "edges", 0, block)) for block in range(32)]
    assert quality["edges"] == sum(map(len, edges))
    names = object_names_of(config, levels)
    table = pd.concat(edges)
    p = 0.001 + 0.998 * table["outside"] / (255 * table["count"])
    costs = np.log((1 - p) / p) * table["count"]
    cut = table["u"].map(names) != table["v"].map(names)
    assert quality["energy"] == pytest.approx(float(costs[cut].sum()))


def object_names_of(config: Settings, levels: int) -> dict[int, int]:
    place, tree = layout(config), Octree((2, 4, 4))
    ids = np.concatenate([read_table(place.table("graph", "nodes", 0, block))["id"] for block in range(32)])
    return dict(zip(ids.tolist(), object_names(place, 0, tree, levels, ids).tolist(), strict=True))


def test_every_supervoxel_is_counted_once(graph):
    """What levels settle and what the root solves are all objects, and what a level leaves the next one gets."""
    config = changed(graph, partition={"levels": 2})
    workflow = Workflow(config, "test")
    run(config, TO_LABELS)
    place = layout(config)
    notes = {}
    for name in ("level0", "level1", "root"):
        step = workflow.step(f"partition.{name}", "a", 0)
        (path,) = place.ledger("partition", 0, name).parent.glob(f"{name}*.jsonl")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        notes[name] = pd.DataFrame([line["note"] for line in lines if line.get("note")])
        assert len(notes[name]) == step.number_of_pieces
    names = object_names_of(config, 2)
    assert notes["level0"]["nodes"].sum() == len(names)
    assert notes["level1"]["nodes"].sum() == notes["level0"]["left"].sum()
    assert notes["root"]["nodes"].sum() == notes["level1"]["left"].sum()
    objects = notes["level0"]["objects"].sum() + notes["level1"]["objects"].sum() + notes["root"]["objects"].sum()
    assert objects == len(set(names.values()))


def test_a_change_in_one_block_runs_its_path_to_the_root(graph):
    """The superblocks that hold the block or touch it, and nothing else of the lower levels."""
    config = changed(graph, partition={"levels": 2})
    run(config, TO_LABELS)
    before = labels(config)
    path = layout(config).table("graph", "edges", 0, 0)
    table = read_table(path)
    path.unlink()
    ran = done(config, TO_LABELS)
    assert ran == {"graph.blocks": 1}
    np.testing.assert_array_equal(read_table(path)["u"], table["u"])
    np.testing.assert_array_equal(labels(config), before)


# Odd graphs


def volume(tmp_path: Path, image: np.ndarray, mask: np.ndarray | None = None) -> dict[str, Any]:
    tifffile.imwrite(tmp_path / "image.tif", image)
    sample: dict[str, Any] = {"input": {"path": str(tmp_path / "image.tif"), "axes": "zyx"}}
    if mask is not None:
        tifffile.imwrite(tmp_path / "mask.tif", mask)
        sample["mask"] = {"path": str(tmp_path / "mask.tif"), "axes": "zyx"}
    return sample


def masked(which: str) -> np.ndarray:
    mask = np.zeros((16, 48, 48), np.uint8)
    match which:
        case "one corner":
            mask[:8, :16, :16] = 1
        case "islands":  # supervoxels without a neighbour, in blocks of their own
            mask[2:6, 4:12, 4:12] = mask[10:14, 36:44, 36:44] = mask[2:6, 20:28, 36:44] = 1
        case "nothing":
            pass
        case "one voxel":
            mask[7, 15, 15] = 1
    return mask


@pytest.mark.parametrize("which", ["one corner", "islands", "nothing", "one voxel"])
@pytest.mark.parametrize("method", ["gasp", "mutex_watershed", "multicut"])
def test_blocks_without_supervoxels_and_supervoxels_without_neighbours(tmp_path, which, method):
    image = np.random.default_rng(0).integers(0, 255, (16, 48, 48)).astype(np.uint8)
    sample = volume(tmp_path, image, masked(which))
    found = []
    for levels in (0, 2):
        config = settings(
            tmp_path,
            sample,
            blocks={"block_shape": [8, 16, 16], "chunk_shape": [8, 16, 16]},
            supervoxels={"minimum_size": 0},
            segment={"minimum_object_size": 0},
            partition={"method": method, "levels": levels},
        )
        run(config, TO_LABELS)
        found.append(labels(config)[0])
    assert (found[0] > 0).sum() == masked(which).sum()
    np.testing.assert_array_equal(found[0], found[1])


def damaged(column: str, value: float) -> Any:
    def change(path: Path) -> None:
        table = read_table(path)
        write_table(path, {**table, column: np.where(np.arange(len(table["u"])) == 3, value, table[column])})

    return change


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def of_another_block(path: Path) -> None:
    table = read_table(path)
    shift = np.uint64(9 << 32)
    write_table(path, {**table, "u": table["u"] + shift, "v": table["v"] + shift})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damaged("outside", np.nan), "edges-000002.parquet: block 2 holds statistics that are no numbers (1 of"),
        (damaged("count", np.inf), "edges-000002.parquet: block 2 holds statistics that are no numbers (1 of"),
        (damaged("count", 0.0), "edges-000002.parquet: block 2 holds edges without contact (1 of"),
        (damaged("outside", -5.0), "edges-000002.parquet: block 2 holds boundary probabilities outside 0 … 1"),
        (of_another_block, "edges-000002.parquet: block 2 holds edges of other blocks"),
        (cut_short, "edges-000002.parquet: is missing or damaged"),
    ],
    ids=["nan", "infinite", "empty", "negative", "foreign", "cut"],
)
@pytest.mark.parametrize("levels", [0, 1])
def test_a_table_that_cannot_be_right_is_refused(graph, levels, change, message):
    change(layout(graph).table("graph", "edges", 0, 2))
    with pytest.raises(UserError) as error:
        run(changed(graph, partition={"levels": levels}), ("partition",))
    assert message in error.value.problem
    assert "bigseg verify" in error.value.remedy
    assert not layout(graph).marker("partition", 0, "root").exists()


def test_a_damaged_table_of_a_superblock_is_refused_and_made_again(graph):
    config = changed(graph, partition={"levels": 2})
    run(config, TO_LABELS)
    before = labels(config)
    path = layout(config).table("partition", "level1-edges", 0, 1)
    cut_short(path)
    run(config, TO_LABELS)  # the damage is noticed by what reads it: nothing does now
    path.unlink()
    assert set(done(config, TO_LABELS)) == {"partition.level1"}
    np.testing.assert_array_equal(labels(config), before)


# Linkages that cannot be solved in blocks

SAMPLES = {"a": {"input": {"path": "a.tif"}}}


def test_the_linkage_sum_is_refused_in_levels():
    with pytest.raises(UserError, match="levels: 2 cannot be used with linkage sum") as error:
        validate_config({"samples": SAMPLES, "partition": {"linkage": "sum", "levels": 2}}, "config.yaml")
    assert "set levels to 0" in str(error.value)


def test_the_linkage_sum_is_refused_for_a_large_volume(tmp_path, monkeypatch):
    monkeypatch.setattr("bigseg.geometry.octree.ONE_JOB", 1000)
    sample = volume(tmp_path, np.random.default_rng(0).integers(0, 255, (16, 48, 48)).astype(np.uint8))
    config = settings(tmp_path, sample, blocks={"block_shape": [8, 16, 16]}, partition={"linkage": "sum"})
    with pytest.raises(UserError, match=r"partition\.linkage: sum can only be solved in one job") as error:
        Workflow(config, "test")
    assert "partition.levels: 0" in error.value.remedy
    run(changed(config, partition={"levels": 0}), TO_LABELS)
