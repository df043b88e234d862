"""What runs again after a change: parameters, a region of the input, a time point. Exact means no more and no less.

A small synthetic tissue is run in this process; blocks that were made are those whose records in the ledgers are new.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from bigseg.geometry.box import Box, triple
from bigseg.geometry.grid import Grid
from bigseg.kernels.tissue import Tissue
from bigseg.local import run_here
from bigseg.planning.workflow import Workflow
from bigseg.resume.ledger import step_ledgers, youngest
from bigseg.stages import find_step
from bigseg.upkeep.invalidate import chosen_pieces
from bigseg.upkeep.jobs import Selection

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE = "s"
BLOCK = (32, 32, 32)
HALO = (8, 8, 8)
IN_BLOCKS = (
    "ingest.blocks",
    "predict.blocks",
    "supervoxels.blocks",
    "graph.blocks",
    "segment.contacts",
    "segment.blocks",
)
STAGES = ("ingest", "predict", "supervoxels", "graph", "partition", "segment", "pyramid", "measure", "seams")
"""All but the report, which is no matter of blocks."""

Piece = tuple[str, int | None, int]


def configuration(folder: Path, volume: Path) -> dict[str, Any]:
    """A configuration whose results lie in a folder."""
    return {
        "samples": {SAMPLE: {"input": {"path": str(volume), "axes": "tzyx", "voxel_size_um": [0.25] * 3}}},
        "results": str(folder / "results"),
        "work": str(folder / "work"),
        "blocks": {"block_shape": list(BLOCK)},
        "supervoxels": {"halo": list(HALO)},
        "pyramid": {"smallest": 32},
        "execution": {"batches": 8},
    }


def records(workflow: Workflow) -> dict[Piece, tuple[str, int]]:
    """Digest and time of the record of every piece."""
    found = {}
    layout = workflow.plans[SAMPLE].layout
    for name in workflow.steps(SAMPLE):
        kind = find_step(name)
        for when in workflow.plans[SAMPLE].times if kind.per_time else (None,):
            folder = layout.ledger(kind.stage, when, kind.unit(None)).parent
            for piece, record in youngest(step_ledgers(folder, kind.step)).items():
                found[name, when, piece] = (record.digest, record.at)
    return found


def new_pieces(before: dict[Piece, tuple[str, int]], after: dict[Piece, tuple[str, int]]) -> set[Piece]:
    """The pieces that were made in between."""
    return {piece for piece in after if before.get(piece) != after[piece]}


def needed_pieces(
    workflow: Workflow, edited: set[Piece], before: dict[Piece, tuple[str, int]], after: dict[Piece, tuple[str, int]]
) -> set[Piece]:
    """By brute force: of the steps in blocks, the pieces that need one whose output came out otherwise, and the edited.

    What a step reads beside the digests of others (the objects of its supervoxels) is held against the truth in the
    output: such a piece is needed if its own output changed.
    """
    changed = {piece for piece in after if piece in before and before[piece][0] != after[piece][0]}
    needed = set(edited)
    for name, when, piece in after:
        if name not in IN_BLOCKS:
            continue
        step = workflow.step(name, SAMPLE, when)
        reads = {(need.step, when, p) for need in step.needs(piece) if need.in_key for p in need.pieces}
        if reads & changed or (name, when, piece) in changed:
            needed.add((name, when, piece))
    return needed


def measure(folder: Path, size: int) -> dict[str, Any]:
    """All figures for volumes of size³ voxels."""
    tissue = Tissue((size,) * 3, voxel_size_um=(0.25,) * 3, seed=1, outline=False)
    volume = folder / "image.zarr"
    rendered = [tissue.render(Box((0, 0, 0), tissue.shape), t)[0] for t in range(3)]
    array = zarr.create_array(str(volume), shape=(2, *tissue.shape), chunks=(1, *BLOCK), dtype="uint8")
    for t in range(2):
        array[t] = rendered[t]

    def run(where: Path) -> tuple[Workflow, float]:
        workflow, started = Workflow(configuration(where, volume), "benchmark"), time.perf_counter()
        run_here(workflow, STAGES)
        return workflow, time.perf_counter() - started

    workflow, whole_seconds = run(folder)
    start = records(workflow)

    # Two voxels in the middle of a block change places, so that intensities are normalised as before.
    low = triple([b // 2 for b in BLOCK])
    box = Box(low, triple([b + 4 for b in low]))
    region = array[(slice(1, 2), *box.slices)]
    one, other = np.unravel_index(region.argmin(), region.shape), np.unravel_index(region.argmax(), region.shape)
    region[one], region[other] = region[other], region[one]
    array[(slice(1, 2), *box.slices)] = region
    roi = ",".join(f"{a}:{b}" for a, b in zip(box.begin, box.end, strict=True))
    chosen = chosen_pieces(workflow, Selection(stage="ingest", time=1), roi)
    for job, pieces in chosen:
        job.redo(pieces)
    workflow, region_seconds = run(folder)
    after = records(workflow)
    edited = {(job.step.name, job.time, piece) for job, pieces in chosen for piece in pieces}
    redone = {piece for piece in new_pieces(start, after) if piece[0] in IN_BLOCKS}
    needed = needed_pieces(workflow, edited, start, after)
    fresh, _ = run(folder / "fresh")
    identical = {p: d for p, (d, _) in after.items()} == {p: d for p, (d, _) in records(fresh).items()}

    # One more time point: jobs that run though they are neither its own nor merge all time points.
    array.resize((3, *tissue.shape))
    array[2] = rendered[2]
    workflow, time_seconds = run(folder)
    last = records(workflow)
    made = new_pieces(after, last)
    extra = {(name, when) for name, when, _ in made if when not in (None, 2)}
    missing = {(name, 2) for name in workflow.steps(SAMPLE) if find_step(name).per_time} - {(n, w) for n, w, _ in made}
    grid = Grid(tissue.shape, BLOCK)
    return {
        "region_result_identical": identical,
        "region_blocks_redone": len(redone),
        "region_blocks_needed": len(needed),
        "region_blocks_exact": redone == needed,
        "region_blocks_of": sum(1 for name, _, _ in after if name in IN_BLOCKS),
        "time_point_jobs_extra": len(extra) + len(missing),
        "blocks": grid.number_of_blocks,
        "seconds": {
            "whole": round(whole_seconds, 2),
            "region": round(region_seconds, 2),
            "time_point": round(time_seconds, 2),
        },
    }


def parameters_are_exact() -> bool:
    """Whether every key of the configuration reaches just the stages that are declared: a test walks through them."""
    test = REPOSITORY / "tests" / "unit" / "test_dependence.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stdout)
    return done.returncode == 0


def main() -> None:
    """Measure, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), arguments.size)
    found = {"params_exact": parameters_are_exact(), **found}
    print(f"{arguments.size}³ voxels, two time points, {found['blocks']} blocks each")
    for name, value in found.items():
        print(f"  {name}: {value}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
