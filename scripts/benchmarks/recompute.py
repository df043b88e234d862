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
import tifffile
import zarr

from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid
from bigseg.kernels.synthetic.tissue import Tissue
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
    "measure.blocks",
    "track.overlaps",
    "track.blocks",
    "evaluate.blocks",
    "evaluate.track_overlaps",
    "seams.blocks",
)
STAGES = (
    *("ingest", "predict", "supervoxels", "graph", "partition", "segment", "pyramid"),
    *("measure", "track", "evaluate", "seams"),
)
"""All but the report, which is no matter of blocks."""

ROLES = ("input", "truth")
Rendered = list[tuple[np.ndarray, np.ndarray]]
"""Image and truth of each time point, (z, y, x)."""

Piece = tuple[str, int | None, int]


Volumes = dict[str, Path]
"""Where image (``input``) and ``truth`` lie."""


def configuration(folder: Path, volumes: Volumes, axes: str) -> dict[str, Any]:
    """A configuration of a tracked movie with a truth, whose results lie in a folder."""
    size = {"axes": axes, "voxel_size_um": [0.25] * 3}
    return {
        "samples": {SAMPLE: {role: {"path": str(path), **size} for role, path in volumes.items()}},
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
        reads = {
            (need.step, when if need.time is None else need.time, p)
            for need in step.needs(piece)
            if need.in_key
            for p in need.pieces
        }
        if reads & changed or (name, when, piece) in changed:
            needed.add((name, when, piece))
    return needed


def run(where: Path, volumes: Volumes, axes: str = "tzyx") -> tuple[Workflow, float]:
    """Run all stages; the workflow, and the seconds that it took."""
    workflow, started = Workflow(configuration(where, volumes, axes), "benchmark"), time.perf_counter()
    run_here(workflow, STAGES)
    return workflow, time.perf_counter() - started


def measure_region(folder: Path, rendered: Rendered) -> dict[str, Any]:
    """Two voxels in the middle of a block of one of two time points change places, in place in a Zarr."""
    volumes = {role: folder / f"{role}.zarr" for role in ROLES}
    for role, values in zip(ROLES, zip(*rendered[:2], strict=True), strict=True):
        movie = np.stack(values)
        array = zarr.create_array(str(volumes[role]), shape=movie.shape, chunks=(1, *BLOCK), dtype=movie.dtype)
        array[...] = movie
    array = zarr.open_array(str(volumes["input"]), mode="r+")
    workflow, whole_seconds = run(folder, volumes)
    start = records(workflow)

    z, y, x = (b // 2 for b in BLOCK)
    box = Box((z, y, x), (z + 4, y + 4, x + 4))
    region = array[(slice(1, 2), *box.slices)]
    one, other = np.unravel_index(region.argmin(), region.shape), np.unravel_index(region.argmax(), region.shape)
    region[one], region[other] = region[other], region[one]  # so that intensities are normalised as before
    array[(slice(1, 2), *box.slices)] = region
    chosen = chosen_pieces(workflow, Selection(stage="ingest", time=1), str(box))
    for job, pieces in chosen:
        job.redo(pieces)
    workflow, region_seconds = run(folder, volumes)
    after = records(workflow)
    edited = {(job.step.name, job.time, piece) for job, pieces in chosen for piece in pieces}
    redone = {piece for piece in new_pieces(start, after) if piece[0] in IN_BLOCKS}
    needed = needed_pieces(workflow, edited, start, after)
    fresh, _ = run(folder / "fresh", volumes)
    return {
        "region_result_identical": outputs(after) == outputs(records(fresh)),
        "region_blocks_redone": len(redone),
        "region_blocks_needed": len(needed),
        "region_blocks_exact": redone == needed,
        "region_blocks_of": sum(1 for name, _, _ in after if name in IN_BLOCKS),
        "region_seconds": round(region_seconds, 2),
        "whole_seconds": round(whole_seconds, 2),
    }


def measure_time_point(folder: Path, rendered: Rendered) -> dict[str, Any]:
    """Third files are put beside those of two time points."""
    volumes = {role: folder / f"{role}_t{{t}}.tif" for role in ROLES}

    def write(t: int) -> None:
        for role, values in zip(ROLES, rendered[t], strict=True):
            tifffile.imwrite(folder / f"{role}_t{t}.tif", values)

    for t in range(2):
        write(t)
    before = records(run(folder, volumes, "zyx")[0])
    write(2)
    workflow, _ = run(folder, volumes, "zyx")
    made = new_pieces(before, records(workflow))
    old = {(name, when) for name, when, _ in made if when not in (None, 2)}
    own = {(name, 2) for name in workflow.steps(SAMPLE) if find_step(name).per_time and not name.startswith("report.")}
    fresh, _ = run(folder / "fresh", volumes, "zyx")
    return {
        "time_point_jobs_extra": len(old),
        "time_point_jobs_missing": len(own - {(name, when) for name, when, _ in made}),
        "time_point_result_identical": outputs(records(workflow)) == outputs(records(fresh)),
    }


def outputs(found: dict[Piece, tuple[str, int]]) -> dict[Piece, str]:
    """The digests alone."""
    return {piece: digest for piece, (digest, _) in found.items()}


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
        tissue = Tissue((arguments.size,) * 3, voxel_size_um=(0.25,) * 3, seed=1, outline=False)
        rendered = [tissue.render(Box((0, 0, 0), tissue.shape), t) for t in range(3)]
        parts = [(measure_region, Path(folder) / "region"), (measure_time_point, Path(folder) / "time")]
        found: dict[str, Any] = {}
        for part, where in parts:
            where.mkdir()
            found |= part(where, rendered)
    found = {"params_exact": parameters_are_exact(), **found}
    blocks = Grid(tissue.shape, BLOCK).number_of_blocks
    print(f"{arguments.size}³ voxels, two time points, {blocks} blocks each")
    for name, value in found.items():
        print(f"  {name}: {value}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
