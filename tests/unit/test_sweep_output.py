"""`bigseg sweep`: what it prints and writes."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import pytest
import yaml
from pipeline_checks import BLOCKS, changed, run, scores
from sweep_checks import UP_TO_SCORES, command, swept, write

from bigseg.kernels.scores import Scores
from bigseg.planning.workflow import Workflow
from bigseg.sweeping.choices import make_choices, parse_values
from bigseg.sweeping.ranking import as_csv, as_png, ranked, table


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
    whole = snakemake(folder, "-n")
    assert whole.status == 0, whole.text
    assert "partition" in whole.jobs
    assert "graph" not in whole.jobs, "a sweep makes nothing run again"
