"""Runs that are killed or asked to stop, with real Snakemake: they go on where they were, with the same results."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bigseg.config import read_settings
from bigseg.local import run_here
from bigseg.planning.workflow import Workflow

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "scripts" / "benchmarks"))
from _interrupted import SAMPLE, copy, count, digests, kill_tree, prepare, progress, start, wait_until  # noqa: E402

pytestmark = pytest.mark.workflow

UNTIL = ("--until", "segment")
STAGES = ("ingest", "predict", "supervoxels", "graph", "partition", "segment")
SUPERVOXELS = "supervoxels/t0000/blocks"
BLOCKS = 16


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """An undisturbed run, in one process without Snakemake: results and markers are the same."""
    folder = tmp_path_factory.mktemp("kills") / "whole"
    prepare(folder, (16, 32, 64), (8, 16, 16), partition={"levels": 1}, execution={"batches": 1, "threads": 2})
    before = Path.cwd()
    os.chdir(folder)
    try:
        run_here(Workflow(configuration(folder), "config.yaml"), STAGES)
    finally:
        os.chdir(before)
    return folder


def configuration(folder: Path) -> dict:
    return dict(read_settings(folder / "config.yaml"))


def finished(folder: Path, place: str) -> int:
    return sum(times for (where, _), times in count(folder).finished.items() if where == place)


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_a_run_goes_on_where_it_was(seed, whole, tmp_path, snakemake):
    """Every process dies at once, as when a machine loses its power; at most the blocks in hand are done again."""
    draw = random.Random(seed)  # noqa: S311
    folder = tmp_path / "killed"
    copy(whole, folder)
    process, moment = start(folder, *UNTIL), draw.randrange(progress(whole) * 9 // 10)
    assert wait_until(process, lambda: progress(folder) >= moment, 600), (folder / "snakemake.log").read_text()
    time.sleep(draw.uniform(0, 0.2))
    killed = kill_tree(process)
    assert process.poll() == -signal.SIGKILL, "the run was killed too late to test anything"
    before = count(folder)
    assert len(before.begun) - len(before.finished) <= killed.in_hand

    locked = snakemake(folder, *UNTIL)
    if len(before.finished) < len(count(whole).finished):
        assert locked.status != 0
        assert "--unlock" in locked.text
    assert snakemake(folder, "--unlock").status == 0
    done = snakemake(folder, *UNTIL)
    assert done.status == 0, done.text
    after = count(folder)
    assert after.finished_again == 0
    assert after.redone <= killed.in_hand
    assert after.finished.keys() == count(whole).finished.keys()
    assert digests(folder) == digests(whole)


def stop(folder: Path, ask: Callable[..., None]) -> int:
    """Ask a run to stop in the middle of the supervoxels; its exit status."""
    process = start(folder, *UNTIL)
    assert wait_until(process, lambda: finished(folder, SUPERVOXELS) >= 2, 600), (folder / "snakemake.log").read_text()
    ask(process)
    return process.wait(timeout=300)


def ask_all(process) -> None:
    os.killpg(process.pid, signal.SIGTERM)


def ask_jobs(process) -> None:
    """As SLURM does before it takes a node away: the job is told, Snakemake runs elsewhere."""
    for child in process.children(recursive=True):
        if "run" in child.cmdline():
            child.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("ask", [ask_all, ask_jobs])
def test_asked_to_stop_a_run_ends_after_the_blocks_in_hand(ask, whole, tmp_path, snakemake):
    """The second run, when it has gone on to its end, is also what is asked for other batches."""
    folder = tmp_path / "stopped"
    copy(whole, folder)
    assert stop(folder, ask) not in (0, None)
    before = count(folder)
    assert before.begun == before.finished, "a block was left half done"
    assert 2 <= finished(folder, SUPERVOXELS) < BLOCKS, "this tests nothing"
    assert not list((folder / "work" / SAMPLE / "status" / "supervoxels").rglob("*.json"))
    log = (folder / "work" / SAMPLE / "logs" / SUPERVOXELS).with_name(f"blocks-000000-{BLOCKS - 1:06d}.log")
    assert "run again to go on" in log.read_text()

    done = snakemake(folder, *UNTIL)  # no lock is left
    assert done.status == 0, done.text
    after = count(folder)
    assert after.redone == after.finished_again == 0
    assert digests(folder) == digests(whole)
    if ask is ask_jobs:
        check_finished_steps_keep_their_batches(whole, folder, snakemake)


def check_finished_steps_keep_their_batches(whole: Path, folder: Path, snakemake: Callable[..., Any]) -> None:
    """Another number of batches, or of anything under `execution`, starts nothing; a change is run in the new ones."""
    before = digests(folder)
    other = {"batches": 7, "threads": 1, "device": "cpu", "network_memory_gb": 1.5, "compile": True}
    (folder / "config.yaml").write_text(json_with(folder, execution=other))
    planned = snakemake(folder, "-n", *UNTIL)
    assert planned.status == 0, planned.text
    assert planned.jobs == {}
    (folder / "config.yaml").write_text(json_with(folder, execution=other, segment={"minimum_object_size": 500}))
    again = snakemake(folder, *UNTIL)
    assert again.status == 0, again.text
    assert again.jobs == {"segment_contacts": 7, "segment_objects": 1, "segment": 7}
    (folder / "config.yaml").write_text((whole / "config.yaml").read_text())
    back = snakemake(folder, *UNTIL)
    assert back.status == 0, back.text
    assert back.jobs == {"segment_contacts": 1, "segment_objects": 1, "segment": 1}
    assert digests(folder) == before


def json_with(folder: Path, **sections: dict) -> str:
    return json.dumps({**configuration(folder), **sections})
