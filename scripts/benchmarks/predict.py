"""Prediction against a bare loop of forward passes, and patches against the whole; the last line is one JSON object.

The rate of stage ``predict`` on a synthetic volume, reading and writing included, is compared with a loop over the same
patches as tensors that lie in memory, on the same device with as many threads. Repeats alternate between the two and
medians are taken. ``useful_fraction`` is the part of the computed voxels that is no halo: no comparison hides it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from bigseg.geometry.box import Triple, triple
from bigseg.machine import Machine
from bigseg.networks.architecture import Architecture
from bigseg.networks.maps import Maps
from bigseg.networks.model import Model, load_unet
from bigseg.networks.predictor import Options, Predictor
from bigseg.networks.tiling import Tiling, first_core, voxels
from bigseg.networks.unet import build
from bigseg.networks.write_package import Card, write_package
from bigseg.planning.workflow import Workflow
from bigseg.runner import run_unit


def network(features: int, order: str = "bcr") -> Any:
    """A U-Net of three levels with random weights."""
    torch.manual_seed(0)
    architecture = Architecture(
        name="UNet3D", in_channels=1, out_channels=1, f_maps=features, num_levels=3, layer_order=order
    )
    return build(architecture).eval()


def compare(folder: Path, side: int, block: Triple, features: int, machine: Machine, repeats: int) -> dict[str, Any]:
    """The stage against the bare loop."""
    rng = np.random.default_rng(0)
    with h5py.File(folder / "image.h5", "w") as file:
        file["raw"] = rng.integers(0, 255, (block[0], side, side)).astype(np.uint8)
    made = network(features)
    card = Card("benchmark network", "random weights", "# Random weights\n")
    package = folder / f"model-{machine.device}"
    write_package(package, made, card, outputs=["boundary"], test_image=rng.random((1, 16, 16, 16), np.float32))
    settings = {
        "samples": {"a": {"input": {"path": str(folder / "image.h5"), "voxel_size_um": [1.0, 1.0, 1.0]}}},
        "results": str(folder / "results"),
        "work": str(folder / f"work-{machine.device}"),
        "blocks": {"block_shape": list(block)},
        "predict": {"method": "network", "model": str(package)},
        "execution": {
            "threads": machine.threads,
            "batches": 1,
            "device": machine.device,
            "network_memory_gb": machine.network_memory_gb,
        },
    }
    workflow = Workflow(settings, "benchmark")
    for name, sample, at, batch in workflow.jobs():
        if name.startswith("ingest"):
            run_unit(workflow.step(name, sample, at), batch, machine.threads)
    ours: list[float] = []
    bare: list[float] = []
    ratios: list[float] = []
    seconds, shapes = stage(workflow, machine, 0)  # warms up
    forward_loop(made, shapes, machine)
    for number in range(1, repeats + 1):
        # The loop runs before and after the stage, so that a change of the machine's load slows both.
        before = forward_loop(made, shapes, machine)
        seconds, shapes = stage(workflow, machine, number)
        loop = (before + forward_loop(made, shapes, machine)) / 2
        ours.append(seconds)
        bare.append(loop)
        ratios.append(loop / seconds)
    total = block[0] * side * side
    seconds, loop = statistics.median(ours), statistics.median(bare)
    computed = sum(voxels(shape) for shape in shapes)
    return {
        "ratio_to_forward": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in sorted(ratios)],
        "mvox_per_s": round(total / seconds / 1e6, 3),
        "mvox_per_s_forward": round(computed / loop / 1e6, 3),
        "useful_fraction": round(total / computed, 3),
        "patch": list(shapes[0]),
        "patches": len(shapes),
    }


def stage(workflow: Workflow, machine: Machine, number: int) -> tuple[float, list[Triple]]:
    """Seconds that the blocks of stage ``predict`` take once the model is loaded, and the shapes of the patches."""
    name, sample, at, batch = next(job for job in workflow.jobs() if job[0] == "predict.blocks")
    planned = workflow.step(name, sample, at)
    repeated = {**planned.parameters, "repeat": number}  # so that all blocks run again
    step: Any = type(planned)(repeated, workflow.plans[sample].layout, at or 0)
    step.machine = machine
    predictor = step._network._predictor()  # loading is not what is measured
    shapes: list[Triple] = []
    inner = predictor.forward

    def watched(given: torch.Tensor) -> torch.Tensor:
        shapes.extend([triple(given.shape[2:])] * given.shape[0])
        result: torch.Tensor = inner(given)
        return result

    predictor.forward = watched
    start = time.perf_counter()
    run_unit(step, batch, machine.threads, machine)
    return time.perf_counter() - start, shapes


def forward_loop(made: torch.nn.Module, shapes: list[Triple], machine: Machine) -> float:
    """Seconds of bare forward passes over tensors in memory."""
    device = torch.device("cuda" if machine.device == "cuda" else "cpu")
    made = made.to(device)
    if device.type == "cuda":
        made = made.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    layout = torch.channels_last_3d if device.type == "cuda" else torch.contiguous_format
    tensors = {shape: torch.rand((1, 1, *shape), device=device).to(memory_format=layout) for shape in set(shapes)}

    def loop() -> float:
        with torch.inference_mode():
            made(tensors[shapes[0]])  # a new thread's first pass takes longer
            start = time.perf_counter()
            for shape in shapes:
                made(tensors[shape])
            if device.type == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter() - start

    # In a thread of its own, like the stage's forward passes.
    with ThreadPoolExecutor(1, initializer=lambda: torch.set_num_threads(machine.threads)) as pool:
        return pool.submit(loop).result()


def blockwise(model: Model, image: np.ndarray, block: Triple, core: Triple | None, *, overlap: bool) -> np.ndarray:
    """The map of an image (c, z, y, x) in float32."""
    from bigseg.geometry.grid import Grid

    shape = triple(image.shape[1:])
    tiling = Tiling.of(model.description, shape, mirror=(0, 0, 0), margin=(0, 0, 0), symmetric=False, overlap=overlap)
    roles = ("boundary",) + ("ignore",) * (model.description.out_channels - 1)
    predictor = Predictor(model, tiling, Options(Maps(roles), "float32", core=core), Machine(2, "cpu"), block)
    result = np.zeros(shape, np.float32)
    grid = Grid(shape, block)
    for number in range(grid.number_of_blocks):
        box = grid.box(number)
        needed = tiling.needed(box, core or first_core(tiling, block))
        result[box.slices] = predictor.predict(image[(slice(None), *needed.slices)], needed, box)["boundary"]
    predictor.close()
    return result


def seams() -> dict[str, Any]:
    """Tiled against whole for a network without patch statistics, and the seam of one with group norm."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 21, 45, 50)).astype(np.float32)
    made = network(8)
    model = load_unet(made.architecture, made.state_dict(), "random", {"source": "pytorch-3dunet"})
    whole = blockwise(model, image, (21, 45, 50), None, overlap=False)
    tiled = blockwise(model, image, (21, 16, 25), (12, 16, 20), overlap=False)
    found: dict[str, Any] = {"largest_difference_tiled": float(np.abs(whole - tiled).max())}
    found["tiled_equals_whole"] = found["largest_difference_tiled"] < 1e-5
    made = network(8, "gcr")
    model = load_unet(made.architecture, made.state_dict(), "random", {"source": "pytorch-3dunet"})
    image[..., 25:] = 3 * image[..., 25:] + 2  # so that statistics differ from patch to patch
    whole = blockwise(model, image, (21, 45, 50), (24, 48, 52), overlap=False)
    step = 12
    for name, overlap in (("group_norm_seam", False), ("group_norm_seam_overlap", True)):
        core = (24, 48, 2 * step if overlap else step)
        difference = blockwise(model, image, (21, 45, 50), core, overlap=overlap) - whole
        jumps = np.abs(np.diff(difference, axis=2))[..., step - 1 :: step]
        found[name] = float(jumps.mean() / whole.std())
    return found


def main() -> None:
    """Run the comparison and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=128, help="edge of the CPU's volume in y and x")
    parser.add_argument("--block", type=int, default=64, help="edge of a block")
    parser.add_argument("--features", type=int, default=16, help="feature maps of the first level")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    block = (options.block,) * 3
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cpu = compare(folder, options.side, block, options.features, Machine(options.threads, "cpu"), options.repeats)
        gpu: dict[str, Any] | None = None
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            gpu = compare(folder, 1024, (256,) * 3, options.features, Machine(options.threads, "cuda"), options.repeats)
            gpu["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    rows = {"cpu": cpu, **({"gpu": gpu} if gpu else {})}
    print(f"{'device':<8}{'Mvox/s':>9}{'forward Mvox/s':>16}{'useful':>8}{'ratio':>8}  patch")
    for device, row in rows.items():
        print(
            f"{device:<8}{row['mvox_per_s']:>9.3f}{row['mvox_per_s_forward']:>16.3f}{row['useful_fraction']:>8.2f}"
            f"{row['ratio_to_forward']:>8.2f}  {'×'.join(map(str, row['patch']))}"
        )
    told = seams()
    print(f"tiled = whole to {told['largest_difference_tiled']:.1e}")
    print(
        json.dumps(
            {
                "ratio_to_forward_cpu": cpu["ratio_to_forward"],
                "ratio_to_forward_gpu": gpu["ratio_to_forward"] if gpu else None,
                **told,
                "cpu": cpu,
                "gpu": gpu,
                "threads": options.threads,
                "features": options.features,
                "repeats": options.repeats,
            }
        )
    )


if __name__ == "__main__":
    main()
