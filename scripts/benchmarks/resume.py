"""Runs that are killed at random moments, and what it costs to go on.

Each of many small runs loses its whole process tree to SIGKILL at a random moment, is unlocked and resumed; results and
markers are compared with those of an undisturbed run, and the ledgers tell which blocks were done again. A larger volume
then shows how much longer an interrupted run and its resume take together, `snakemake --unlock` included. The last line
is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from _interrupted import TARGETS, copy, count, digests, finish, kill_tree, prepare, progress, start, unlock, wait_until

from bigseg.geometry.box import Triple

SMALL: tuple[Triple, Triple] = ((24, 64, 64), (8, 16, 16))
LARGE: tuple[Triple, Triple] = ((256, 512, 512), (64, 128, 128))
PATIENCE = 1800.0


def kill_many(root: Path, kills: int, seed: int) -> dict[str, object]:
    """Kill and resume small runs."""
    sections = {"partition": {"levels": 1}, "execution": {"batches": 1, "threads": 2}}
    prepare(root / "whole", *SMALL, **sections)
    finish(root / "whole", *TARGETS)
    expected, lines = digests(root / "whole"), progress(root / "whole")
    blocks = len(count(root / "whole").begun)
    draw = random.Random(seed)
    rows: list[dict[str, int | bool]] = []
    while len(rows) < kills:
        folder = root / f"killed{len(rows)}"
        copy(root / "whole", folder)
        process, moment = start(folder, *TARGETS), draw.randrange(lines)
        going = wait_until(process, lambda folder=folder, moment=moment: progress(folder) >= moment, PATIENCE)
        time.sleep(draw.uniform(0, 1))  # also between two jobs
        if not going or process.poll() is not None:
            raise SystemExit("the run ended before it was killed; its log is in the message above")
        in_hand = kill_tree(process)
        before = count(folder)
        unlock(folder)
        finish(folder, *TARGETS)
        after = count(folder)
        rows.append(
            {
                "finished_before": sum(before.finished.values()),
                "in_hand": in_hand,
                "redone": after.redone,
                "finished_again": after.finished_again,
                "identical": digests(folder) == expected,
            }
        )
        shutil.rmtree(folder)
        print(f"kill {len(rows)}: {rows[-1]}", file=sys.stderr, flush=True)
    print(f"{kills} kills; a run has {blocks} blocks in all steps")
    print("| finished before the kill | in hand, at most | done again | finished and done again | results |")
    print("|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: row["finished_before"]):
        told = "identical" if row["identical"] else "DIFFERENT"
        print(f"| {row['finished_before']} | {row['in_hand']} | {row['redone']} | {row['finished_again']} | {told} |")
    return {
        "kills": kills,
        "digests_identical": all(row["identical"] for row in rows),
        "blocks": blocks,
        "blocks_redone_max": max(row["redone"] for row in rows),
        "blocks_in_flight": max(row["in_hand"] for row in rows),
        "never_more_than_in_flight": all(row["redone"] <= row["in_hand"] for row in rows),
        "finished_blocks_redone": sum(row["finished_again"] for row in rows),
    }


def time_pairs(root: Path, pairs: int, shape: Triple, block: Triple, seed: int) -> dict[str, object]:
    """Time undisturbed runs and runs that are killed once, in turn."""
    draw = random.Random(seed)
    sections = {"execution": {"batches": 2, "threads": 1}}
    whole, interrupted = [], []
    lines = 0
    prepare(root / "data", shape, block, **sections)
    for number in range(pairs):
        for kind in ("whole", "killed"):
            folder = root / f"{kind}{number}"
            copy(root / "data", folder)
            began = time.perf_counter()
            process = start(folder)
            if kind == "killed":
                moment = draw.randrange(lines // 8, lines - lines // 8)
                if not wait_until(process, lambda folder=folder, moment=moment: progress(folder) >= moment, PATIENCE):
                    raise SystemExit(f"the run ended before it was killed: {folder / 'snakemake.log'}")
                kill_tree(process)
                unlock(folder)
                process = start(folder)
            if process.wait():
                raise SystemExit((folder / "snakemake.log").read_text()[-4000:])
            seconds = time.perf_counter() - began
            (whole if kind == "whole" else interrupted).append(seconds)
            lines = lines or progress(folder)
            shutil.rmtree(folder)
            print(f"{kind}: {seconds:.1f} s", file=sys.stderr, flush=True)
    ratios = [b / a for a, b in zip(whole, interrupted, strict=True)]
    print(
        f"{list(shape)} voxels, blocks of {list(block)}: undisturbed {[round(s, 1) for s in whole]} s, interrupted ",
        end="",
    )
    print(f"and resumed {[round(s, 1) for s in interrupted]} s, ratios {[round(r, 3) for r in ratios]}")
    return {
        "seconds": round(statistics.median(whole), 1),
        "seconds_interrupted": round(statistics.median(interrupted), 1),
        "time_ratio": round(statistics.median(ratios), 3),
        "time_ratios": [round(ratio, 3) for ratio in ratios],
    }


def main() -> None:
    """Kill, resume, time; print tables and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=3, help="Large runs with and without a kill.")
    parser.add_argument("--shape", type=int, nargs=3, default=LARGE[0], help="Volume (z, y, x) of these.")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.kills:
            figures |= kill_many(Path(folder), arguments.kills, arguments.seed)
        if arguments.pairs:
            z, y, x = arguments.shape
            figures |= time_pairs(Path(folder), arguments.pairs, (z, y, x), LARGE[1], arguments.seed)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
