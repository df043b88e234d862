"""Peak memory and CPU time of every job for volumes of growing size at the same block shape.

Each job runs as its own process, exactly as a rule of the workflow calls it, and its peak resident memory is what the
system accounts to it. Steps that are the same in several recipes run in the first of them. With a network, a volume of
three blocks along an axis or more is computed only where blocks have neighbours on all sides: these take the most
memory, and all would take hours. The last line is one JSON object.
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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import zarr

from bigseg.geometry.batches import batch_name
from bigseg.geometry.grid import Grid
from bigseg.kernels.lineage import appearing, restrict
from bigseg.kernels.synthetic.tissue import Tissue
from bigseg.kernels.synthetic.tissue_movie import TissueMovie
from bigseg.planning.resources import SNAKEMAKE_MB
from bigseg.planning.workflow import Workflow
from bigseg.tracks.ctc import lineage_text


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


@dataclass(frozen=True)
class Recipe:
    """What of the configuration is not as it is by default, and the steps that are run; all of them if there are none.

    ``inner`` stands for blocks with neighbours on all sides, where there are such.
    """

    sections: dict[str, Any] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    inner: bool = False
    times: int = 1
    """Time points; more than one are a movie of its own, with all steps."""


_OWN = ("graph.evidence", "partition.")

RECIPES = {
    "gasp": Recipe(),
    "crest": Recipe({"supervoxels": {"crest": {"weight": 40.0}}}, ("supervoxels.blocks",)),
    "levels": Recipe({"partition": {"levels": 2}}, _OWN),
    "multicut": Recipe({"partition": {"method": "multicut", "levels": 0}}, _OWN),
    "multicut_levels": Recipe({"partition": {"method": "multicut", "levels": 1}}, _OWN),
    "lifted": Recipe({"partition": {"method": "lifted_multicut", "levels": 1}}, _OWN),
    "network": Recipe(
        {"predict": {"method": "network", "model": "membrane"}, "execution": {"network_memory_gb": 2.0}},
        ("predict.blocks",),
        inner=True,
    ),
    "track": Recipe({"track": {"drift": True}}, times=3),
    "joint": Recipe(
        {"partition": {"beta": 0.8}, "track": {"method": "joint", "window": 2, "joint": {"context": 1}}}, times=4
    ),
}
"""All are scored against the truth; what all have in common runs in the first."""


def configuration(folder: Path, recipe: str, block: int, threads: int) -> dict[str, Any]:
    """The configuration of a recipe for the volumes in a folder."""
    volume = {"axes": "zyx", "voxel_size_um": [0.25] * 3}
    truth = {"path": str(folder / "truth.zarr"), **volume}
    sample: dict[str, Any] = {"input": {"path": str(folder / "volume.zarr"), **volume}, "truth": truth}
    if recipe == "lifted":
        sample["nuclei"] = truth
    if RECIPES[recipe].times > 1:
        for part in ("input", "truth"):
            sample[part] = {**sample[part], "axes": "tzyx"}
        sample["truth_lineage"] = str(folder / "lineage.txt")
    sections = RECIPES[recipe].sections
    return {
        "samples": {"s": sample},
        "results": str(folder / "results"),
        "work": str(folder / "work"),
        "blocks": {"block_shape": [block] * 3},
        **sections,
        "execution": {**sections.get("execution", {}), "threads": threads},
    }


def chosen_jobs(workflow: Workflow, recipe: Recipe) -> Iterator[tuple[str, str, int | None, str | None]]:
    """The jobs of a recipe: step, sample, time point, batch."""
    inner: set[str] = set()
    for name, sample, when, batch in workflow.jobs():
        if recipe.steps and not name.startswith(recipe.steps):
            continue
        grid = workflow.plans[sample].grid
        if not (recipe.inner and min(grid.blocks_per_axis) > 2):
            yield name, sample, when, batch
        elif name not in inner:
            inner.add(name)
            _, rows, columns = grid.blocks_per_axis
            first = (rows + 1) * columns + 1  # the block (1, 1, 1), and all in its row but the last
            yield name, sample, when, batch_name(range(first, first + columns - 2))


def measure(folder: Path, recipe: str, block: int, threads: int) -> dict[str, dict[str, float]]:
    """What the heaviest and the longest job of each step of a recipe take, on the volume in a folder.

    Recipes but the first need the steps that all have in common to be done there.
    """
    settings = configuration(folder, recipe, block, threads)
    workflow = Workflow(settings, "benchmark")
    peaks: dict[str, dict[str, float]] = {}
    for name, sample, when, batch in chosen_jobs(workflow, RECIPES[recipe]):
        command = [shutil.which("bigseg") or "bigseg", "run", name, "--sample", sample]
        command += ["--parameters", workflow.parameters(name, sample), "--threads", str(threads)]
        command += ["--places", workflow.places(name, sample)]
        command += ["--results", settings["results"], "--work", settings["work"]]
        command += [] if when is None else ["--time", f"t{when:04d}"]
        command += [] if batch is None else ["--blocks", batch]
        command += workflow.machine() if name == "predict.blocks" else []
        job = run_job(command)
        asked_seconds = 60 * workflow.runtime_minutes(name, sample, batch, 1)
        before = peaks.setdefault(
            name, dict.fromkeys(("mb", "seconds", "cpu_seconds", "busy_threads", "longest", "asked_seconds"), 0.0)
        )
        peaks[name] = {
            "mb": max(before["mb"], job["mb"]),
            "seconds": before["seconds"] + job["seconds"],
            "cpu_seconds": before["cpu_seconds"] + job["cpu_seconds"],
            "busy_threads": max(before["busy_threads"], job["busy_threads"]),
            "asked_mb": workflow.memory_mb(name, sample, threads, 1),
            "longest": max(before["longest"], job["cpu_seconds"]),
            "asked_seconds": max(before["asked_seconds"], asked_seconds),
        }
    return peaks


def main() -> None:
    """Measure, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument(
        "--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), help="gasp runs with all but track and joint"
    )
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    found: dict[str, dict[int, dict[str, dict[str, float]]]] = {}
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            movies = [recipe for recipe in arguments.recipes if RECIPES[recipe].times > 1]
            others = [recipe for recipe in arguments.recipes if recipe not in movies]
            if others:
                write_volume(Path(folder), size, arguments.block)
            for recipe in dict.fromkeys([*(["gasp"] if others else []), *others, *movies]):
                home = Path(folder)
                if recipe in movies:
                    home /= recipe
                    home.mkdir()
                    write_movie(home, size, arguments.block, RECIPES[recipe].times)
                jobs = measure(home, recipe, arguments.block, arguments.threads)
                found.setdefault(recipe, {})[size] = jobs
                print(f"{recipe}, {size}³: {json.dumps(jobs)}", file=sys.stderr)
    print(f"Peak memory in MB of the heaviest job, blocks of {arguments.block}³, {arguments.threads} thread(s)")
    sizes = [f"{size}³" for size in arguments.sizes]
    print(
        f"| recipe | step | {' | '.join(sizes)} | asked for | of which used, with Snakemake | busy threads | CPU s "
        "| of the longest job | minutes asked for |"
    )
    print("|---|---|" + "---|" * (len(sizes) + 6))
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
                f"{job['busy_threads']:.0f} | {job['cpu_seconds']:.1f} | {job['longest']:.1f} | "
                f"{job['asked_seconds'] / 60:.0f} |"
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
                "runtime_share_max": round(
                    max(
                        j["longest"] / j["asked_seconds"]
                        for s in found.values()
                        for jobs in s.values()
                        for j in jobs.values()
                    ),
                    4,
                ),
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
