"""Measure what a voxel costs: the workflow of a sample on a crop of its image, in this process."""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigseg.config.samples import ROLES, Input
from bigseg.errors import UserError
from bigseg.geometry.box import Box, Triple, triple
from bigseg.planning.calibration import BYTES_PER_FILE, Calibration, calibration_identity, cost_name
from bigseg.planning.estimate import itemsize, voxels_read
from bigseg.planning.workflow import Workflow
from bigseg.runner import run_unit

if TYPE_CHECKING:
    import numpy as np

CROP: Triple = (96, 128, 128)
"""Of the crop (z, y, x): some ten seconds in all."""
NETWORK_CROP: Triple = (48, 96, 96)
"""Of the crop where a network predicts, which is slower."""
_CHUNK = 64
_PLACES = ((0.5, 0.5, 0.5), (0.5, 0.25, 0.25), (0.5, 0.75, 0.75), (0.25, 0.5, 0.75), (0.75, 0.5, 0.25))
"""Where the crop may lie, as shares of the volume; the liveliest place is taken."""


def calibrate(workflow: Workflow, sample: str) -> Calibration:
    """Run all stages but the report on a crop of a sample's first time point, with its own settings, one thread.

    Raises:
        UserError: the crop cannot be read or processed.
    """
    plan = workflow.plans[sample]
    limit = NETWORK_CROP if plan.model is not None else CROP
    shape = triple([min(n, m) for n, m in zip(plan.grid.shape, limit, strict=True)])
    with tempfile.TemporaryDirectory(prefix="bigseg-calibration-") as folder:
        roles = dict(_crops(workflow, sample, shape, Path(folder)))
        with contextlib.redirect_stderr(io.StringIO()):  # the progress of each step
            # A first run, so that what is imported is not taken for what a voxel costs.
            _run(workflow, roles, Path(folder) / "first", shape)
            crop, seconds, device = _run(workflow, roles, Path(folder) / "second", shape)
        stored = _stored(crop)
    identity = calibration_identity(workflow.config, plan)
    return Calibration(identity=identity, seconds_per_mvox=seconds, bytes_per_voxel=stored, device=device)


def _run(
    workflow: Workflow, roles: dict[str, dict[str, Any]], folder: Path, shape: Triple
) -> tuple[Workflow, dict[str, float], str]:
    """Run the crop: its workflow, CPU seconds per million voxels of each step, and the device of a network."""
    settings = workflow.config.model_dump(mode="json")
    settings |= {
        "samples": {"crop": roles},
        "results": str(folder / "results"),
        "work": str(folder / "work"),
        "blocks": {"block_shape": list(shape)},
        "execution": {**settings["execution"], "threads": 1, "batches": 1},
    }
    settings["pyramid"]["smallest"] = max(1, max(shape) // 2)
    settings["partition"]["levels"] = 0
    if settings["supervoxels"]["halo"] != "auto":
        halo = settings["supervoxels"]["halo"]
        settings["supervoxels"]["halo"] = [min(h, n) for h, n in zip(halo, shape, strict=True)]
    crop = Workflow(settings, "calibration")
    plan = crop.plans["crop"]
    seconds: dict[str, float] = {}
    for name, sample, when, batch in crop.jobs():
        if name.startswith("report."):
            continue
        step = crop.step(name, sample, when)
        started = time.process_time()
        run_unit(step, batch, 1, plan.machine)
        voxels = voxels_read(plan, step)
        if voxels:
            seconds[cost_name(name)] = (time.process_time() - started) / voxels * 1e6
    return crop, seconds, _device(plan.machine.device) if plan.model is not None else "cpu"


def _crops(workflow: Workflow, sample: str, shape: Triple, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The crop of each volume of a sample as a Zarr, and what to write of it into a configuration."""
    import numpy as np
    import zarr

    from bigseg.volumes.source import open_source

    plan = workflow.plans[sample]
    box: Box | None = None
    for role in ROLES:
        spec: Input | None = getattr(plan.sample, role)
        if spec is None:
            continue
        with open_source(spec) as source:
            time, channels = plan.times[0], range(source.header.number_of_channels)
            if box is None:  # the image comes first
                boxes = [_box(plan.grid.shape, shape, place) for place in _PLACES]
                box = max(boxes, key=lambda where: float(np.std(source.read(time, 0, where))))
            found: np.ndarray = np.stack([source.read(time, channel, box) for channel in channels])
        path = folder / f"{role}.zarr"
        chunks = (1, *(min(n, _CHUNK) for n in shape))
        zarr.create_array(str(path), shape=found.shape, chunks=chunks, dtype=found.dtype)[...] = found
        used = spec.model_dump(exclude={"path", "key", "axes", "files_along"}, exclude_none=True)
        yield role, {**used, "path": str(path), "axes": "czyx", "voxel_size_um": list(plan.voxel_size_um)}


def _box(volume: Triple, shape: Triple, place: tuple[float, float, float]) -> Box:
    """A box of a shape in a volume, around a place."""
    begin = triple([int((n - s) * p) for n, s, p in zip(volume, shape, place, strict=True)])
    return Box(begin, triple([b + s for b, s in zip(begin, shape, strict=True)]))


def _stored(crop: Workflow) -> dict[str, float]:
    """Bytes on disk per voxel, by what is stored."""
    plan = crop.plans["crop"]
    layout, voxels = plan.layout, plan.grid.box(0).size
    image = plan.header.number_of_channels * itemsize(plan.header.dtype)
    computed = plan.sample.segmentation is None
    tables = [path.stat().st_size for path in layout.folder.rglob("*.parquet")]
    return {
        "image": _size(layout.image()) / voxels / image,
        "maps": _size(layout.boundary_map.parent) / voxels if computed else 0.0,
        "supervoxels": _size(layout.supervoxels.parent) / voxels if computed else 0.0,
        "labels": _size(layout.labels()) / voxels,
        "tables": sum(max(0, size - BYTES_PER_FILE) for size in tables) / voxels,
    }


def _size(folder: Path) -> int:
    if not folder.exists():
        raise UserError(f"{folder}: was not written", "report this as a bug")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _device(wanted: str) -> str:
    """The device that networks ran on."""
    import torch

    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"
