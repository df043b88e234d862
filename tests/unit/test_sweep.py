"""`bigseg sweep`: the scores of the workflow, what is tried, what is refused, and what it writes."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest
import yaml
from lifted_problems import lifted_problem
from pipeline_checks import Settings, changed, layout, run, scores, settings
from typer.testing import CliRunner

import bigseg.kernels.contingency as contingency
from bigseg.cli import app
from bigseg.errors import UserError
from bigseg.kernels.scores import Scores
from bigseg.planning.workflow import Workflow
from bigseg.sweeping.choices import KEYS, Values, make_choices, nested, parse_values, read_grid
from bigseg.sweeping.ranking import as_csv, as_png, ranked, table
from bigseg.sweeping.sweep import Sweep

UP_TO_GRAPH = ("ingest", "predict", "supervoxels", "graph")
UP_TO_SCORES = ("partition", "segment", "measure", "track", "evaluate")
BLOCKS = {"block_shape": [24, 32, 32]}


@pytest.fixture(scope="module")
def prepared(cells, tmp_path_factory) -> Settings:
    """Two time points up to the graph; tests work on copies."""
    folder = tmp_path_factory.mktemp("prepared")
    for t in range(2):
        for kind in ("image", "truth"):
            shutil.copy2(cells.folder / f"{kind}_t{t}.tif", folder)
    sample = {"input": {"path": f"{folder}/image_t{{t}}.tif"}, "truth": {"path": f"{folder}/truth_t{{t}}.tif"}}
    config = settings(folder, sample, blocks=BLOCKS, execution={"batches": 2, "threads": 2})
    config.update(results="results", work="work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(config, UP_TO_GRAPH)
    return config


@pytest.fixture
def ready(prepared, tmp_path, monkeypatch) -> Settings:
    """A graph of the test's own in the working directory, with its ``config.yaml``."""
    source = Path(prepared["samples"]["a"]["input"]["path"]).parent
    for name in ("results", "work"):
        shutil.copytree(source / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    write(prepared)
    return prepared


def write(config: Settings) -> Path:
    path = Path("config.yaml")
    path.write_text(yaml.safe_dump(config))
    return path


def swept(config: Settings, *grids: Values, threads: int = 2, **options: Any) -> list[tuple[dict[str, Any], Scores]]:
    """Parameters and scores, in the order of the grids."""
    made = Sweep(write(config), grids, by="voi", **options)
    return [(dict(one.parameters), scored) for one, scored in zip(made.choices, made.scores(threads), strict=True)]


def command(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["sweep", *arguments])
    if status:
        assert isinstance(result.exception, UserError), result.output
        return str(result.exception)
    assert result.exit_code == 0, result.exception
    return result.stdout


# The scores


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


# Lifted edges


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


# What is tried


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


# What is refused


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


# What comes out


def test_table(ready):
    text = command("--beta", "0.2,0.4,0.5", "--minimum-object-size", "0,100")
    rows = [line.split() for line in text.splitlines()]
    assert rows[0][:3] == ["beta", "minimum_object_size", "adapted_rand_error"]
    assert rows[1][0] == "best"
    assert any(row[:3] == ["now", "0.5", "100"] for row in rows) or rows[1][:3] == ["best", "0.5", "100"]
    values = [float(row[-7]) for row in rows[1:7]]
    assert values == sorted(values)
    lines = text[text.index("partition:") :]
    best = yaml.safe_load(lines)
    assert best["partition"]["method"] == "gasp"
    assert best["partition"]["beta"] == float(rows[1][1])
    run(changed(ready, **best), UP_TO_SCORES)
    assert round(scores(ready)["adapted_rand_error"], 4) == values[0]


def test_default_is_a_range_of_beta(ready):
    found = json.loads(command("--json"))
    betas = sorted(one["partition"]["beta"] for one in found["configurations"])
    assert betas == parse_values("0.1:0.9:0.05", "--beta")


def test_json(ready):
    found = json.loads(command("--json", "--method", "gasp,mutex_watershed", "--beta", "0.3,0.6", "--by", "map"))
    assert found["by"] == "map"
    assert found["times"] == {"a": [0, 1]}
    ranking = [one["scores"]["map"] for one in found["configurations"]]
    assert ranking == sorted(ranking, reverse=True)
    assert found["best"] == found["configurations"][0]
    run(changed(ready, partition=found["best"]["partition"], segment=found["best"]["segment"]), UP_TO_SCORES)
    assert found["best"]["scores"] == scores(ready)


def test_csv_and_plot(ready):
    command("--method", "gasp,mutex_watershed", "--beta", "0.3,0.6", "--csv", "s.csv", "--plot", "s.png", "--by", "voi")
    rows = list(csv.DictReader(Path("s.csv").read_text().splitlines()))
    assert len(rows) == 4
    assert {row["partition.linkage"] for row in rows} == {"mean", ""}
    values = [float(row["voi"]) for row in rows]
    assert values == sorted(values)
    assert all(float(r["voi"]) == float(r["voi_split"]) + float(r["voi_merge"]) for r in rows)
    assert Path("s.png").read_bytes().startswith(b"\x89PNG")
    assert "--csv: no/s.csv cannot be written" in command("--beta", "0.3", "--csv", "no/s.csv", status=2)


def test_writing_the_best(ready):
    path = Path("config.yaml")
    path.write_text(path.read_text() + "# mine\npartition:\n  beta: 0.1  # too low\n")
    best = json.loads(command("--beta", "0.1,0.4", "--json", "--write"))["best"]["partition"]["beta"]
    assert best == 0.4
    assert path.read_text().endswith("# mine\npartition:\n  beta: 0.4  # too low\n")
    before = path.read_text()
    command("--beta", "0.1,0.4", "--write")
    assert path.read_text() == before


def test_a_configuration_that_cannot_be_replaced_stays_whole(ready, monkeypatch):
    path = Path("config.yaml")
    path.write_text(path.read_text() + "# mine\npartition:\n  beta: 0.1\n")
    path.chmod(0o640)
    linked = Path("linked.yaml")
    path.rename(linked)
    path.symlink_to(linked)
    before = path.read_text()

    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if Path(target).suffix == ".yaml":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        message = command("--beta", "0.1,0.4", "--write", status=2)
    assert message.startswith("--write: ")
    assert "No space left" in message
    assert path.read_text() == before
    command("--beta", "0.1,0.4", "--write")
    assert path.is_symlink()
    assert linked.read_text() == before.replace("beta: 0.1", "beta: 0.4")
    assert linked.stat().st_mode & 0o777 == 0o640


def test_a_machine_that_is_too_small(ready, monkeypatch, capsys):
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    swept(ready, {})
    assert "use fewer --threads" in capsys.readouterr().err


def test_grid_file_on_the_command_line(ready):
    Path("grid.yaml").write_text("partition: {method: [gasp, mutex_watershed]}")
    found = json.loads(command("--grid", "grid.yaml", "--json"))
    assert {one["partition"]["beta"] for one in found["configurations"]} == {0.5}, "as configured"
    assert len(found["configurations"]) == 2


def test_ranking_of_equals_and_long_tables(ready):
    plans = list(Workflow(ready, "test").plans.values())
    made = make_choices(ready, plans, [{"partition.beta": [n / 1000 for n in range(100, 150)]}], "config.yaml")
    perfect = Scores(
        voi_split=0.0, voi_merge=0.5, adapted_rand_error=0.1, sbd=1.0, ap50=1.0, map=1.0, precision=1.0, recall=1.0,
        n_result=3, n_truth=3,
    )  # fmt: skip
    better = Scores(**{**perfect, "voi_merge": 0.25})
    found = ranked(made, [perfect] * 49 + [better], "adapted_rand_error", {"partition.beta": 0.12})
    assert found[0].scores == better
    changes = [abs(one.choice.parameters["partition.beta"] - 0.12) for one in found[1:]]
    assert changes[0] == 0
    assert changes == sorted(changes), "the nearest to what is configured first"
    text = table(found, "adapted_rand_error", {})
    assert "… and 30 more" in text
    assert "try higher ones" in text
    assert len(as_csv(found, "voi").splitlines()) == 51
    assert as_png(found, "voi")


@pytest.mark.workflow
def test_the_remedy_is_a_command_that_works(ready, cells, tmp_path, snakemake):
    """`snakemake --until graph` makes what a sweep needs and no more."""
    folder = tmp_path / "new"
    folder.mkdir()
    sample = {
        "input": {"path": str(cells.folder / "image_t0.tif")},
        "truth": {"path": str(cells.folder / "truth_t0.tif")},
    }
    os.chdir(folder)
    write({"samples": {"a": sample}, "blocks": BLOCKS})
    remedy = re.search(r"run `snakemake --cores all (.*?)`", command(status=2))
    made = snakemake(folder, *remedy[1].split())
    assert made.status == 0, made.text
    assert set(made.jobs) == {"ingest", "ingest_statistics", "predict", "supervoxels", "graph"}
    before = command("--beta", "0.4,0.5", "--write")
    assert "best" in before
    whole = snakemake(folder)
    assert whole.status == 0, whole.text
    assert "graph" not in whole.jobs, "a sweep makes nothing run again"
