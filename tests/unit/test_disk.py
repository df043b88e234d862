"""Disks that fill up or may not be written, and two jobs at once on the same blocks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_checks import Settings, digests, done, run, settings
from upkeep_checks import verified

from bigseg.errors import UserError
from bigseg.local import run_here
from bigseg.planning.workflow import Workflow

BLOCKS = {"block_shape": [24, 32, 32]}


@pytest.fixture(scope="module")
def reference(cells, tmp_path_factory) -> Settings:
    """A finished run on a disk with room."""
    folder = tmp_path_factory.mktemp("reference")
    config = settings(folder, {"input": {"path": str(cells.folder / "image_t0.tif")}}, blocks=BLOCKS)
    run(config)
    return config


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of its own, in memory."""
    path = tmp_path / "disk"
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)], capture_output=True)
    if made.returncode:
        pytest.skip("needs the right to mount a file system (root)")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def remount(path: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(path)], check=True)


def size_of(folder: Path) -> int:
    """Bytes in whole pages, as a tmpfs counts them."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def test_a_disk_that_fills_up_again_and_again(reference, small_disk):
    """Each time there is one clear error, nothing wrong remains, and more room lets the run go on where it was."""
    config = {**reference, "work": str(small_disk / "work"), "results": str(small_disk / "results")}
    needed = size_of(Path(reference["work"])) + size_of(Path(reference["results"]))
    shares = (0.1, 0.3, 0.5, 0.7)
    for share in shares:
        remount(small_disk, f"size={int(share * needed) // 1024}k")
        with pytest.raises(UserError) as error:
            run(config)
        assert "space" in str(error.value)
        assert "Traceback" not in str(error.value)
        remount(small_disk, "size=64m")  # looking needs no room, but a full disk makes no locks
        result = verified(config)
        assert result.findings == [], [(f.where, f.problem) for f in result.findings]
    assert digests(config).items() <= digests(reference).items(), "what is said to be done is right"
    assert done(config)
    assert digests(config) == digests(reference)
    assert done(config) == {}


def test_a_disk_that_may_not_be_written(reference, small_disk):
    config = {**reference, "work": str(small_disk / "work")}
    remount(small_disk, "size=64m,ro")
    with pytest.raises(UserError, match=r"work: .* cannot be written"):
        Workflow(config, "test")
    remount(small_disk, "rw")
    shutil.rmtree(small_disk / "work", ignore_errors=True)
    config["results"] = str(small_disk / "results")
    workflow = Workflow(config, "test")
    run(config, ("ingest",))
    remount(small_disk, "ro")  # in the middle of a run
    with pytest.raises(UserError, match="cannot be written"):
        run_here(workflow, ("predict",))
    remount(small_disk, "rw")
    assert "ingest.blocks" not in done(config)
    assert digests(config) == digests(reference)


def command(config: Settings, blocks: str) -> list[str]:
    """The job that makes the boundary map of some blocks."""
    workflow = Workflow(config, "test")
    where = ["--results", config["results"], "--work", config["work"], "--sample", "a"]
    parameters = workflow.parameters("predict.blocks", "a")
    call = "from bigseg.cli import main; main()"
    return [sys.executable, "-c", call, "run", "predict.blocks", "--parameters", parameters, *where,
            "--time", "t0000", "--blocks", blocks]  # fmt: skip


def test_two_jobs_at_once_on_the_same_blocks(reference, tmp_path, environment):
    """Also where their batches only overlap: each block is made once, and both end well."""
    config = {**reference, "work": str(tmp_path / "work"), "results": str(tmp_path / "results")}
    run(config, ("ingest",))
    batches = ("000000-000003", "000000-000003", "000002-000003")
    started = [
        subprocess.Popen(command(config, blocks), stderr=subprocess.PIPE, text=True, env=environment)
        for blocks in batches
    ]
    texts = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], texts
    made = [re.search(r"(\d+) done, (\d+) unchanged", text) for text in texts]
    assert sum(int(match[1]) for match in made if match) == 4, texts
    assert sum(int(match[2]) for match in made if match) == 6, texts
    ledgers = (tmp_path / "work" / "a" / "ledger" / "predict" / "t0000").glob("*.jsonl")
    records = [json.loads(line) for ledger in ledgers for line in ledger.read_text().splitlines() if line]
    assert sorted(record["piece"] for record in records if record["digest"]) == [0, 1, 2, 3]
    done(config)
    assert digests(config).items() >= digests(reference).items()
    assert not verified(config).findings


def test_who_waits_for_blocks_can_be_stopped(reference, tmp_path, environment):
    """By the signal of a scheduler, while another process holds one of the blocks."""
    config = {**reference, "work": str(tmp_path / "work"), "results": str(tmp_path / "results")}
    run(config, ("ingest",))
    lock = tmp_path / "work" / "a" / "locks" / "predict-t0000-blocks.lock"
    code = (
        "import sys; from pathlib import Path; from bigseg.resume.locks import pieces_locked\n"
        f"with pieces_locked(Path({str(lock)!r}), range(3, 4), bool):\n print('held', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    holder = subprocess.Popen([sys.executable, "-c", code], **pipes)
    assert holder.stdout.readline() == "held\n"
    free = subprocess.run(command(config, "000000-000002"), capture_output=True, text=True, env=environment)
    assert "3 done" in free.stderr, free.stderr
    waiting = subprocess.Popen(command(config, "000000-000003"), stderr=subprocess.PIPE, text=True, env=environment)
    assert "waiting for it" in waiting.stderr.readline()
    waiting.terminate()
    assert "run again to go on" in waiting.communicate()[1]
    assert waiting.returncode == 143
    waiting = subprocess.Popen(command(config, "000000-000003"), stderr=subprocess.PIPE, text=True, env=environment)
    assert "waiting for it" in waiting.stderr.readline()
    holder.communicate()
    assert "1 done, 3 unchanged" in waiting.communicate()[1]
    assert waiting.returncode == 0
