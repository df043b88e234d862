"""The workflow on a real SLURM of two nodes on this machine, started for these tests by ``scripts/local_slurm.py``.

They are skipped, with the reason, where SLURM is not installed or nobody is root.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bigseg.config import load_config
from bigseg.local import run_here
from bigseg.planning.workflow import Workflow

pytestmark = [pytest.mark.workflow, pytest.mark.slow, pytest.mark.xdist_group("slurm")]

SLOW = """\
#!{python}
import time
from bigseg.cli import main
from bigseg.stages.supervoxels.blocks import SupervoxelsBlocks

process = SupervoxelsBlocks.process


def slowly(self, piece):
    time.sleep({seconds})
    return process(self, piece)


SupervoxelsBlocks.process = slowly
main()
"""
"""A ``bigseg`` whose blocks of stage supervoxels take long enough for something to happen to both jobs meanwhile."""

REPOSITORY = Path(__file__).resolve().parents[2]
PROFILE = REPOSITORY / "profiles" / "slurm"
LEDGERS = ("blocks-000000-000007", "blocks-000008-000015")
"""Two jobs of stage supervoxels, of eight blocks each."""
CONFIG = {
    "samples": {"cells": {"input": {"path": "files/image.tif"}}},
    "blocks": {"block_shape": [16, 64, 64]},
    "execution": {"batches": 2, "threads": 1},
}


def load_script() -> ModuleType:
    """The script, which is no part of a package."""
    specification = importlib.util.spec_from_file_location("local_slurm", REPOSITORY / "scripts" / "local_slurm.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["local_slurm"] = module
    specification.loader.exec_module(module)
    return module


local_slurm = load_script()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Two nodes of one core, so that two jobs run on two nodes. The folder is short: MUNGE's socket is in it."""
    try:
        local_slurm.need_slurm()
    except local_slurm.ClusterError as error:
        pytest.skip(f"the workflow is not run on a real SLURM: {error}")
    folder = Path(tempfile.mkdtemp(prefix="bigseg-slurm-", dir="/tmp"))
    folder.chmod(0o755)
    started = local_slurm.Cluster(folder)
    try:
        started.start(nodes=2, cpus=1, memory_mb=8000)
        yield started
    finally:
        started.stop()
    assert started.processes() == [], "processes are left behind"
    shutil.rmtree(folder)


@dataclass(frozen=True)
class Runner:
    """Starts ``snakemake --profile slurm`` on the cluster."""

    cluster: Any
    environment: dict[str, str]

    def slowed(self, folder: Path, seconds: float) -> Runner:
        """The same with jobs whose blocks take that much longer; ``folder`` is a new one, for their ``bigseg``."""
        folder.mkdir()
        script = folder / "bigseg"
        script.write_text(SLOW.format(python=sys.executable, seconds=seconds))
        script.chmod(0o755)
        return replace(self, environment={**self.environment, "PATH": f"{folder}:{self.environment['PATH']}"})

    def start(self, folder: Path, *arguments: str, snakefile: Path = REPOSITORY / "Snakefile") -> subprocess.Popen[str]:
        """Start it in a folder; what it prints goes to ``snakemake.log`` there."""
        environment = {**self.environment, "PATH": f"{self.cluster.clients}:{self.environment['PATH']}"}
        command = ["snakemake", "--snakefile", str(snakefile), "--profile", str(PROFILE)]
        with (folder / "snakemake.log").open("w") as log:
            return subprocess.Popen(
                [*command, "--slurm-init-seconds-before-status-checks", "4", *arguments],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
                # A job in the background, as these tests may be, and all that it starts pass over Ctrl-C.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )

    def run(self, folder: Path, *arguments: str, **keywords: Any) -> tuple[int, str]:
        """Run it to its end; exit status, and what it printed."""
        process = self.start(folder, *arguments, **keywords)
        return self.end(process, folder)

    @staticmethod
    def end(process: subprocess.Popen[str], folder: Path) -> tuple[int, str]:
        """Wait for the end."""
        try:
            status = process.wait(timeout=1800)
        finally:
            process.kill()
        return status, (folder / "snakemake.log").read_text()


SQUEUE = ("--slurm-status-command", "squeue")


@pytest.fixture(scope="session")
def slurm(cluster, environment) -> Runner:
    return Runner(cluster, environment)


@pytest.fixture(scope="session")
def whole(cells, cluster, tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A run in this process: the folder as it is before the supervoxels, and the markers of these."""
    folder, after = tmp_path_factory.mktemp("slurm-whole"), tmp_path_factory.mktemp("slurm-after") / "run"
    (folder / "files").mkdir()
    cells.write(folder / "files" / "image.tif", np.tile(cells.image[0], (2, 4, 2))[:32])
    (folder / "config.yaml").write_text(json.dumps(CONFIG))
    run_in(folder, ("ingest", "predict"))
    shutil.copytree(folder, after)
    run_in(after, ("supervoxels",))
    return folder, markers(after)


def run_in(folder: Path, stages: tuple[str, ...] | None = None) -> None:
    """Run stages in this process, in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        run_here(Workflow(json.loads((folder / "config.yaml").read_text()), "config.yaml"), stages)
    finally:
        os.chdir(before)


def markers(folder: Path, stage: str = "supervoxels") -> dict[str, str]:
    """Content of the markers of a stage by their names."""
    root = folder / "work" / "cells" / "status" / stage
    return {path.name: path.read_text() for path in sorted(root.rglob("*.json"))}


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    """A folder in which only the supervoxels are to be made: two jobs."""
    copy = tmp_path / "run"
    shutil.copytree(whole[0], copy)
    return copy


def records(folder: Path, job: str) -> int:
    """Number of blocks that the ledger of a job records as done."""
    try:
        lines = (folder / "work/cells/ledger/supervoxels/t0000" / f"{job}.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return sum('"digest":""' not in line for line in lines if line.endswith("}"))


def log(folder: Path, job: str) -> str:
    """What a job told."""
    return (folder / "work/cells/logs/supervoxels/t0000" / f"{job}.log").read_text()


def counts(folder: Path, job: str) -> tuple[int, int]:
    """Blocks that the last run of a job made, and that it found made."""
    found = re.search(r"^supervoxels.blocks: (\d+) done, (\d+) unchanged$", log(folder, job), re.MULTILINE)
    assert found, log(folder, job)
    return int(found[1]), int(found[2])


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited too long until {what}"
        time.sleep(0.01)


def start_and_wait(slurm: Runner, folder: Path) -> subprocess.Popen[str]:
    """Start the run; both jobs have finished a block and go on with the next ones, for seconds."""
    process = slurm.slowed(folder.parent / "slow", 2).start(folder, "--until", "supervoxels", *SQUEUE)

    def ready() -> bool:
        assert process.poll() is None, (folder / "snakemake.log").read_text()
        return all(records(folder, job) for job in LEDGERS)

    wait_for(ready, "both jobs are at work")
    return process


def jobs_of(slurm: Runner, folder: Path) -> dict[str, list[tuple[str, str, str]]]:
    """For each job of the workflow (the name of its ledger) its jobs in SLURM: (id, memory, state)."""
    submitted = re.findall(r"submitted with SLURM jobid (\d+)", (folder / "snakemake.log").read_text())
    listed = slurm.cluster.client("squeue", "--states=all", "--noheader", "--sort=i", "--format=%i|%m|%T|%k")
    found: dict[str, list[tuple[str, str, str]]] = {job: [] for job in LEDGERS}
    for number, memory, state, comment in (line.split("|") for line in listed.splitlines()):
        (name,) = (job for job in LEDGERS if job.removeprefix("blocks-") in comment) if number in submitted else ("",)
        if name:
            found[name].append((number, memory, state))
    return found


def test_where_slurm_cannot_run_the_reason_is_told(monkeypatch):
    missing = ("munged", "slurmctld")
    monkeypatch.setattr(local_slurm, "find", lambda program: None if program in missing else f"/usr/bin/{program}")
    with pytest.raises(local_slurm.ClusterError, match="munged, slurmctld not found: install SLURM and MUNGE"):
        local_slurm.need_slurm()
    monkeypatch.setattr(local_slurm, "find", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(local_slurm.ClusterError, match="need root"):
        local_slurm.need_slurm()


def test_where_there_is_no_accounting_the_user_is_told(slurm, folder):
    """Before a job is submitted; Snakemake's executor would wait for ever."""
    status, text = slurm.run(folder, "--until", "supervoxels")
    assert status != 0
    assert "--slurm-status-command squeue" in text
    assert "Traceback" not in text
    assert "has been submitted" not in text


def test_a_job_killed_for_its_memory_comes_back_with_twice_as_much(slurm, folder, whole):
    """The rules suppose too little for Snakemake and Python themselves, as they may of a noisy volume."""
    snakefile = folder / "Snakefile"
    rules = (REPOSITORY / "Snakefile").read_text().replace('"workflow/', f'"{REPOSITORY}/workflow/')
    less = "resources.SNAKEMAKE_MB, resources._BASE_MB = 0, 150"
    snakefile.write_text(f"from bigseg.planning import resources\n\n{less}\n\n\n{rules}")
    status, text = slurm.run(folder, "--until", "supervoxels", *SQUEUE, snakefile=snakefile)
    assert status == 0, text
    for job, attempts in jobs_of(slurm, folder).items():
        memory = [int(memory.removesuffix("M")) for _, memory, _ in attempts]
        assert memory[0] < 200, "this tests nothing"
        assert memory == [memory[0] << attempt for attempt in range(len(attempts))]
        assert [state for _, _, state in attempts[:-1]] == ["FAILED"] * (len(attempts) - 1)
        assert len(attempts) > 1, "this tests nothing"
        assert attempts[-1][-1] == "COMPLETED"
        (killed,) = (folder / ".snakemake" / "slurm_logs").rglob(f"{attempts[0][0]}.log")
        assert "exceeded memory limit" in killed.read_text()
        assert sum(counts(folder, job)) == 8
    assert markers(folder) == whole[1]


def test_a_killed_node_costs_only_its_jobs(slurm, folder, whole):
    """Its daemon and its jobs die at once, in the middle of a batch; SLURM notices after ten seconds."""
    process = start_and_wait(slurm, folder)
    nodes = dict(line.split() for line in slurm.cluster.client("squeue", "--noheader", "--format=%N %i").splitlines())
    slurm.cluster.kill_node("n1")
    try:
        kept = {job: records(folder, job) for job in LEDGERS}
        status, text = slurm.end(process, folder)
        assert slurm.cluster.states()["n1"].startswith("down")
    finally:
        slurm.cluster.start_node("n1")
        local_slurm.wait_for(lambda: slurm.cluster.states() == {"n1": "idle", "n2": "idle"}, 60, "n1 is not back")
    assert status == 0, text
    assert set(nodes) == {"n1", "n2"}, "this tests nothing"
    for job, runs in jobs_of(slurm, folder).items():
        done, unchanged = counts(folder, job)
        assert done + unchanged == 8
        ((number, _, state),) = runs
        assert state == "COMPLETED"
        details = slurm.cluster.client("scontrol", "show", "job", number)
        if number == nodes["n1"]:
            assert kept[job] < 8, "the node was killed too late to test anything"
            assert unchanged == kept[job]
            assert " Restarts=1 " in details
        else:
            assert unchanged == 0
            assert " Restarts=0 " in details
    assert markers(folder) == whole[1]


def test_cancelled_jobs_end_after_the_block_in_hand_and_a_restart_resumes(slurm, folder, whole):
    """One by ``scancel``, which is also how SLURM preempts: SIGTERM first; the other by Ctrl-C of Snakemake."""
    process = start_and_wait(slurm, folder)
    first, second = LEDGERS
    ((number, _, _),) = jobs_of(slurm, folder)[first]
    slurm.cluster.client("scancel", number)
    wait_for(lambda: "stopped after" in log(folder, first), "the job of scancel stops")
    os.killpg(process.pid, signal.SIGINT)
    status, _ = slurm.end(process, folder)
    assert status != 0
    local_slurm.wait_for(lambda: not slurm.cluster.client("squeue", "--noheader"), 60, "jobs are left behind")
    kept = {job: records(folder, job) for job in LEDGERS}
    assert markers(folder) == {}
    for job in (first, second):
        assert 0 < kept[job] < 8, "the job was stopped too late to test anything"
        assert f"supervoxels.blocks: stopped after {kept[job]} of 8 blocks; run again to go on" in log(folder, job)
        assert "Traceback" not in log(folder, job)

    status, text = slurm.run(folder, "--until", "supervoxels", *SQUEUE)
    assert status == 0, text
    assert {job: len(runs) for job, runs in jobs_of(slurm, folder).items()} == {first: 1, second: 1}
    assert {job: counts(folder, job) for job in LEDGERS} == {job: (8 - n, n) for job, n in kept.items()}
    assert markers(folder) == whole[1]


def test_the_demo(slurm, tmp_path, monkeypatch):
    """All stages of the demo's still tissue, of one small time point in one batch: a job on SLURM costs seconds."""
    folder, here = tmp_path / "slurm", tmp_path / "here"
    config = load_config(REPOSITORY / "config" / "demo.yaml").model_dump(mode="json")
    del config["samples"]["demo_movie"]
    config["samples"]["demo"]["times"] = [0]
    config["blocks"]["block_shape"] = [16, 48, 48]
    config["execution"].update(batches=1, threads=1)
    for place in (folder, here):
        place.mkdir()
        script = [sys.executable, str(REPOSITORY / "scripts" / "make_demo_data.py"), "data/demo"]
        subprocess.run([*script, "--shape", "32", "96", "96"], cwd=place, check=True, capture_output=True)
        (place / "config.yaml").write_text(json.dumps(config))
    # After a look that comes too early the next one waits for twenty seconds, and twelve jobs wait for each other.
    status, text = slurm.run(folder, *SQUEUE, "--slurm-init-seconds-before-status-checks", "10")
    assert status == 0, text
    assert (folder / "results" / "demo" / "report.html").is_file()
    monkeypatch.chdir(here)
    run_here(Workflow(config, "config.yaml"))

    def status_files(place: Path) -> dict[str, str]:
        root = place / "work" / "demo" / "status"
        return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*.json"))}

    assert status_files(folder) == status_files(here)


def test_a_folder_of_somebody_else_is_left_alone(cluster, tmp_path):
    (tmp_path / "slurm.conf").write_text("ClusterName=real\n")
    with pytest.raises(local_slurm.ClusterError, match="is not empty"):
        local_slurm.Cluster(tmp_path).start(1, 1, 1000)
    with pytest.raises(local_slurm.ClusterError, match="runs here already"):
        cluster.start(1, 1, 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["slurm.conf"]


def test_commands_by_hand(cluster):
    """``status`` of a cluster, and of none."""
    script = [sys.executable, str(REPOSITORY / "scripts" / "local_slurm.py")]
    told = subprocess.run([*script, "status", str(cluster.folder)], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "n2" in told.stdout
    for command in (["status"], ["kill-node", "n1"]):
        arguments = [command[0], str(cluster.folder / "log"), *command[1:]]
        told = subprocess.run([*script, *arguments], capture_output=True, text=True)
        assert told.returncode == 1
        assert told.stderr.startswith("local_slurm: ")
        assert "Traceback" not in told.stderr
