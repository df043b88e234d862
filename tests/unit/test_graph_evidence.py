"""Nuclei, semantic map and affinities from the user's files to the tables of lifted edges, block by block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bioimage_cpp as bic
import h5py
import numpy as np
import pytest
from graph_checks import all_edges
from lifted_problems import OFFSETS, LiftedProblem, lifted_problem
from pipeline_checks import NAME, Settings, changed, digests, done, layout, run, settings

from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.kernels.contingency import count_pairs
from bigseg.kernels.costs import log_odds_costs
from bigseg.kernels.evidence import boundary_from_affinity, long_range, most_frequent
from bigseg.kernels.lifted import repulsive_edges
from bigseg.kernels.region_graph import EdgeTable
from bigseg.kernels.scores import combine, tally
from bigseg.planning.workflow import Workflow
from bigseg.stages.partition.lifted import PartitionLifted
from bigseg.stages.step import Parameters
from bigseg.volumes.store import VolumeArray
from bigseg.volumes.tables import Table, read_table

SHAPE = (16, 48, 48)
BLOCKS = {"block_shape": [16, 24, 24]}
NUMBER_OF_BLOCKS = 4
GRAPH = ("ingest", "predict", "supervoxels", "graph")
ROLES = ("nuclei", "semantic", "affinities")
LIFTED: Parameters = {
    "shape": list(SHAPE),
    **BLOCKS,
    "method": "lifted_multicut",
    "size_weight": 1.0,
    "nuclei": {"same": 4.0, "different": -8.0},
    "semantic": {"same": 0.0, "different": -0.5},
    "distance": 4,
    "minimum_overlap": 0.2,
    "affinities": {"weight": 1.0, "offsets": OFFSETS},
    "beta": 0.5,
}


@pytest.fixture(scope="module")
def problem() -> LiftedProblem:
    return lifted_problem(SHAPE)


@pytest.fixture(scope="module")
def config(problem, tmp_path_factory) -> Settings:
    """A run up to the graph, of a method that uses affinities."""
    folder = tmp_path_factory.mktemp("evidence")
    made = settings(folder, problem.write(folder, *ROLES), blocks=BLOCKS, partition={"method": "mutex_watershed"})
    run(made, GRAPH)
    return made


def supervoxels(config: Settings) -> np.ndarray:
    return VolumeArray(layout(config).supervoxels, "tzyx").read(0, 0, Box((0, 0, 0), SHAPE))


def tables(config: Settings, stage: str, name: str) -> list[Table]:
    return [read_table(layout(config).table(stage, name, 0, block)) for block in range(NUMBER_OF_BLOCKS)]


def together(parts: list[Table]) -> Table:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


# Tables


def test_evidence_of_every_supervoxel(config, problem):
    found, labels = together(tables(config, "graph", "evidence")), supervoxels(config)
    ids, sizes = np.unique(labels[labels > 0], return_counts=True)
    assert np.array_equal(found["id"], ids)
    assert np.array_equal(found["size"], sizes)
    for column, volume in (("nucleus", problem.nuclei), ("semantic_class", problem.semantic)):
        expected = most_frequent(labels, volume, ids)
        assert np.array_equal(found[column], expected.label)
        assert np.array_equal(found[f"{column}_voxels"], expected.voxels)
        assert (found[f"{column}_total"] <= expected.total).all()
        assert (found[f"{column}_total"] >= expected.voxels).all()
    assert len(np.unique(found["nucleus"])) > 5


def whole_long_range(config: Settings, problem: LiftedProblem) -> Any:
    """Statistics of the affinities, counted over the whole volume at once."""
    channels = (boundary_from_affinity(channel, invert=False) for channel in problem.affinities)
    inner = (slice(0, SHAPE[0]), slice(0, SHAPE[1]), slice(0, SHAPE[2]))
    z_y_x = [(z, y, x) for z, y, x in OFFSETS]
    return long_range(supervoxels(config), channels, z_y_x, inner)


def test_affinities_are_counted_across_blocks(config, problem):
    expected = whole_long_range(config, problem)
    keys = {pair: row for row, pair in enumerate(zip(expected.u.tolist(), expected.v.tolist(), strict=True))}
    count, total = np.zeros(len(expected)), np.zeros(len(expected))
    for part in tables(config, "graph", "long_range"):
        rows = [keys[pair] for pair in zip(part["u"].tolist(), part["v"].tolist(), strict=True)]
        count[rows] += part["count"]
        total[rows] += part["boundary_sum"]
    assert np.array_equal(count, expected.count)
    assert np.array_equal(total, expected.boundary_sum)


def test_edges_of_the_mutex_watershed(config, problem):
    step = Workflow(config, "test").step("partition.lifted", NAME, 0)
    for block in range(NUMBER_OF_BLOCKS):
        step.process(block)
    found = together(tables(config, "partition", "lifted"))
    expected = repulsive_edges(whole_long_range(config, problem), 0.5).columns()
    order = np.lexsort((found["v"], found["u"]))
    assert all(np.array_equal(found[name][order], expected[name]) for name in expected)
    assert len(expected["u"])


def lifted_edges(config: Settings, **parameters: Any) -> Table:
    """The lifted edges of all blocks."""
    step = PartitionLifted({**LIFTED, **parameters}, layout(config), 0)
    for block in range(NUMBER_OF_BLOCKS):
        step.process(block)
        assert {need.step for need in step.needs(block)} == {"graph.blocks", "graph.evidence"}
    parts = tables(config, "partition", "lifted")
    for block, part in enumerate(parts):
        assert (part["u"] >> np.uint64(32) == block).all()
        assert (part["u"] < part["v"]).all()
        assert (part["count"] == 0).all()
    return together(parts)


@pytest.mark.parametrize("role", ROLES)
def test_lifted_edges_say_what_the_truth_says(config, problem, role):
    """Pairs within a cell attract and pairs of two cells repel, but for supervoxels that lie in several cells."""
    none = {other: {"same": 0.0, "different": 0.0} for other in ("nuclei", "semantic") if other != role}
    weight = 1.0 if role == "affinities" else 0.0
    found = lifted_edges(config, **none, affinities={"weight": weight, "offsets": OFFSETS})
    labels = supervoxels(config)
    ids, sizes = np.unique(labels[labels > 0], return_counts=True)
    cell = most_frequent(labels, problem.truth, ids)
    pure = cell.voxels > 0.9 * sizes
    u, v = np.searchsorted(ids, found["u"]), np.searchsorted(ids, found["v"])
    u, v, value = (column[pure[u] & pure[v]] for column in (u, v, found["value"]))
    same = cell.label[u] == cell.label[v]
    assert (value[~same] < 0).mean() > 0.9
    assert (~same).sum() > 20
    if role != "semantic":
        assert (value[same] > 0).mean() > 0.9
        assert same.any()


def test_costs_of_all_maps_add_up(config):
    together_found = lifted_edges(config)
    parts = [
        lifted_edges(config, nuclei={"same": 0.0, "different": 0.0}),
        lifted_edges(config, semantic={"same": 0.0, "different": 0.0}),
        lifted_edges(config, affinities={"weight": 0.0, "offsets": OFFSETS}),
    ]
    sums: dict[tuple[int, int], float] = {}
    for part in parts:  # each map is in two of the three
        for u, v, value in zip(part["u"], part["v"], part["value"], strict=True):
            sums[int(u), int(v)] = sums.get((int(u), int(v)), 0.0) + value / 2
    found = zip(together_found["u"], together_found["v"], together_found["value"], strict=True)
    assert {(int(u), int(v)): pytest.approx(value) for u, v, value in found} == sums


# What they are good for: solved in core by bioimage-cpp, whatever the partition makes of them in blocks


def rand_error(config: Settings, problem: LiftedProblem, **roles: Any) -> float:
    """Adapted Rand error of the lifted multicut with the maps that are given; of the multicut without any."""
    blocks = range(Workflow(config, "test").plans[NAME].grid.number_of_blocks)
    shape, place = problem.truth.shape, layout(config)
    parts = [EdgeTable(**read_table(place.table("graph", "edges", 0, block))) for block in blocks]
    ids = np.concatenate([read_table(place.table("graph", "nodes", 0, block))["id"] for block in blocks])
    edges = all_edges(parts)
    costs = log_odds_costs(edges.probability, 0.5, edges.count, 1.0)
    pairs = np.stack([np.searchsorted(ids, edges.u), np.searchsorted(ids, edges.v)], axis=1).astype(np.uint64)
    graph = bic.graph.UndirectedGraph.from_unique_edges(len(ids), pairs)
    objective = bic.graph.lifted_multicut.LiftedMulticutObjective(graph, costs)
    if roles:
        kept = {key: value for key, value in LIFTED.items() if key not in ROLES}
        grid = {"shape": list(shape), **config["blocks"]}
        step = PartitionLifted({**kept, **grid, **roles}, place, 0)
        for block in blocks:
            step.process(block)
            found = read_table(place.table("partition", "lifted", 0, block))
            ends = np.searchsorted(ids, found["u"]), np.searchsorted(ids, found["v"])
            for u, v, value in zip(*ends, found["value"], strict=True):
                objective.set_cost(int(u), int(v), float(value))
    bic.graph.lifted_multicut.LiftedGreedyAdditiveMulticut().optimize(objective)
    clusters = np.asarray(bic.graph.lifted_multicut.LiftedKernighanLinMulticut().optimize(objective))
    labels = VolumeArray(place.supervoxels, "tzyx").read(0, 0, Box((0, 0, 0), shape))
    result = np.where(labels > 0, clusters[np.minimum(np.searchsorted(ids, labels), len(ids) - 1)] + 1, 0)
    return combine([tally(count_pairs(result, problem.truth), ignore_zero=True)])["adapted_rand_error"]


def solvable(folder: Path, problem: LiftedProblem, block_shape: list[int]) -> Settings:
    """The problem, up to the graph."""
    sample, blocks = problem.write(folder, *ROLES), {"block_shape": block_shape}
    config = settings(folder, sample, blocks=blocks, partition={"method": "mutex_watershed"})
    run(config, GRAPH)
    return config


@pytest.mark.parametrize("block_shape", [[32, 96, 96], [16, 48, 48], [16, 32, 32]])
def test_maps_make_up_for_missing_walls(tmp_path, block_shape):
    problem = lifted_problem()
    config = solvable(tmp_path, problem, block_shape)
    multicut = rand_error(config, problem)
    assert multicut > 0.2
    assert rand_error(config, problem, nuclei=LIFTED["nuclei"]) < 0.4 * multicut
    assert rand_error(config, problem, semantic=LIFTED["semantic"]) < 0.9 * multicut
    assert rand_error(config, problem, affinities=LIFTED["affinities"]) < 0.4 * multicut
    weights = [rand_error(config, problem, nuclei={"same": w / 2, "different": -w}) for w in (6.0, 16.0)]
    assert np.ptp(weights) < 0.05


def test_wrong_nuclei_do_little_harm(tmp_path):
    """Every fifth cell has a second nucleus, and its walls are good: hardly one of them is cut in two."""
    problem = lifted_problem(weak_walls=0.03, two=0.2)
    config = solvable(tmp_path, problem, [16, 48, 48])
    assert rand_error(config, problem, nuclei=LIFTED["nuclei"]) <= rand_error(config, problem) + 0.01


# Which steps, and what runs again


def steps(config: Settings) -> set[str]:
    return {"graph.evidence", "partition.lifted"} & set(Workflow(config, "test").steps(NAME))


@pytest.mark.parametrize(
    ("method", "roles", "expected"),
    [
        ("gasp", ROLES, False),
        ("multicut", ROLES, False),
        ("mutex_watershed", ("nuclei", "semantic"), False),
        ("mutex_watershed", ("affinities",), True),
        ("lifted_multicut", ("nuclei",), True),
        ("lifted_multicut", ("semantic",), True),
        ("lifted_multicut", ("affinities",), True),
    ],
)
def test_steps_are_there_where_the_method_uses_a_map(config, tmp_path, method, roles, expected):
    sample = {role: spec for role, spec in config["samples"][NAME].items() if role == "input" or role in roles}
    found = steps(settings(tmp_path, sample, blocks=BLOCKS, partition={"method": method}))
    assert found == ({"graph.evidence", "partition.lifted"} if expected else set())


def test_what_runs_again(problem, tmp_path):
    sample = problem.write(tmp_path, *ROLES)
    config = settings(tmp_path, sample, blocks=BLOCKS, partition={"method": "mutex_watershed"})
    run(config, GRAPH)
    before = digests(config)
    assert done(config, GRAPH) == {}
    # What is made of the counts is no business of the stage that counts.
    assert done(changed(config, partition={"beta": 0.3, "lifted": {"affinities_weight": 2.0}}), GRAPH) == {}
    # A nucleus appears in the last block: its row changes, all others stay.
    with h5py.File(tmp_path / "maps.h5", "r+") as file:
        file["nuclei"][10:, 40:, 40:] = 9999
    assert done(config, GRAPH) == {"graph.evidence": 1}
    after = digests(config)
    assert {key for key in before if before[key] != after[key]} == {("graph.evidence", 0, "000003")}
    # An affinity is read by the block of its voxel, not by the ones that its offset reaches.
    with h5py.File(tmp_path / "maps.h5", "r+") as file:
        file["affinities"][:, :, :5, :5] = 255
    assert done(config, GRAPH) == {"graph.evidence": 1}


def test_blocks_need_what_offsets_reach(config):
    """All offsets go up here, so a block needs those above it; the diagonal one as well."""
    step = Workflow(config, "test").step("graph.evidence", NAME, 0)
    assert [list(need.pieces) for need in step.needs(3)] == [[0, 1, 2, 3]]
    assert [list(need.pieces) for need in step.needs(0)] == [[0]]
    lifted = Workflow(config, "test").step("partition.lifted", NAME, 0)
    assert [(need.step, list(need.pieces)) for need in lifted.needs(1)] == [("graph.evidence", [1, 2, 3])]


# What users get wrong


def refused(config: Settings) -> str:
    with pytest.raises(UserError) as caught:
        Workflow(config, "my.yaml")
    assert caught.value.remedy
    return str(caught.value)


def with_role(config: Settings, role: str, spec: dict[str, Any] | None) -> Settings:
    return {**config, "samples": {NAME: {**config["samples"][NAME], role: spec}}}


def stored(folder: Path, volume: np.ndarray, **more: Any) -> dict[str, Any]:
    with h5py.File(folder / "other.h5", "w") as file:
        file["map"] = volume
    return {"path": str(folder / "other.h5"), "key": "map", **more}


@pytest.mark.parametrize("role", ROLES)
def test_a_missing_map(config, role):
    spec = {"path": "no.tif", **({"offsets": OFFSETS} if role == "affinities" else {})}
    assert f"samples.a.{role}: no.tif does not exist" in refused(with_role(config, role, spec))


@pytest.mark.parametrize("role", ["nuclei", "semantic"])
def test_a_map_of_another_shape(config, tmp_path, role):
    told = refused(with_role(config, role, stored(tmp_path, np.zeros((16, 48, 40), np.uint8))))
    assert f"samples.a.{role}: {tmp_path / 'other.h5'} has shape [1, 16, 48, 40]" in told


@pytest.mark.parametrize("role", ["nuclei", "semantic"])
def test_a_map_of_fractions(config, tmp_path, role):
    told = refused(with_role(config, role, stored(tmp_path, np.zeros(SHAPE, np.float32))))
    assert f"samples.a.{role}: {tmp_path / 'other.h5'} is of type float32, labels are integers" in told


def test_a_map_of_several_channels(config, tmp_path):
    told = refused(with_role(config, "nuclei", stored(tmp_path, np.zeros((2, *SHAPE), np.uint8), axes="czyx")))
    assert "has 2 channels" in told


def affinities(folder: Path, dtype: Any = np.uint8, **more: Any) -> dict[str, Any]:
    return stored(folder, np.zeros((2, *SHAPE), dtype), **{"axes": "czyx", "offsets": [[0, 1, 0], [0, 0, 1]], **more})


def test_offsets_and_channels(config, tmp_path):
    told = refused(with_role(config, "affinities", affinities(tmp_path, offsets=[[0, 1, 0]])))
    assert "samples.a.affinities.offsets: 1 are given" in told
    assert "has 2 channels" in told


@pytest.mark.parametrize("dtype", [np.uint16, np.int8, np.int32])
def test_affinities_of_another_type(config, tmp_path, dtype):
    told = refused(with_role(config, "affinities", affinities(tmp_path, dtype)))
    assert f"is of type {np.dtype(dtype).name}" in told


@pytest.mark.parametrize("offset", [[0, 25, 0], [0, 0, -30], [-17, 0, 0]])
def test_an_offset_longer_than_a_block(config, tmp_path, offset):
    spec = affinities(tmp_path, offsets=[[0, 1, 0], offset])
    told = refused(with_role(config, "affinities", spec))
    assert f"samples.a.affinities.offsets: {offset} is longer than a block, [16, 24, 24]" in told
    Workflow(changed(with_role(config, "affinities", spec), partition={"method": "gasp"}), "test")  # not used


@pytest.mark.parametrize("offsets", [[], [[0, 0, 0], [0, 0, 1]], [[1, 2], [3, 4]], [[0.5, 0, 0], [1, 0, 0]]])
def test_offsets_that_are_none(config, tmp_path, offsets):
    assert "samples.a.affinities.offsets" in refused(
        with_role(config, "affinities", affinities(tmp_path, offsets=offsets))
    )


def test_affinities_without_offsets(config, tmp_path):
    spec = {key: value for key, value in affinities(tmp_path).items() if key != "offsets"}
    assert "samples.a.affinities.offsets: is missing" in refused(with_role(config, "affinities", spec))


@pytest.mark.parametrize(
    ("role", "volume", "message"),
    [
        ("nuclei", np.full(SHAPE, -1, np.int16), "holds the negative label -1"),
        ("affinities", np.full((5, *SHAPE), 2.5, np.float32), "channel 0: holds affinities that are not in 0 … 1"),
    ],
)
def test_values_that_cannot_be(config, problem, tmp_path, role, volume, message):
    sample = problem.write(tmp_path, *ROLES)
    more = {"axes": "czyx", "offsets": OFFSETS} if role == "affinities" else {}
    sample[role] = stored(tmp_path, volume, **more)
    with pytest.raises(UserError) as caught:
        run(settings(tmp_path, sample, blocks=BLOCKS, partition={"method": "mutex_watershed"}), GRAPH)
    assert str(tmp_path / "other.h5") in str(caught.value)
    assert message in str(caught.value)


def test_a_lifted_multicut_without_any_map(config, tmp_path):
    sample = {"input": config["samples"][NAME]["input"]}
    told = refused(settings(tmp_path, sample, blocks=BLOCKS, partition={"method": "lifted_multicut"}))
    for role in ROLES:
        assert f"samples.a.{role}" in told
