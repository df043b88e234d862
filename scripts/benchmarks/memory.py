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
from typing import IO, Any

import numpy as np
import zarr

from bigseg.geometry.grid import Grid
from bigseg.kernels.lineage import appearing, restrict
from bigseg.kernels.tissue import Tissue
from bigseg.kernels.tissue_movie import TissueMovie
from bigseg.planning.resources import SNAKEMAKE_MB
from bigseg.planning.workflow import Workflow
from bigseg.tracks.ctc import lineage_text

TIMES = {"track": 3, "joint": 4}
"""Time points of the recipes that track; the others have one."""


def write_movie(folder: Path, size: int, block: int, times: int) -> None:
    """A synthetic tissue that moves and divides: size³ voxels at each time point, its truth, and its lineage."""
    movie = TissueMovie((size,) * 3, times, (0.25,) * 3, cell_diameter_um=6.0, drift=(0.0, 2.0, 1.0), outline=False)
    grid = Grid(movie.shape, (block,) * 3)
    image, truth = (
        zarr.create_array(
            str(folder / f"{name}.zarr"), shape=(times, *movie.shape), chunks=(1, 64, 64, 64), dtype=dtype
        )
        for name, dtype in (("volume", "uint8"), ("truth", "uint32"))
    )
    seen = []
    for t in range(times):
        ids: set[int] = set()
        for index in range(grid.number_of_blocks):
            box = grid.box(index)
            labels = movie.labels(box, t)
            image[t, *box.slices], truth[t, *box.slices] = movie.image(box, t), labels
            ids.update(np.unique(labels[labels > 0]).tolist())
        seen.append((t, np.array(sorted(ids), np.uint64)))
    lineage = restrict(movie.lineage(), appearing(seen))
    (folder / "lineage.txt").write_text(lineage_text(lineage), encoding="ascii")


def write_volume(folder: Path, size: int, block: int) -> None:
    """A synthetic tissue of size³ voxels and its truth as plain Zarr arrays, generated block by block."""
    tissue = Tissue(shape=(size,) * 3, voxel_size_um=(0.25, 0.25, 0.25), seed=1, outline=False)
    shape, chunks = tissue.shape, (64, 64, 64)
    image = zarr.create_array(str(folder / "volume.zarr"), shape=shape, chunks=chunks, dtype="uint8")
    truth = zarr.create_array(str(folder / "truth.zarr"), shape=shape, chunks=chunks, dtype="uint16")
    grid = Grid(shape, (block,) * 3)
    for index in range(grid.number_of_blocks):
        box = grid.box(index)
        image[box.slices], truth[box.slices] = tissue.render(box)


def run_job(command: list[str]) -> dict[str, float]:
    """Run a command: peak memory in MB, wall and CPU seconds, and threads that took a tenth of the CPU time or more."""
    with tempfile.TemporaryFile("w+") as told:
        return _watch(command, told)


def _watch(command: list[str], told: IO[str]) -> dict[str, float]:
    started = time.perf_counter()
    process = subprocess.Popen(command, stderr=told)
    by_thread: dict[str, float] = {}
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        for stat in Path(f"/proc/{process.pid}/task").glob("*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:  # the thread has ended
                continue
            by_thread[stat.parent.name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        time.sleep(0.1)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        told.seek(0)
        raise SystemExit(f"failed: {' '.join(command)}\n{told.read()[-2000:]}")
    busy = sum(seconds > 0.1 * sum(by_thread.values()) for seconds in by_thread.values())
    return {
        "mb": usage.ru_maxrss / 1024,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "busy_threads": busy,
    }


def share(job: dict[str, float]) -> float:
    """Used part of the memory that is asked for; Snakemake's processes are part of a job on a cluster."""
    return (job["mb"] + SNAKEMAKE_MB) / job["asked_mb"]


RECIPES: dict[str, dict[str, Any]] = {
    "gasp": {},
    "levels": {"partition": {"levels": 2}},
    "lifted": {"partition": {"method": "lifted_multicut", "levels": 1}},
    "track": {"track": {"drift": True}},
    "joint": {"partition": {"beta": 0.8}, "track": {"method": "joint", "window": 2, "joint": {"context": 1}}},
    "network": {"predict": {"method": "network", "model": "membrane"}, "execution": {"network_memory_gb": 2.0}},
}
"""What of the configuration is not as it is by default; all are scored against the truth."""


def configuration(folder: Path, recipe: str, block: int, threads: int) -> dict[str, Any]:
    """The configuration of a recipe for the volumes in a folder."""
    volume = {"axes": "zyx", "voxel_size_um": [0.25] * 3}
    truth = {"path": str(folder / "truth.zarr"), **volume}
    sample: dict[str, Any] = {"input": {"path": str(folder / "volume.zarr"), **volume}, "truth": truth}
    if recipe == "lifted":
        sample["nuclei"] = truth
    if recipe in TIMES:
        for part in ("input", "truth"):
            sample[part] = {**sample[part], "axes": "tzyx"}
        sample["truth_lineage"] = str(folder / "lineage.txt")
    sections = RECIPES[recipe]
    return {
        "samples": {"s": sample},
        "results": str(folder / "results"),
        "work": str(folder / "work"),
        "blocks": {"block_shape": [block] * 3},
        **sections,
        "execution": {**sections.get("execution", {}), "threads": threads},
    }


def measure(folder: Path, recipe: str, size: int, block: int, threads: int) -> dict[str, dict[str, float]]:
    """What the heaviest job of each step takes, for a volume of size³ voxels."""
    if recipe in TIMES:
        write_movie(folder, size, block, TIMES[recipe])
    else:
        write_volume(folder, size, block)
    settings = configuration(folder, recipe, block, threads)
    workflow = Workflow(settings, "benchmark")
    peaks: dict[str, dict[str, float]] = {}
    for name, sample, when, batch in workflow.jobs():
        command = [shutil.which("bigseg") or "bigseg", "run", name, "--sample", sample]
        command += ["--parameters", workflow.parameters(name, sample), "--threads", str(threads)]
        command += ["--places", workflow.places(name, sample)]
        command += ["--results", settings["results"], "--work", settings["work"]]
        command += [] if when is None else ["--time", f"t{when:04d}"]
        command += [] if batch is None else ["--blocks", batch]
        command += workflow.machine() if name == "predict.blocks" else []
        job = run_job(command)
        before = peaks.setdefault(name, {"mb": 0.0, "seconds": 0.0, "cpu_seconds": 0.0, "busy_threads": 0})
        peaks[name] = {
            "mb": max(before["mb"], job["mb"]),
            "seconds": before["seconds"] + job["seconds"],
            "cpu_seconds": before["cpu_seconds"] + job["cpu_seconds"],
            "busy_threads": max(before["busy_threads"], job["busy_threads"]),
            "asked_mb": workflow.memory_mb(name, sample, threads, 1),
        }
    return peaks


def main() -> None:
    """Measure, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    found: dict[str, dict[int, dict[str, dict[str, float]]]] = {}
    for recipe in arguments.recipes:
        for size in arguments.sizes:
            with tempfile.TemporaryDirectory() as folder:
                found.setdefault(recipe, {})[size] = measure(
                    Path(folder), recipe, size, arguments.block, arguments.threads
                )
            print(f"{recipe}, {size}³ done", file=sys.stderr)
    print(f"Peak memory in MB of the heaviest job, blocks of {arguments.block}³, {arguments.threads} thread(s)")
    sizes = [f"{size}³" for size in arguments.sizes]
    print(f"| recipe | step | {' | '.join(sizes)} | asked for | of which used, with Snakemake | busy threads | CPU s |")
    print("|---|---|" + "---|" * (len(sizes) + 4))
    outside = [
        f"{recipe} {name} {size}"
        for recipe, by_size in found.items()
        for size, jobs in by_size.items()
        for name, job in jobs.items()
        if not 0.5 < share(job) <= 1
    ]
    for recipe, by_size in found.items():
        last = by_size[arguments.sizes[-1]]
        for name, job in last.items():
            cells = [f"{by_size[n][name]['mb']:.0f}" if name in by_size[n] else "" for n in arguments.sizes]
            print(
                f"| {recipe} | {name} | {' | '.join(cells)} | {job['asked_mb']:.0f} | {share(job):.0%} | "
                f"{job['busy_threads']:.0f} | {job['cpu_seconds']:.1f} |"
            )
    growth: dict[str, float] = {}
    if len(arguments.sizes) > 1:
        for recipe, by_size in found.items():
            before, last = (by_size[size] for size in arguments.sizes[-2:])
            growth |= {f"{recipe} {n}": round(last[n]["mb"] / before[n]["mb"], 3) for n in last if n in before}
    print(
        json.dumps(
            {
                "peak_mb": {
                    recipe: {
                        str(size): {n: round(v["mb"], 1) for n, v in steps.items()} for size, steps in sizes.items()
                    }
                    for recipe, sizes in found.items()
                },
                "asked_mb": {
                    recipe: {n: v["asked_mb"] for n, v in sizes[arguments.sizes[-1]].items()}
                    for recipe, sizes in found.items()
                },
                "share_min_max": [
                    round(extreme(share(j) for s in found.values() for jobs in s.values() for j in jobs.values()), 3)
                    for extreme in (min, max)
                ],
                "outside_half_to_one": outside,
                "busy_threads_max": max(
                    job["busy_threads"] for sizes in found.values() for jobs in sizes.values() for job in jobs.values()
                ),
                "growth_last_step": growth,
                "growth_max_batch_jobs": max((v for n, v in growth.items() if n.endswith(".blocks")), default=1.0),
            }
        )
    )


if __name__ == "__main__":
    main()
