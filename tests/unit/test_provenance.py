"""Where a result comes from, and whether it can be made again from that."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from network_checks import package
from pipeline_checks import NAME, Settings, changed, done, labels, layout, run, scores, settings
from typer.testing import CliRunner

from bigseg import __version__
from bigseg.cli import app
from bigseg.config import load_config
from bigseg.errors import UserError
from bigseg.networks.model import load_model
from bigseg.planning import models as planned
from bigseg.planning.rerun import write_config_of
from bigseg.stages.report import ReportPage
from bigseg.stages.step import Outcome

REPOSITORY = Path(__file__).resolve().parents[2]


SAMPLE = {"input": {"path": "data/image_t0.tif"}, "truth": {"path": "data/truth_t0.tif"}}
CONFIG = settings(
    Path(), SAMPLE, blocks={"block_shape": [24, 32, 32]}, partition={"lifted": {"distance": 3}, "beta": 0.45}
)
"""Paths are relative, so that a run may be copied."""


def nothing(step, piece):
    for file in step.files:
        step.layout.result_folder.joinpath(file).touch()
    return Outcome("page")


@pytest.fixture(autouse=True, scope="module")
def pages() -> Iterator[None]:
    """The page takes longer than all the rest on a small volume, and says nothing here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReportPage, "process", nothing)
        yield


@pytest.fixture(scope="module")
def first(cells, tmp_path_factory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("provenance") / "first"
    (folder / "data").mkdir(parents=True)
    for kind in ("image", "truth"):
        shutil.copy(cells.folder / f"{kind}_t0.tif", folder / "data")
        os.utime(folder / "data" / f"{kind}_t0.tif", (1, 1))
    with contextlib.chdir(folder):
        run(CONFIG, None)
    return folder


@pytest.fixture
def here(first, tmp_path, monkeypatch) -> Settings:
    """A copy of the finished run, in the working directory."""
    shutil.copytree(first, tmp_path / "first")
    monkeypatch.chdir(tmp_path / "first")
    return CONFIG


def told(config: Settings) -> dict:
    return json.loads(layout(config).provenance.read_text())


def results(content: dict) -> dict:
    """Digests of all steps but the metadata, which name the path of the input."""
    return {name: step["digests"] for name, step in content["steps"].items() if name != "pyramid.metadata"}


def test_a_rerun_from_it_gives_the_same_digests(here, tmp_path, monkeypatch):
    first, volume, scored = told(here), labels(here), scores(here)
    source = layout(here).provenance.resolve()
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(app, ["init", "again", "--from", str(source)])
    assert answer.exit_code == 0, answer.output
    assert "changed since" not in answer.output
    monkeypatch.chdir("again")
    config = yaml.safe_load(Path("config.yaml").read_text())
    assert load_config(Path("config.yaml")).partition.lifted.distance == 3
    run(config, None)
    assert results(told(config)) == results(first)
    assert (labels(config) == volume).all()
    assert scores(config) == scored


def test_it_tells_what_took_part(here):
    content = told(here)
    assert content["config"]["samples"][NAME]["input"]["path"] == "data/image_t0.tif"
    assert content["config"]["partition"]["beta"] == 0.45
    assert content["config"]["execution"]["threads"] == 2
    assert Path(content["folder"]).name == "first"
    assert content["inputs"]["input"]["files"] == ["data/image_t0.tif"]
    assert content["inputs"]["truth"]["bytes"] == Path("data/truth_t0.tif").stat().st_size
    environment = content["environment"]
    assert environment["bigseg"] == __version__
    for name in ("numpy", "snakemake", "bioimage-cpp"):
        assert environment["packages"][name] == metadata.version(name)
    commit = subprocess.run(["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"], capture_output=True, text=True)
    assert (environment["git"] or {}).get("commit") == (commit.stdout.strip() or None)
    assert content["steps"]["segment.blocks"]["digests"].keys() == {"t0000"}
    assert content["steps"]["measure.table"]["digests"].keys() == {"all"}
    assert content["model"] is None
    marker = layout(here).marker("report", None, "provenance").read_text()
    assert content["at"][:10] not in marker, "markers hold no times"


def test_history_tells_what_was_made_when(here):
    changed_run = changed(here, segment={"minimum_object_size": 2000})
    assert "report.provenance" in done(changed_run, None)
    content = told(changed_run)
    first, second = content["history"]
    assert set(first["steps"]) == set(content["steps"])
    assert "segment.blocks" in second["steps"]
    assert not {"ingest.blocks", "predict.blocks", "supervoxels.blocks", "graph.blocks"} & set(second["steps"])
    assert second["environment"] == content["environment"]


def test_how_the_work_is_run_writes_nothing_and_what_is_gone_or_altered_is_written_again(here):
    assert done(changed(here, execution={"threads": 1, "batches": 3}), None) == {}
    path = layout(here).provenance
    content = told(here)
    path.unlink()
    assert done(here, None) == {"report.provenance": 1}
    assert told(here)["history"] == content["history"]
    path.write_text(json.dumps({**content, "steps": {}}))
    assert done(here, None) == {"report.provenance": 1}
    assert results(told(here)) == results(content)


def test_the_digest_of_a_model_is_told_and_its_path_found_again(here, tmp_path, monkeypatch):
    monkeypatch.setattr(planned, "_describe", lambda spec: load_model(spec).description)
    package(Path("model"))
    config = changed(here, predict={"method": "network", "model": "model"})
    run(config, None)
    assert told(config)["model"] == load_model(planned.ModelSpec(path="model", settings=None)).description.digest
    write_config_of(tmp_path / "again", layout(config).provenance, force=False)
    assert load_config(tmp_path / "again" / "config.yaml").predict.model == str(Path("model").resolve())


def test_a_model_that_comes_with_bigseg_keeps_its_name(here, tmp_path):
    """Also where a folder of that name was beside the configuration: that one would be ``./membrane``."""
    content = told(here)
    content["folder"] = str(Path.cwd())
    content["config"]["predict"].update(method="network", model="membrane")
    Path("membrane").mkdir()
    Path("told.json").write_text(json.dumps(content))
    write_config_of(tmp_path / "again", Path("told.json"), force=False)
    assert load_config(tmp_path / "again" / "config.yaml").predict.model == "membrane"


def test_what_is_no_longer_as_it_was_is_told(here, tmp_path):
    path = layout(here).provenance
    content = told(here)
    content["environment"]["packages"]["numpy"] = "0.1"
    content["environment"]["git"] = {"commit": "abc", "modified": True}
    content["folder"] = str(Path.cwd())  # the run was copied; paths count from where it was made
    path.write_text(json.dumps(content))
    Path("data/image_t0.tif").touch()
    lines = "\n".join(write_config_of(tmp_path / "again", path, force=False))
    for word in ("changed since: input", "numpy was 0.1", "commit abc", "not committed"):
        assert word in lines
    assert "changed since: truth" not in lines


@pytest.mark.parametrize(
    ("content", "problem"),
    [("{", "no provenance"), ("[]", "no provenance"), ('{"format": 99}', "format is 99"), ("{}", "no provenance")],
)
def test_another_file_is_refused_and_nothing_written(tmp_path, content, problem):
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(UserError, match=problem):
        write_config_of(tmp_path / "again", tmp_path / "p.json", force=False)
    with pytest.raises(UserError, match="cannot be read"):
        write_config_of(tmp_path / "again", tmp_path / "none.json", force=False)
    assert not (tmp_path / "again").exists()


def test_options_that_exclude_each_other(tmp_path):
    for options in ([], ["--from", "a.json", "--input", "b.tif"]):
        answer = CliRunner().invoke(app, ["init", str(tmp_path / "x"), *options])
        assert isinstance(answer.exception, UserError)
        assert not (tmp_path / "x").exists()
