"""Runs that are killed at random moments, and what it costs to go on.

Each of many small runs loses its whole process tree to SIGKILL at a random moment, is unlocked and resumed; results and
markers are compared with those of an undisturbed run, and the ledgers tell which blocks were done again. A larger
volume then shows how much longer an interrupted run and its resume take together, `snakemake --unlock` included, in
seconds and in processor time, which other work on the machine disturbs less. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from _interrupted import TARGETS, copy, count, digests, finish, kill_tree, prepare, progress, start, unlock, wait_until

from bigseg.geometry.box import Triple

SMALL: tuple[Triple, Triple] = ((24, 64, 64), (8, 16, 16))
LARGE: tuple[Triple, Triple] = ((256, 512, 1024), (64, 128, 128))
PATIENCE = 3600.0


@dataclass(frozen=True)
class Outcome:
    """One run that was killed and resumed; numbers of blocks, those of all steps added up."""

    finished_before: int
    in_hand: int
    done_again: int
    finished_and_done_again: int
    identical: bool


def kill_one(whole: Path, folder: Path, moment: int, delay: float, expected: dict[str, str]) -> Outcome:
    """Kill a run ``delay`` seconds after the ledgers have ``moment`` lines, and resume it."""
    copy(whole, folder)
    process = start(folder, *TARGETS)
    going = wait_until(process, lambda: progress(folder) >= moment, PATIENCE)
    time.sleep(delay)
    if not going or process.poll() is not None:
        raise SystemExit(f"the run ended before it was killed: {(folder / 'snakemake.log').read_text()[-2000:]}")
    killed = kill_tree(process)
    before = count(folder)
    unlock(folder)
    finish(folder, *TARGETS)
    after = count(folder)
    identical = digests(folder) == expected
    shutil.rmtree(folder)
    outcome = Outcome(sum(before.finished.values()), killed.in_hand, after.redone, after.finished_again, identical)
    print(outcome, file=sys.stderr, flush=True)
    return outcome


def kill_many(root: Path, kills: int, at_once: int, seed: int) -> dict[str, Any]:
    """Kill and resume small runs."""
    prepare(root / "whole", *SMALL, partition={"levels": 1}, execution={"batches": 1, "threads": 2})
    finish(root / "whole", *TARGETS)
    expected, lines, blocks = digests(root / "whole"), progress(root / "whole"), len(count(root / "whole").begun)
    draw = random.Random(seed)  # noqa: S311
    moments = [(draw.randrange(lines), draw.uniform(0, 1)) for _ in range(kills)]  # a second: also between two jobs
    with ThreadPoolExecutor(at_once) as pool:
        tasks = [
            pool.submit(kill_one, root / "whole", root / f"killed{number}", moment, delay, expected)
            for number, (moment, delay) in enumerate(moments)
        ]
        outcomes = [task.result() for task in tasks]
    print(f"{kills} kills; a run has {blocks} blocks in all steps")
    print("| finished before the kill | in hand, at most | done again | finished and done again | results |")
    print("|---|---|---|---|---|")
    for found in sorted(outcomes, key=lambda found: found.finished_before):
        *numbers, identical = asdict(found).values()
        print("| " + " | ".join(map(str, numbers)) + f" | {'identical' if identical else 'DIFFERENT'} |")
    return {
        "kills": kills,
        "digests_identical": all(found.identical for found in outcomes),
        "blocks": blocks,
        "blocks_redone_max": max(found.done_again for found in outcomes),
        "blocks_in_flight": max(found.in_hand for found in outcomes),
        "never_more_than_in_flight": all(found.done_again <= found.in_hand for found in outcomes),
        "finished_blocks_redone": sum(found.finished_and_done_again for found in outcomes),
    }


def timed(folder: Path, moment: int | None) -> tuple[float, float]:
    """Seconds, and seconds of processor time, of a run that is killed once and resumed, or of one that is not."""
    began, used_before, used = time.perf_counter(), _children(), 0.0
    if moment is not None:
        process = start(folder)
        if not wait_until(process, partial(_reached, folder, moment), PATIENCE):
            raise SystemExit(f"the run ended before it was killed: {(folder / 'snakemake.log').read_text()[-2000:]}")
        waited = _children()
        used = kill_tree(process).cpu_seconds
        used_before += _children() - waited  # what the killed process had used is in its own figure already
        unlock(folder)
    finish(folder)
    return time.perf_counter() - began, used + _children() - used_before


def _reached(folder: Path, moment: int) -> bool:
    return progress(folder) >= moment


def _children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def time_pairs(root: Path, pairs: int, shape: Triple, block: Triple, seed: int) -> dict[str, Any]:
    """Time undisturbed runs and runs that are killed once, in turn."""
    draw = random.Random(seed)  # noqa: S311
    prepare(root / "data", shape, block, execution={"batches": 2, "threads": 1})
    rows: list[dict[str, float]] = []
    for _ in range(pairs):
        copy(root / "data", root / "whole")
        seconds, cpu = timed(root / "whole", None)
        lines = progress(root / "whole")
        shutil.rmtree(root / "whole")
        copy(root / "data", root / "killed")
        both = timed(root / "killed", draw.randrange(lines // 8, lines - lines // 8))
        shutil.rmtree(root / "killed")
        rows.append(
            {
                "seconds": seconds,
                "seconds_interrupted": both[0],
                "time_ratio": both[0] / seconds,
                "cpu_seconds": cpu,
                "cpu_seconds_interrupted": both[1],
                "cpu_ratio": both[1] / cpu,
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    print(f"{list(shape)} voxels in blocks of {list(block)}: medians of {pairs} runs without and with a kill")
    medians = {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]}
    for key, value in medians.items():
        print(f"  {key}: {value}")
    return medians


def main() -> None:
    """Kill, resume, time; print tables and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=2, help="Small runs that are killed at the same time.")
    parser.add_argument("--pairs", type=int, default=3, help="Large runs without and with a kill.")
    parser.add_argument("--shape", type=int, nargs=3, default=LARGE[0], help="Volume (z, y, x) of these.")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.kills:
            figures |= kill_many(Path(folder) / "small", arguments.kills, arguments.at_once, arguments.seed)
        if arguments.pairs:
            z, y, x = arguments.shape
            figures |= time_pairs(Path(folder) / "large", arguments.pairs, (z, y, x), LARGE[1], arguments.seed)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
