"""The workflow as users run it: real Snakemake, real jobs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from workflow_checks import Config, configuration, markers, prepare

from bigseg.local import run_here
from bigseg.planning.workflow import Workflow

pytestmark = pytest.mark.workflow

REPOSITORY = Path(__file__).resolve().parents[2]
STAGES = ("ingest", "predict", "supervoxels", "graph", "partition", "segment")
"""Up to the labels."""


def changed(folder: Path, **sections: dict[str, Any]) -> Config:
    """Change keys in the configuration of a folder."""
    config = json.loads((folder / "config.yaml").read_text())
    config.update({name: {**config.get(name, {}), **section} for name, section in sections.items()})
    (folder / "config.yaml").write_text(json.dumps(config))
    return config


def files(folder: Path) -> dict[str, int]:
    """Time of change of every file that the user has, but for those that Snakemake writes for itself."""
    found = (path for path in folder.rglob("*") if path.is_file() and ".snakemake" not in path.parts)
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in found}


def test_a_dry_run_for_slurm_needs_no_slurm(cells, tmp_path, snakemake):
    """The profile is found by its path from anywhere; in a checkout and after `bigseg init` by its name."""
    prepare(tmp_path, cells, configuration(), 2)
    planned = snakemake(tmp_path, "-n", "--profile", str(REPOSITORY / "slurm"))
    assert planned.status == 0, planned.text
    assert planned.jobs["ingest"] == 4
    assert sum(planned.jobs.values()) == 66
    assert not (tmp_path / "results").exists()


def test_lint(cells, tmp_path, snakemake):
    prepare(tmp_path, cells, configuration(), 1)
    done = snakemake(tmp_path, "--lint")
    assert done.status == 0, done.text
    assert "Congratulations" in done.text


def test_a_map_that_is_not_used_is_told_once(cells, tmp_path, snakemake):
    """By the process that plans; every job reads the rules again, and is silent."""
    config = configuration("0")
    config["samples"]["cells"]["nuclei"] = config["samples"]["cells"]["truth"]
    prepare(tmp_path, cells, config, 1)
    done = snakemake(tmp_path, "--until", "ingest")
    assert done.status == 0, done.text
    assert done.jobs["ingest"] == 2
    assert done.text.count("samples.cells.nuclei is not used: partition.method is gasp; set it to lifted_multicut") == 1


def test_without_a_configuration_the_user_is_told(tmp_path, snakemake):
    done = snakemake(tmp_path, "-n")
    assert done.status != 0
    assert "config.yaml" in done.text
    assert "Traceback" not in done.text


def test_the_interpreter_of_the_tests_runs_the_jobs(environment):
    found = subprocess.run(["which", "bigseg"], env=environment, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).parent == Path(sys.executable).parent


def test_a_run_is_complete_and_the_same_as_one_in_this_process(finished, tmp_path, cells, monkeypatch):
    results = finished / "results"
    names = {
        "report.html",
        "overview.png",
        "sizes.png",
        "objects.parquet",
        "scores.json",
        "seams.json",
        "provenance.json",
        "tracks.parquet",
        "tracks.geff",
        "tracks.csv",
        "tracks.graph.json",
        "res_track.txt",
        "tracking_scores.json",
        "lineages.png",
    }
    assert {path.name for path in (results / "cells").iterdir()} == names
    assert (results / "cells.ome.zarr" / "labels" / "segmentation" / "zarr.json").is_file()
    scores = json.loads((results / "cells" / "scores.json").read_text())
    assert scores["adapted_rand_error"] < 0.1
    for kind in ("logs", "benchmarks"):
        found = [path for path in (finished / "work" / "cells" / kind).rglob("*") if path.is_file()]
        assert len(found) == len(markers(finished)), f"every job has {kind}"
        assert all(path.stat().st_size for path in found)

    here = tmp_path / "here"
    prepare(here, cells, configuration(), 2)
    monkeypatch.chdir(here)
    run_here(Workflow(json.loads((here / "config.yaml").read_text()), "config.yaml"))
    assert markers(here) == markers(finished)


def test_afterwards_nothing_is_to_be_done_and_nothing_is_touched(finished, snakemake):
    before = files(finished)
    for options in (["-n"], []):
        done = snakemake(finished, *options)
        assert done.status == 0
        assert "Nothing to be done" in done.text
    assert files(finished) == before


REPORT = {"report": 1, "report_provenance": 1}
MERGING = {
    "pyramid_metadata": 1,
    "measure_table": 1,
    "track_table": 1,
    "track_exports": 1,
    "evaluate_scores": 1,
    "evaluate_tracks": 1,
    "seams_summary": 1,
    **REPORT,
}
AFTER_PARTITION = {
    "segment_contacts": 4,
    "segment_objects": 2,
    "segment": 4,
    "measure": 4,
    "track_overlaps": 2,
    "track_detections": 2,
    "track_links": 1,
    "track_lineages": 2,
    "track": 4,
    "evaluate": 4,
    "evaluate_track_overlaps": 4,
    "seams": 4,
    **MERGING,
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"partition": {"beta": 0.6}},
            {"partition": 2, **AFTER_PARTITION},
        ),
        (
            {"supervoxels": {"threshold": 0.3}},
            {
                "supervoxels": 4,
                "graph": 4,
                "partition": 2,
                **AFTER_PARTITION,
            },
        ),
        ({"evaluate": {"ignore_zero": False}}, {"evaluate_scores": 1, **REPORT}),
        ({"seams": {"minimum_cut": 5}}, {"seams_summary": 1, **REPORT}),
        ({"report": {"planes": 2}}, REPORT),
        ({"execution": {"threads": 2}}, {}),
    ],
    ids=["beta", "threshold", "ignore_zero", "minimum_cut", "planes", "threads"],
)
def test_a_changed_parameter_plans_exactly_what_depends_on_it(finished, snakemake, change, expected):
    before = files(finished)
    changed(finished, **change)
    planned = snakemake(finished, "-n")
    assert planned.status == 0, planned.text
    assert planned.jobs == expected
    assert {path for path, at in files(finished).items() if before.get(path) != at} == {"config.yaml"}


def test_a_new_time_point_is_planned_alone(finished, cells, snakemake):
    prepare(finished, cells, configuration(), 3)
    planned = snakemake(finished, "-n")
    assert planned.status == 0, planned.text
    assert planned.jobs == {
        "ingest": 2,
        "ingest_statistics": 1,
        "predict": 2,
        "supervoxels": 2,
        "graph": 2,
        "partition": 1,
        "segment_contacts": 2,
        "segment_objects": 1,
        "segment": 2,
        "measure": 2,
        "track_overlaps": 2,
        "track_detections": 1,
        "track_links": 1,
        "track_lineages": 1,
        "track": 2,
        "evaluate": 2,
        "evaluate_track_overlaps": 2,
        "seams": 2,
        **MERGING,
    }


def test_only_one_time_point_changed(finished, cells, snakemake):
    cells.write(finished / "files" / "truth_t1.tif", cells.truth[2])
    assert snakemake(finished, "-n").jobs == {
        "evaluate": 2,
        "evaluate_scores": 1,
        "evaluate_track_overlaps": 2,
        "evaluate_tracks": 1,
        "seams": 2,
        "seams_summary": 1,
        **REPORT,
    }


def test_the_report_of_snakemake(finished, snakemake):
    done = snakemake(finished, "--report", "report.zip")
    assert done.status == 0, done.text
    assert (finished / "report.zip").stat().st_size > 10_000
