"""A finished run, made once, of which tests change copies."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from workflow_checks import configuration, prepare


@pytest.fixture(scope="session")
def first_run(cells, snakemake, tmp_path_factory) -> Path:
    """A finished run of two time points; made once, whatever the number of test processes."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root
    folder = root / "first-run"
    with (root / "first-run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            prepare(folder, cells, configuration(), 2)
            done = snakemake(folder)
            assert done.status == 0, done.text
            (folder / "complete").write_text(done.text)
    return folder


@pytest.fixture
def finished(first_run, tmp_path) -> Path:
    """A copy of the finished run; Snakemake's memory of it comes along."""
    folder = tmp_path / "run"
    shutil.copytree(first_run, folder)
    return folder
