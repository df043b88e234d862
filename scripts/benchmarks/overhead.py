"""What bigseg costs beside the work itself: on empty blocks, and before anything runs.

Blocks outside the mask are worked through in one process, step by step as jobs do, with one thread; the blocks of the
mask are not counted. Then Snakemake plans a volume of 100,000 blocks and one of 20 time points, each in a process of
its own, whose input is an array that has metadata and no voxels; ``bigseg status`` tells how far the first one is, when
nothing is done and when all markers are there. Last, the demo is run, and run again when there is nothing to do. The
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from bigseg.config.samples import owner
from bigseg.geometry.batches import parse_batch
from bigseg.geometry.grid import Grid
from bigseg.kernels.synthetic.tissue import Tissue
from bigseg.planning.workflow import Workflow
from bigseg.resume.digest import digest_json
from bigseg.resume.marker import Marker
from bigseg.runner import run_unit
from bigseg.volumes.image import claim_result

REPOSITORY = Path(__file__).resolve().parents[2]
SNAKEFILE = REPOSITORY / "Snakefile"
BLOCK = 32
SKIPPED = (
    "supervoxels.blocks",
    "graph.blocks",
    "partition.level0",
    "segment.contacts",
    "segment.blocks",
    "pyramid.labels1",
    "measure.blocks",
    "seams.blocks",
)
"""Steps on blocks in which empty ones are known to be so before they are looked at."""


def settings_of(folder: Path, sample: dict[str, Any], block: int, **sections: Any) -> dict[str, Any]:
    """A configuration in a folder."""
    return {
        "samples": {"s": sample},
        "results": str(folder / "results"),
        "work": str(folder / "work"),
        "blocks": {"block_shape": [block] * 3},
        **sections,
    }


def empty_blocks(folder: Path, per_axis: int) -> dict[str, dict[str, float]]:
    """Milliseconds of wall and CPU time per block of each step, where 1 of ``per_axis``³ blocks is in the mask."""
    size = per_axis * BLOCK
    shape, chunks = (size,) * 3, (BLOCK,) * 3
    image = zarr.create_array(str(folder / "image.zarr"), shape=shape, chunks=chunks, dtype="uint8")
    mask = zarr.create_array(str(folder / "mask.zarr"), shape=shape, chunks=chunks, dtype="uint8")
    tissue = Tissue(shape=shape, voxel_size_um=(0.25,) * 3, seed=1, outline=False)
    box = Grid(shape, chunks).box(0)
    image[box.slices] = tissue.image(box)
    mask[box.slices] = 1
    volumes = {key: {"path": str(folder / f"{key}.zarr"), "axes": "zyx"} for key in ("image", "mask")}
    sample = {"input": volumes["image"], "mask": volumes["mask"]}
    partition, predict = {"levels": 1}, {"percentiles": [0.0, 100.0]}
    settings = settings_of(
        folder, sample, BLOCK, partition=partition, predict=predict, execution={"threads": 1, "batches": 2}
    )
    workflow = Workflow(settings, "benchmark")
    found: dict[str, dict[str, float]] = {}
    for name, sample_name, when, batch in workflow.jobs():
        if name.startswith("report."):
            continue
        step = workflow.step(name, sample_name, when)
        wall, cpu = time.perf_counter(), time.process_time()
        with contextlib.redirect_stderr(io.StringIO()):
            run_unit(step, batch, 1)
        if batch is not None and not batch.startswith("000000"):  # the first batch holds the block of the mask
            pieces = step.number_of_pieces - step.number_of_pieces // 2
            cost = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            found[name] = {key: 1000 * seconds / pieces for key, seconds in cost.items()}
    return found


def planned(folder: Path, shape: tuple[int, ...], axes: str, block: int) -> dict[str, float]:
    """Seconds and memory of ``snakemake -n`` for a volume of hardly any voxels."""
    folder.mkdir()
    chunks = tuple(64 if axis in "zyx" else 1 for axis in axes)
    image = zarr.create_array(str(folder / "image.zarr"), shape=shape, chunks=chunks, dtype="uint8")
    for t in range(shape[0] if axes[0] == "t" else 1):  # a time point without any chunk would be taken for missing
        image[(t, *([0] * (len(shape) - 1)))] = 1
    sample = {"input": {"path": "image.zarr", "axes": axes, "voxel_size_um": [1, 1, 1]}}
    settings = {**settings_of(folder, sample, block), "results": "results", "work": "work"}
    (folder / "config.yaml").write_text(json.dumps(settings))
    cost = timed(folder, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--cores", "1", "-n")
    jobs = next(line.split()[1] for line in (folder / "out.txt").read_text().splitlines() if line.startswith("total"))
    return {**cost, "jobs": int(jobs)}


def timed(folder: Path, *arguments: str) -> dict[str, float]:
    """Seconds and memory of a run of Python in a folder; what it prints goes to ``out.txt`` there."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, *arguments]
    started = time.perf_counter()
    with (folder / "out.txt").open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        code = os.waitstatus_to_exitcode(status)
        raise SystemExit(f"{' '.join(command)} ended with {code}\n{(folder / 'out.txt').read_text()[-2000:]}")
    return {
        "s": time.perf_counter() - started,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "gb": usage.ru_maxrss / 1e6,
    }


def status_of(folder: Path) -> dict[str, float]:
    """Seconds and memory of ``bigseg status`` in a folder, and how many jobs it says are done."""
    cost = timed(folder, "-c", "from bigseg.cli import main; main()", "status", "--json")
    told = json.loads((folder / "out.txt").read_text().splitlines()[-1])
    return {**cost, "done": sum(times["done"] for stages in told["s"].values() for times in stages.values())}


def write_markers(folder: Path) -> None:
    """The markers of all jobs, as long as those of a real run, and a result without voxels."""
    with contextlib.chdir(folder):
        jobs = Workflow(json.loads(Path("config.yaml").read_text()), "config.yaml")
        claim_result(jobs.plans["s"].layout, owner(jobs.plans["s"].sample))
        for name, sample, when, batch in jobs.jobs():
            step = jobs.step(name, sample, when)
            pieces = range(step.number_of_pieces) if batch is None else parse_batch(batch, step.number_of_pieces)
            digests = {piece: digest_json([name, piece]) for piece in pieces}
            marker = Marker(name, when, step.version, digest_json(step.dependence), digests)
            marker.write(step.layout.marker(step.stage, when, step.unit(batch)))


def demo(folder: Path) -> dict[str, dict[str, float]]:
    """What the demo costs, and (``again_``) what it costs when nothing is to be done."""
    folder.mkdir()
    for arguments in (["data/demo"], ["data/demo_movie", "--movie", "--seed", "7"]):
        timed(folder, str(REPOSITORY / "scripts" / "make_demo_data.py"), *arguments)
    command = ["-m", "snakemake", "--snakefile", str(SNAKEFILE), "--cores", "2"]
    command += ["--configfile", str(REPOSITORY / "config" / "demo.yaml")]
    first = timed(folder, *command)
    again = timed(folder, *command)
    if "Nothing to be done" not in (folder / "out.txt").read_text():
        raise SystemExit("the second run of the demo did something")
    return {"": first, "again_": again}


def main() -> None:
    """Measure, print tables and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=10, help="empty blocks per axis")
    parser.add_argument("--quick", action="store_true", help="small plans and no demo, to see that it runs")
    arguments = parser.parse_args()
    axes, frames = ((4, 4, 4), (2, 64, 128, 128)) if arguments.quick else ((46, 47, 47), (20, 512, 1024, 1024))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty").mkdir()
        steps = empty_blocks(folder / "empty", arguments.blocks)
        print(f"Milliseconds per empty block of {BLOCK}³, one thread")
        print("| step | wall | CPU |\n|---|---|---|")
        for step, cost in steps.items():
            print(f"| {step} | {cost['wall']:.2f} | {cost['cpu']:.2f} |", flush=True)
        many = planned(folder / "many", tuple(64 * n for n in axes), "zyx", 64)
        times = planned(folder / "times", frames, "tzyx", 64 if arguments.quick else 128)
        fresh = status_of(folder / "many")
        write_markers(folder / "many")
        complete = status_of(folder / "many")
        again = {} if arguments.quick else demo(folder / "demo")
    print("\n| `snakemake -n` | jobs | wall s | CPU s | GB |\n|---|---|---|---|---|")
    for what, cost in ((f"{math.prod(axes):,} blocks", many), (f"{frames[0]} time points", times)):
        print(f"| {what} | {cost['jobs']:.0f} | {cost['s']:.1f} | {cost['cpu_s']:.1f} | {cost['gb']:.2f} |")
    print("\n| | jobs done | wall s | CPU s |\n|---|---|---|---|")
    for what, cost in (("nothing done", fresh), ("all done", complete)):
        row = f"`bigseg status`, {math.prod(axes):,} blocks, {what} | {cost['done']:.0f}"
        print(f"| {row} | {cost['s']:.1f} | {cost['cpu_s']:.1f} |")
    for what, cost in again.items():
        print(f"| demo{', nothing to do' if what else ''} | | {cost['s']:.1f} | {cost['cpu_s']:.1f} |")
    skipped = [steps[step] for step in SKIPPED]
    print(
        json.dumps(
            {
                "ms_per_empty_block": round(float(np.mean([cost["wall"] for cost in skipped])), 3),
                "ms_per_empty_block_cpu": round(float(np.mean([cost["cpu"] for cost in skipped])), 3),
                "ms_per_empty_block_by_step": {step: round(cost["wall"], 3) for step, cost in steps.items()},
                "ms_per_empty_block_by_step_cpu": {step: round(cost["cpu"], 3) for step, cost in steps.items()},
                "plan_s_100k_blocks": round(many["s"], 2),
                "plan_cpu_s_100k_blocks": round(many["cpu_s"], 2),
                "plan_gb_100k_blocks": round(many["gb"], 3),
                "plan_s_20_times": round(times["s"], 2),
                "plan_cpu_s_20_times": round(times["cpu_s"], 2),
                "plan_gb_20_times": round(times["gb"], 3),
                "status_s_100k_blocks": round(max(fresh["s"], complete["s"]), 2),
                "status_cpu_s_100k_blocks": round(max(fresh["cpu_s"], complete["cpu_s"]), 2),
                **{f"demo_{what}s": round(cost["s"], 2) for what, cost in again.items()},
                **{f"demo_{what}cpu_s": round(cost["cpu_s"], 2) for what, cost in again.items()},
                "quick": arguments.quick,  # then the plans are small ones, whatever their names say
            }
        )
    )


if __name__ == "__main__":
    main()
