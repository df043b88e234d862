"""Runs that are made once for many tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pipeline_checks import BLOCKS, HERE, Settings, run, settings
from sweep_checks import UP_TO_GRAPH, write


@pytest.fixture(scope="session")
def single(cells) -> dict[str, Any]:
    """The first time point, with its truth."""
    return {
        "input": {"path": str(cells.folder / "image_t0.tif")},
        "truth": {"path": str(cells.folder / "truth_t0.tif")},
    }


@pytest.fixture(scope="session")
def first_run(single, tmp_path_factory) -> Settings:
    """A finished run with its report; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("first")
    config = settings(folder, single, blocks=BLOCKS, pyramid={"smallest": 32})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run({**config, **HERE}, None)
    return config


@pytest.fixture
def finished(first_run, tmp_path, monkeypatch) -> Settings:
    """A finished run of the test's own, in the working directory."""
    for key in ("results", "work"):
        shutil.copytree(first_run[key], tmp_path / key)
    monkeypatch.chdir(tmp_path)
    return {**first_run, **HERE}


@pytest.fixture(scope="session")
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
