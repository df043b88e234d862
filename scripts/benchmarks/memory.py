"""Peak memory of every job for volumes of growing size at the same block shape.

Each job runs as its own process, exactly as a rule of the workflow calls it, and its peak resident memory is what the
system accounts to it. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import zarr

from bigseg.geometry.grid import Grid
from bigseg.kernels.tissue import Tissue
from bigseg.planning.workflow import Workflow

BLOCK = (128, 128, 128)


def write_volume(path: Path, size: int) -> None:
    """A synthetic tissue of size³ voxels as a plain Zarr, generated block by block."""
    tissue = Tissue(shape=(size,) * 3, voxel_size_um=(0.25, 0.25, 0.25), seed=1, outline=False)
    array = zarr.create_array(str(path), shape=tissue.shape, chunks=(64, 64, 64), dtype="uint8")
    grid = Grid(tissue.shape, BLOCK)
    for index in range(grid.number_of_blocks):
        box = grid.box(index)
        array[box.slices] = tissue.image(box)


def run_job(command: list[str]) -> tuple[float, float]:
    """Run a command; return its peak memory in MB and its wall time in seconds."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return usage.ru_maxrss / 1024, time.perf_counter() - started


def measure(folder: Path, size: int, threads: int) -> dict[str, dict[str, float]]:
    """Peak memory in MB and seconds of the heaviest job of each step, for a volume of size³ voxels."""
    write_volume(folder / "volume.zarr", size)
    settings: dict[str, Any] = {
        "samples": {"s": {"input": {"path": str(folder / "volume.zarr"), "axes": "zyx", "voxel_size_um": [0.25] * 3}}},
        "results": str(folder / "results"),
        "work": str(folder / "work"),
        "blocks": {"block_shape": list(BLOCK)},
        "execution": {"threads": threads},
    }
    workflow = Workflow(settings, "benchmark")
    peaks: dict[str, dict[str, float]] = {}
    for name, sample, when, batch in workflow.jobs():
        command = [shutil.which("bigseg") or "bigseg", "run", name, "--sample", sample]
        command += ["--parameters", workflow.parameters(name, sample), "--threads", str(threads)]
        command += ["--places", workflow.places(name, sample)]
        command += ["--results", settings["results"], "--work", settings["work"]]
        command += [] if when is None else ["--time", f"t{when:04d}"]
        command += [] if batch is None else ["--blocks", batch]
        peak, seconds = run_job(command)
        before = peaks.setdefault(name, {"mb": 0.0, "seconds": 0.0})
        asked = workflow.memory_mb(name, sample, threads, 1)
        peaks[name] = {"mb": max(before["mb"], peak), "seconds": before["seconds"] + seconds, "asked_mb": asked}
    return peaks


def main() -> None:
    """Measure, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    found: dict[int, dict[str, dict[str, float]]] = {}
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            found[size] = measure(Path(folder), size, arguments.threads)
        print(f"{size}³ done", file=sys.stderr)
    last = found[arguments.sizes[-1]]
    print(f"Peak memory in MB of the heaviest job, blocks of {BLOCK[0]}³, {arguments.threads} thread(s)")
    print("| step | " + " | ".join(f"{size}³" for size in arguments.sizes) + " | asked for | seconds at the largest |")
    print("|---|" + "---|" * (len(arguments.sizes) + 2))
    for name in last:
        cells = [f"{found[s][name]['mb']:.0f}" if name in found[s] else "" for s in arguments.sizes]
        print(f"| {name} | " + " | ".join(cells) + f" | {last[name]['asked_mb']:.0f} | {last[name]['seconds']:.1f} |")
    growth = {
        name: round(last[name]["mb"] / found[arguments.sizes[-2]][name]["mb"], 3)
        for name in last
        if name in found[arguments.sizes[-2]]
    }
    print(
        json.dumps(
            {
                "peak_mb": {str(s): {n: round(v["mb"], 1) for n, v in steps.items()} for s, steps in found.items()},
                "growth_last_step": growth,
                "growth_max_batch_jobs": max(v for n, v in growth.items() if n.endswith(".blocks")),
                "seconds": round(sum(v["seconds"] for v in last.values()), 1),
            }
        )
    )


if __name__ == "__main__":
    main()
