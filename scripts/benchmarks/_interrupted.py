"""Runs of the workflow that are killed: shared by the benchmark and the tests of resuming.

A run is a real ``snakemake`` in a folder of its own. What was done is counted from the ledgers, which tell when a block
was begun and when it was finished.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import tifffile

from bigseg.geometry.box import Box, Triple
from bigseg.kernels.synthetic.tissue import Tissue

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE = "cells"
TARGETS = ("--until", "pyramid_metadata", "measure_table", "evaluate_scores", "seams_summary")
"""All but the report: drawing its pictures would take longer than all the rest on a small volume."""
VOXEL_SIZE_UM = (0.5, 0.25, 0.25)


def prepare(folder: Path, shape: Triple, block_shape: Triple, **sections: dict[str, Any]) -> None:
    """Write a synthetic tissue (z, y, x) with its truth, and a configuration with relative paths."""
    folder.mkdir(parents=True)
    image, truth = Tissue(shape, voxel_size_um=VOXEL_SIZE_UM, outline=False).render(Box((0, 0, 0), shape))
    tifffile.imwrite(folder / "image.tif", image)
    tifffile.imwrite(folder / "truth.tif", truth.astype("uint16"))
    config = {
        "samples": {
            SAMPLE: {
                "input": {"path": "image.tif", "axes": "zyx", "voxel_size_um": list(VOXEL_SIZE_UM)},
                "truth": {"path": "truth.tif", "axes": "zyx"},
            }
        },
        "blocks": {"block_shape": list(block_shape)},
        **sections,
    }
    (folder / "config.yaml").write_text(json.dumps(config))


def copy(source: Path, folder: Path) -> None:
    """The same data and configuration in another folder."""
    folder.mkdir(parents=True)
    for name in ("image.tif", "truth.tif", "config.yaml"):
        shutil.copy2(source / name, folder)


def start(folder: Path, *arguments: str) -> psutil.Popen:
    """Start ``snakemake`` in a folder, in a session of its own; its messages go to ``snakemake.log`` there."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SNAKEMAKE_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "2"]
    with (folder / "snakemake.log").open("a") as log:
        process = psutil.Popen(
            [*command, *arguments],
            cwd=folder,
            env={**inherited, "PATH": path},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    atexit.register(lambda: process.is_running() and kill_tree(process))
    return process


def finish(folder: Path, *arguments: str) -> None:
    """Run ``snakemake`` to its end.

    Raises:
        RuntimeError: it failed.
    """
    if start(folder, *arguments).wait():
        raise RuntimeError(f"snakemake failed: {(folder / 'snakemake.log').read_text()[-4000:]}")


def unlock(folder: Path) -> None:
    """What a user does after a kill."""
    finish(folder, "--unlock")


@dataclass(frozen=True)
class Killed:
    """What was there when a run was killed.

    Attributes:
        in_hand: how many blocks can have been in hand: the threads of all jobs.
        cpu_seconds: processor time of all its processes until then.
    """

    in_hand: int
    cpu_seconds: float


def kill_tree(process: psutil.Popen) -> Killed:
    """End a process and all that it started with SIGKILL, at once."""
    family: list[psutil.Process] = []
    while found := [one for one in (process, *process.children(recursive=True)) if one not in family]:
        for member in found:  # all are stopped first, so that none sees another one die
            family.append(member)
            with suppress(psutil.NoSuchProcess):
                member.suspend()
    in_hand, seconds = 0, 0.0
    for member in family:
        with suppress(psutil.NoSuchProcess):
            command, used = member.cmdline(), member.cpu_times()
            seconds += used.user + used.system + used.children_user + used.children_system
            if "run" in command and any(Path(word).name == "bigseg" for word in command[:2]):
                in_hand += int(command[command.index("--threads") + 1])
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    psutil.wait_procs(family)
    return Killed(in_hand, seconds)


@dataclass(frozen=True)
class Counts:
    """How often each block, as (ledger's step and time point, number), was begun and was finished."""

    begun: Counter[tuple[str, int]]
    finished: Counter[tuple[str, int]]

    @property
    def redone(self) -> int:
        """Blocks that were begun again."""
        return sum(times - 1 for times in self.begun.values())

    @property
    def finished_again(self) -> int:
        """Blocks that were finished and yet done again."""
        return sum(times - 1 for times in self.finished.values())


def count(folder: Path) -> Counts:
    """What the ledgers of a run tell."""
    begun: Counter[tuple[str, int]] = Counter()
    finished: Counter[tuple[str, int]] = Counter()
    root = folder / "work" / SAMPLE / "ledger"
    for path in root.rglob("*.jsonl"):
        place = f"{path.parent.relative_to(root)}/{path.stem.split('-')[0]}"
        for line in path.read_text().splitlines():
            with suppress(ValueError):  # torn by a kill
                record = json.loads(line)
                (finished if record["key"] else begun)[place, record["piece"]] += 1
    return Counts(begun, finished)


def progress(folder: Path) -> int:
    """Lines in all ledgers."""
    return sum(path.read_bytes().count(b"\n") for path in (folder / "work" / SAMPLE / "ledger").rglob("*.jsonl"))


def wait_until(process: psutil.Popen, condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition holds; False if the process ended before.

    Raises:
        TimeoutError: it took too long.
    """
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            return False
        if time.monotonic() > end:
            raise TimeoutError(f"nothing came of it in {seconds:g} s")
        time.sleep(0.05)
    return True


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every result and of every marker."""
    found = {}
    for top in ("results", f"work/{SAMPLE}/status"):
        for path in sorted((folder / top).rglob("*")):
            if path.is_file():
                found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
