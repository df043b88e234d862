"""What became of the last attempt at a job, and how ``bigseg status`` tells."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest
from pipeline_checks import changed, layout, run, settings
from typer.testing import CliRunner

from bigseg.cli import app
from bigseg.errors import UserError
from bigseg.planning.states import job_states
from bigseg.planning.workflow import Workflow
from bigseg.resume.attempts import attempt, read_attempt


class AskedToStopError(Exception):
    pass


def ended_with(path, error):
    with attempt(path, AskedToStopError):
        raise error


def test_a_job_that_ends_well_leaves_nothing(tmp_path):
    path = tmp_path / "deep" / "job.json"
    with attempt(path, AskedToStopError):
        assert read_attempt(path) == ("running", "")
    assert not path.exists()
    assert read_attempt(path) is None


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UserError("it is full", "empty it"), ("failed", str(UserError("it is full", "empty it")))),
        (ZeroDivisionError(), ("failed", "ZeroDivisionError")),
        (KeyboardInterrupt(), ("failed", "KeyboardInterrupt")),
        (AskedToStopError("asked"), ("stopped", "")),
    ],
)
def test_how_a_job_ended_is_told_until_it_ends_well(tmp_path, error, told):
    path = tmp_path / "job.json"
    with pytest.raises(type(error)):
        ended_with(path, error)
    assert read_attempt(path) == told
    with attempt(path, AskedToStopError):
        assert read_attempt(path) == ("running", "")
    assert read_attempt(path) is None


def test_a_killed_job_is_known_by_the_lock_that_it_no_longer_holds(tmp_path):
    path = tmp_path / "job.json"
    code = """
        import sys, time
        from pathlib import Path
        from bigseg.resume.attempts import attempt
        with attempt(Path(sys.argv[1]), KeyError):
            print("at work", flush=True)
            time.sleep(100)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "at work\n"
        assert read_attempt(path) == ("running", "")
        job.kill()
    assert read_attempt(path) == ("killed", "")


@pytest.mark.parametrize("content", ["", "[]", '{"state": "elated", "message": ""}', '{"state": "failed"}', "\0"])
def test_a_damaged_file_tells_nothing(tmp_path, content):
    path = tmp_path / "job.json"
    path.write_text(content)
    assert read_attempt(path) is None


def test_status_tells_of_failed_jobs_until_they_are_done(cells, tmp_path):
    config = settings(
        tmp_path,
        {"input": {"path": str(cells.folder / "image_t0.tif")}},
        blocks={"block_shape": [24, 32, 32]},
        execution={"batches": 2},
    )
    broken = changed(config, predict={"percentiles": [50.0, 50.0000001]})
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(broken))
    run(broken, ("ingest",))
    workflow = Workflow(broken, "test")
    arguments = ["run", "predict.blocks", "--sample", "a", "--time", "t0000", "--blocks", "000002-000003"]
    arguments += ["--results", broken["results"], "--work", broken["work"]]
    failed = CliRunner().invoke(app, [*arguments, "--parameters", workflow.parameters("predict.blocks", "a")])
    assert isinstance(failed.exception, UserError)
    states = {(job.step, job.batch): job for job in job_states(workflow)}
    assert states["predict.blocks", "000002-000003"].state == "failed"
    assert "predict.percentiles" in states["predict.blocks", "000002-000003"].message
    assert states["predict.blocks", "000000-000001"].state == "to_do"
    assert states["ingest.statistics", None].state == "done"

    shown = CliRunner().invoke(app, ["status", "--config", str(path)]).output
    assert "predict      t0000 0/2 (1 failed)" in shown
    assert "  failed: predict.blocks, time point 0, blocks 000002-000003: predict.blocks, time point 0, block" in shown
    counts = json.loads(CliRunner().invoke(app, ["status", "--config", str(path), "--json"]).output)["a"]
    assert counts["predict"]["t0000"] == {
        "done": 0,
        "cleaned": 0,
        "running": 0,
        "failed": 1,
        "to_do": 1,
        "jobs": 2,
    }

    path.write_text(json.dumps(config))
    arguments += ["--parameters", Workflow(config, "test").parameters("predict.blocks", "a")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert not any((layout(config).folder / "attempts").rglob("*.json"))
    counts = json.loads(CliRunner().invoke(app, ["status", "--config", str(path), "--json"]).output)["a"]
    assert counts["predict"]["t0000"] == {"done": 1, "cleaned": 0, "running": 0, "failed": 0, "to_do": 1, "jobs": 2}
