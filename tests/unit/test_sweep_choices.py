"""`bigseg sweep`: what is tried, and what is refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from pipeline_checks import BLOCKS, Settings, changed, layout, run, scores, settings
from sweep_checks import UP_TO_GRAPH, UP_TO_SCORES, command, swept, write

from bigseg.errors import UserError
from bigseg.planning.workflow import Workflow
from bigseg.sweeping.choices import KEYS, Values, make_choices, parse_values, read_grid


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.3", [0.3]),
        ("0.3,0.4", [0.3, 0.4]),
        ("0.3:0.7:0.1", [0.3, 0.4, 0.5, 0.6, 0.7]),
        ("0.1,0.5:0.6:0.05", [0.1, 0.5, 0.55, 0.6]),
        ("0:100:50", [0, 50, 100]),
        ("0:1:0.4", [0.0, 0.4, 0.8]),
        ("gasp, multicut", ["gasp", "multicut"]),
    ],
)
def test_values(text, values):
    found = parse_values(text, "--beta")
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    "text", ["", "0.3,,0.4", "0.3:0.7", "0.3:0.7:0", "0.7:0.3:0.1", "a:b:c", "0:1:1e-9", "0:nan:1"]
)
def test_values_that_are_none(text):
    with pytest.raises(UserError, match="--beta"):
        parse_values(text, "--beta")


def choices(config: Settings, *grids: Values) -> list[dict[str, Any]]:
    plans = list(Workflow(config, "test").plans.values())
    return [dict(choice.parameters) for choice in make_choices(config, plans, grids, "config.yaml")]


def test_parameters_that_a_method_does_not_use_are_not_multiplied(ready):
    grid = {
        "partition.method": ["gasp", "multicut", "mutex_watershed"],
        "partition.linkage": ["mean", "max"],
        "partition.size_weight": [0, 0.5, 1.0],
        "partition.beta": [0.3, 0.4],
    }
    found = choices(ready, grid)
    of_method = [one["partition.method"] for one in found]
    assert {name: of_method.count(name) for name in set(of_method)} == {"gasp": 4, "multicut": 6, "mutex_watershed": 2}
    for one in found:
        assert ("partition.linkage" in one) == (one["partition.method"] == "gasp")
        assert ("partition.size_weight" in one) == (one["partition.method"] == "multicut")
        assert one["segment.minimum_object_size"] == 100, "as configured"
    assert len(choices(ready, grid, grid)) == len(found)


def test_what_makes_no_difference_is_refused(ready):
    with pytest.raises(UserError, match=r"partition.linkage: mean, max make no difference to the method multicut"):
        choices(ready, {"partition.method": ["multicut"], "partition.linkage": ["mean", "max"]})


def test_what_can_be_tried():
    assert {"partition.method", "partition.beta", "partition.lifted.distance", "segment.minimum_object_size"} <= set(
        KEYS
    )
    assert not {"partition.levels", "partition.lifted"} & set(KEYS)


def test_grid_file(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text(
        "- partition: {method: gasp, beta: 0.3:0.5:0.1}\n"
        "  segment: {minimum_object_size: [0, 100]}\n"
        "- partition: {method: [multicut], size_weight: [0, 1.0], lifted: {distance: 2}}\n"
    )
    assert read_grid(path) == [
        {"partition.method": ["gasp"], "partition.beta": [0.3, 0.4, 0.5], "segment.minimum_object_size": [0, 100]},
        {"partition.method": ["multicut"], "partition.size_weight": [0, 1.0], "partition.lifted.distance": [2]},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no parameters"),
        ("3", "holds no parameters"),
        ("partition: {bta: 0.3}", r"partition.bta: cannot be tried; did you mean 'partition.beta'"),
        ("partition: {levels: 1}", r"partition.levels: cannot be tried"),
        ("supervoxels: {threshold: [0.3]}", r"supervoxels: cannot be tried"),
        ("partition: {beta: []}", r"partition.beta: has no values"),
        ("partition: 3", "partition: cannot be tried"),
        ("partition: {lifted: {nuclei: 3}}", "partition.lifted.nuclei: cannot be tried"),
        ("a: [", "is not YAML"),
    ],
)
def test_grid_file_that_is_wrong(tmp_path, text, message):
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_grid(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--beta", "1.5"], r"partition.beta: 1.5 is not allowed: .*less than 1"),
        (["--beta", "high"], r"partition.beta: 'high' is not allowed"),
        (["--method", "gsap"], r"partition.method: 'gsap' is not allowed"),
        (["--minimum-object-size", "0.5"], r"segment.minimum_object_size: 0.5 is not allowed"),
        (["--size-weight", "0,1"], r"partition.size_weight: 0, 1 make no difference to the method gasp"),
        (["--by", "rand"], r"--by: 'rand' is no score"),
        (["--sample", "b"], r"--sample: there is no 'b'"),
        (["--time", "7"], r"--time: there is no time point 7"),
        (["--grid", "none.yaml"], r"--grid: none.yaml cannot be read"),
        (["--grid", "none.yaml", "--beta", "0.3"], r"--grid and --beta"),
    ],
)
def test_wrong_options(ready, arguments, message):
    assert re.search(message, command(*arguments, status=2), re.DOTALL)
    assert not layout(ready).table("evaluate", "overlaps", 0, 0).exists(), "nothing is computed before"


def test_no_truth(ready):
    config = {**ready, "samples": {"a": {"input": ready["samples"]["a"]["input"]}}}
    write(config)
    assert "samples.a.truth: is missing" in command(status=2)
    config["samples"]["b"] = ready["samples"]["a"]
    write(config)
    assert "samples.a.truth: is missing" in command("--sample", "a", status=2)


def test_a_graph_that_is_not_there(ready):
    shutil.rmtree("work/a/status/graph")
    message = command(status=2)
    assert "step graph.blocks has not run" in message
    assert "`snakemake --cores all --until graph`" in message
    Path("config.yaml").rename("other.yaml")
    assert "snakemake --configfile other.yaml --cores all --until graph" in command("--config", "other.yaml", status=2)


STALE: list[tuple[dict[str, Any], str]] = [
    ({"supervoxels": {"threshold": 0.3}}, "supervoxels.blocks"),
    ({"predict": {"sigma": 0.5}}, "predict.blocks"),
    ({"ingest": {"reference": False}, "predict": {"invert": True}}, "predict.blocks"),
]


@pytest.mark.parametrize(("change", "step"), STALE, ids=lambda value: str(value))
def test_a_graph_of_other_parameters(ready, change, step):
    write(changed(ready, **change))
    assert f"out of date (step {step} would run again)" in command(status=2)


def test_a_graph_of_other_supervoxels(ready):
    """Markers of every step have the right parameters, but the graph was made before the supervoxels."""
    config = changed(ready, supervoxels={"threshold": 0.3})
    run(config, ("supervoxels",))
    write(config)
    assert "out of date (step graph.blocks would run again)" in command(status=2)
    run(config, ("graph",))
    assert command("--beta", "0.4")


def test_a_graph_of_another_image(ready, cells, tmp_path):
    """A new time in the file system alone is noticed as well; the remedy says what to do if Snakemake sees nothing."""
    (tmp_path / "files").mkdir()
    sample = {}
    for kind, role in (("image", "input"), ("truth", "truth")):
        shutil.copy2(cells.folder / f"{kind}_t0.tif", tmp_path / "files")
        sample[role] = {"path": f"files/{kind}_t0.tif"}
    config = settings(tmp_path / "own", sample, blocks=BLOCKS)
    run(config, UP_TO_GRAPH)
    write(config)
    command("--beta", "0.4")
    cells.write(tmp_path / "files" / "image_t0.tif", cells.image[1])
    message = command("--beta", "0.4", status=2)
    assert "out of date (step ingest.blocks would run again)" in message
    assert "--forcerun ingest" in message
    run(config, UP_TO_GRAPH)
    assert command("--beta", "0.4")


def test_a_mask_is_part_of_what_the_graph_is_made_of(ready, cells, tmp_path):
    mask = (cells.image[0] >= 0).astype("uint8")
    cells.write(tmp_path / "mask.tif", mask)
    source = Path(ready["samples"]["a"]["input"]["path"]).parent
    sample = {
        "input": {"path": f"{source}/image_t0.tif"},
        "truth": {"path": f"{source}/truth_t0.tif"},
        "mask": {"path": str(tmp_path / "mask.tif")},
    }
    config = settings(tmp_path / "own", sample, blocks=BLOCKS)
    run(config, UP_TO_GRAPH)
    [(_, found)] = swept(config, {})
    mask[:, :20, :20] = 0
    cells.write(tmp_path / "mask.tif", mask)
    assert "step supervoxels.blocks would run again" in command(status=2)
    run(config, UP_TO_GRAPH)
    [(_, masked)] = swept(config, {})
    assert masked != found
    run(config, UP_TO_SCORES)
    assert dict(masked) == scores(config), "background of the result is scored alike"


def test_a_table_that_is_gone(ready):
    layout(ready).table("graph", "edges", 1, 2).unlink()
    assert "step graph.blocks would run again" in command(status=2)
