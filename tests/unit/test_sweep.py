"""`bigseg sweep`: the scores of the workflow."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest
from lifted_problems import lifted_problem
from pipeline_checks import Settings, changed, layout, run, scores, settings
from sweep_checks import UP_TO_GRAPH, UP_TO_SCORES, command, swept, write

import bigseg.kernels.contingency as contingency
from bigseg.errors import UserError
from bigseg.planning.workflow import Workflow
from bigseg.sweeping.choices import nested

RECIPES: list[dict[str, Any]] = [
    {"method": "gasp", "linkage": "mean", "beta": 0.5},
    {"method": "gasp", "linkage": "mean", "beta": 0.2},
    {"method": "gasp", "linkage": "min", "beta": 0.4},
    {"method": "gasp", "linkage": "sum", "beta": 0.4},
    {"method": "mutex_watershed", "beta": 0.3},
    {"method": "multicut", "beta": 0.3, "size_weight": 0.5, "levels": 0},
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: "-".join(map(str, recipe.values())))
@pytest.mark.parametrize("minimum", [0, 1500])
def test_scores_are_those_of_the_workflow(ready, recipe, minimum):
    """To the last bit, with the same merging of small objects."""
    config = changed(ready, partition=recipe, segment={"minimum_object_size": minimum})
    [(_, found)] = swept(config, {})
    run(config, UP_TO_SCORES)
    assert dict(found) == scores(config)
    assert found["n_result"] > 1


@pytest.mark.parametrize("method", ["gasp", "mutex_watershed", "multicut"])
def test_levels_are_those_of_the_workflow(ready, method):
    """A multicut that is solved in superblocks is another one."""
    config = changed(ready, partition={"method": method, "levels": 2, "beta": 0.3})
    [(_, found)] = swept(config, {})
    run(config, UP_TO_SCORES)
    assert dict(found) == scores(config)


def test_small_objects_matter_in_this_tissue(ready):
    """The exactness above is tested on mergers that happen."""
    found = [scored["n_result"] for _, scored in swept(ready, {"segment.minimum_object_size": [0, 300, 1500]})]
    assert found[0] > found[2]
    assert found == sorted(found, reverse=True)


def test_a_single_time_point(ready):
    grid = {"partition.beta": [0.3, 0.6]}
    together, first, second = (swept(ready, grid, time=time) for time in (None, 0, 1))
    for both, one, other in zip(together, first, second, strict=True):
        assert both[1]["n_truth"] == one[1]["n_truth"] + other[1]["n_truth"]
        assert both[1]["n_result"] == one[1]["n_result"] + other[1]["n_result"]


def test_threads_do_not_matter(ready):
    grid = {"partition.method": ["gasp", "mutex_watershed"], "partition.beta": [0.2, 0.4, 0.6]}
    grid["segment.minimum_object_size"] = [0, 100]
    assert swept(ready, grid, threads=1) == swept(ready, grid, threads=5)


def test_voxels_are_read_once(ready, monkeypatch, capsys):
    counted = []
    count = contingency.count_pairs
    monkeypatch.setattr(contingency, "count_pairs", lambda *volumes: counted.append(1) or count(*volumes))
    first = swept(ready, {})
    assert len(counted) == 8, "four blocks at two time points"
    assert swept(ready, {}) == first
    assert len(counted) == 8
    truth = Path(ready["samples"]["a"]["truth"]["path"].format(t=1))
    os.utime(truth, (1, 1))
    assert swept(ready, {}) == first
    assert len(counted) == 12, "of the time point whose truth changed"


def test_the_sweep_is_no_step_of_the_workflow(ready):
    swept(ready, {})
    workflow = Workflow(ready, "test")
    assert "evaluate.overlaps" not in workflow.steps("a")
    assert run(ready, UP_TO_GRAPH)["graph.blocks"].done == 0


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory) -> Settings:
    """A sample with nuclei, up to the graph."""
    folder = tmp_path_factory.mktemp("nuclei")
    problem = lifted_problem((16, 64, 64))
    with h5py.File(folder / "truth.h5", "w") as file:
        file["label"] = problem.truth.astype("uint32")
    sample = {**problem.write(folder, "nuclei"), "truth": {"path": str(folder / "truth.h5")}}
    made = settings(folder, sample, blocks={"block_shape": [16, 32, 32]}, partition={"method": "lifted_multicut"})
    run(made, UP_TO_GRAPH)
    return made


@pytest.mark.parametrize("levels", [0, 2])
def test_lifted_edges(nuclei, tmp_path, monkeypatch, levels):
    """Their parameters can be tried as well, and are not multiplied for other methods."""
    monkeypatch.chdir(tmp_path)
    config = changed(nuclei, partition={"levels": levels, "beta": 0.4})
    grid = {
        "partition.method": ["multicut", "lifted_multicut"],
        "partition.lifted.nuclei_repulsion": [0.5, 8.0],
    }
    found = swept(config, grid)
    assert [len(parameters) for parameters, _ in found] == [5, 6, 6]
    assert len({scored["n_result"] for _, scored in found}) > 1
    for parameters, scored in found:
        partition = dict(config["partition"], **nested(parameters)["partition"])
        run({**config, "partition": partition}, UP_TO_SCORES)
        assert dict(scored) == scores(config)
    with pytest.raises(UserError, match=r"semantic_repulsion: 1, 2 make no difference"):
        swept(config, {"partition.lifted.semantic_repulsion": [1, 2]})


def test_lifted_edges_that_were_not_counted(nuclei, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write({**nuclei, "partition": {"method": "multicut"}})
    assert command("--method", "multicut,lifted_multicut", "--beta", "0.4")
    shutil.move(layout(nuclei).status("graph"), "away")
    message = command("--method", "lifted_multicut", "--beta", "0.4", status=2)
    shutil.move("away", layout(nuclei).status("graph"))
    assert "set partition.method: lifted_multicut, then run " in message
    assert "`snakemake --cores all --until graph graph_evidence`" in message
