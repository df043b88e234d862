"""One sample as the workflow sees it: files, shapes, blocks and time points."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from bigseg.config import Config
from bigseg.config.samples import Input, Sample, owner
from bigseg.errors import UserError
from bigseg.geometry.box import Triple
from bigseg.geometry.grid import Grid
from bigseg.geometry.sampling import relative_sampling
from bigseg.layout import Layout
from bigseg.machine import Machine
from bigseg.networks.description import ModelDescription
from bigseg.planning.blocks import choose_shapes, number_of_batches
from bigseg.planning.evidence import check_evidence
from bigseg.planning.headers import sample_headers
from bigseg.planning.models import check_model, find_model
from bigseg.resume.files import write_json
from bigseg.stages.supervoxels.settings import foreground_parameters
from bigseg.stages.track.settings import OF_FRAGMENTS
from bigseg.tracks.ctc import check_lineage_file
from bigseg.volumes.chunk_files import times_without_chunks
from bigseg.volumes.header import OmeZarrLevel, VolumeHeader
from bigseg.volumes.label_files import default_key
from bigseg.volumes.reference import v3_header


@dataclass(frozen=True)
class SamplePlan:
    """What is known of a sample before anything runs.

    Attributes:
        name: key in ``samples``.
        sample: its configuration.
        header: header of the image.
        grid: grid of blocks.
        chunk_shape: chunks (z, y, x).
        batches: jobs per stage and time point.
        times: time points to process.
        voxel_size_um: (z, y, x); 1 µm cubes where nothing tells.
        layout: where its files lie.
        skipped: time points that are left out because they are missing or cannot be read, and why.
        model: the network that predicts, None where none does.
        machine: what jobs run on.
    """

    name: str
    sample: Sample
    header: VolumeHeader
    grid: Grid
    chunk_shape: Triple
    batches: int
    times: tuple[int, ...]
    voxel_size_um: tuple[float, float, float]
    layout: Layout
    model: ModelDescription | None = None
    skipped: dict[int, str] = field(default_factory=dict)
    machine: Machine = field(default_factory=Machine)

    @property
    def sampling(self) -> tuple[float, float, float]:
        """Voxel size (z, y, x) relative to the finest axis; an axis of one voxel does not count."""
        return relative_sampling(self.voxel_size_um, self.grid.shape)

    @property
    def referenced(self) -> bool:
        """Whether the image is an OME-Zarr that is used where it lies; its chunks are no larger than a block."""
        level = self.header.ome_zarr
        if level is None or self.header.chunk_shape is None or "z" not in level.axes or not _linkable(level):
            return False
        fits = zip(self.header.chunk_shape, self.grid.block_shape, strict=True)
        return all(chunk <= max(block, 64) for chunk, block in fits)


def plan_sample(config: Config, name: str) -> SamplePlan:
    """Look at the files of a sample and cut it into blocks.

    Raises:
        UserError: a file is missing or unreadable, shapes do not fit, a time point does not exist, or the result's
            place is taken.
    """
    sample = _with_keys(name, config.samples[name])
    layout = Layout(Path(config.results), Path(config.work), name)
    _check_owner(layout, sample)
    for key in ("results", "work"):
        _check_writable(key, Path(getattr(config, key)))
    _check_work(layout)
    headers = sample_headers(name, sample, layout.folder / "headers.json")
    header = headers["input"]
    if sample.truth_lineage is not None:
        check_lineage_file(Path(sample.truth_lineage), f"samples.{name}.truth_lineage")
    block_shape, chunk_shape = choose_shapes(name, header.volume_shape, config.blocks)
    if sample.segmentation is None:
        _check_halo(name, config.supervoxels.halo, header.volume_shape)
        check_evidence(name, sample, config.partition.method, block_shape)
    times = tuple(sample.times) if sample.times is not None else tuple(range(header.number_of_times))
    if times[-1] >= header.number_of_times:
        raise UserError(
            f"samples.{name}.times: {times[-1]} is not a time point of {sample.input.path}, "
            f"which has {header.number_of_times}",
            f"time points are counted from 0; the last one is {header.number_of_times - 1}",
        )
    skipped = _missing_times(name, sample, headers, times)
    times = tuple(time for time in times if time not in skipped)
    if sample.segmentation is not None and len(times) > 1 and config.track.method in OF_FRAGMENTS:
        raise UserError(
            f"track.method: {config.track.method} joins objects by the boundaries between them, which sample {name!r} "
            "with its `segmentation` has none of",
            "choose track.method program or greedy, or leave out segmentation",
        )
    if config.predict.channel >= header.number_of_channels:
        raise UserError(
            f"predict.channel: {config.predict.channel} is not a channel of {sample.input.path}, "
            f"which has {header.number_of_channels}",
            f"channels are counted from 0; the last one is {header.number_of_channels - 1}",
        )
    batches = config.execution.batches
    plan = SamplePlan(
        name=name,
        sample=sample,
        header=header,
        grid=Grid(header.volume_shape, block_shape),
        chunk_shape=chunk_shape,
        batches=number_of_batches(header.volume_shape) if batches == "auto" else batches,
        times=times,
        voxel_size_um=header.voxel_size_um or (1.0, 1.0, 1.0),
        layout=layout,
        model=find_model(config.predict, layout.model) if sample.segmentation is None else None,
        skipped=skipped,
        machine=Machine(
            config.execution.threads,
            config.execution.device,
            config.execution.network_memory_gb,
            config.execution.compile,
        ),
    )
    if plan.model is not None:
        check_model(plan.model, plan, config.predict)
    if sample.segmentation is None:
        foreground_parameters(config, plan)
    return plan


def _missing_times(
    name: str, sample: Sample, headers: dict[str, VolumeHeader], times: tuple[int, ...]
) -> dict[int, str]:
    """The time points to leave out of ``times``, and why.

    Raises:
        UserError: there are such time points and they are not to be skipped, or all would be.
    """
    found: dict[int, str] = {}
    for role, header in headers.items():
        for time in times:
            if time in header.missing_times:
                found.setdefault(time, f"{role}: {header.missing_times[time]}")
    # Of labels and masks a time point may well be empty, and Zarr writes no chunks of it; such an image is no image.
    chunks = headers["input"].chunk_files
    for time in times_without_chunks(chunks, times) if chunks is not None else ():
        found.setdefault(time, f"input: {sample.input.path} holds no chunk of it, all of it would read as one value")
    if not found:
        return {}
    listed = [f"time point {time}: {found[time]}" for time in sorted(found)]
    told = "\n    ".join([f"samples.{name}: {len(found)} of {len(times)} time points cannot be read", *listed])
    if sample.missing_times == "error":
        raise UserError(
            told,
            f"bring the files back, set samples.{name}.missing_times to skip, or list those to process in "
            f"samples.{name}.times",
        )
    if len(found) == len(times):
        raise UserError(told, "bring the files back, or correct the path")
    return dict(sorted(found.items()))


def _with_keys(name: str, sample: Sample) -> Sample:
    """The sample with the datasets of its label volumes named, where the file holds an image beside them."""
    found = {}
    for role in ("segmentation", "truth", "mask", "nuclei", "semantic"):
        spec: Input | None = getattr(sample, role)
        if spec is None or spec.key is not None:
            continue
        path = Path(spec.path)
        if path.is_dir() or path.suffix.lower() in (".h5", ".hdf5", ".hdf"):
            key = default_key(path, f"samples.{name}.{role}.key:")
            found[role] = spec.model_copy(update={"key": key})
    return sample.model_copy(update=found)


def _check_halo(name: str, halo: list[int] | Literal["auto"], volume: Triple) -> None:
    """Refuse a halo larger than the volume, which is a slip of the keyboard or meant for another sample."""
    if halo != "auto" and any(h > n for h, n in zip(halo, volume, strict=True)):
        fitted = [min(h, n) for h, n in zip(halo, volume, strict=True)]
        raise UserError(
            f"supervoxels.halo: {halo} is larger than the volume {list(volume)} of sample {name!r}",
            f"set supervoxels.halo to {fitted}, or to auto",
        )


@cache
def _linkable(level: OmeZarrLevel) -> bool:
    """Whether the array can be made part of the result, which is Zarr v3."""
    if level.zarr_format == 3:
        return True
    try:
        v3_header(json.loads((Path(level.path) / ".zarray").read_text(encoding="utf-8")), level)
    except (OSError, ValueError, KeyError, UserError):
        return False
    return True


def _check_work(layout: Layout) -> None:
    """Refuse intermediates that speak of another result, or of one that is gone."""
    remedy = f"to compute again, delete {layout.folder}; to keep it, choose another `work:` folder"
    record = layout.folder / "results.json"
    if layout.status("ingest").exists() and not layout.result.exists():
        raise UserError(f"{layout.result}: is gone, but {layout.folder} says that it was computed", remedy)
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found is not None and found != str(layout.results):
        raise UserError(f"{layout.folder}: belongs to the results in {found!r}, not to {str(layout.results)!r}", remedy)
    if found is None:
        write_json(record, str(layout.results))


def _check_writable(key: str, folder: Path) -> None:
    """Refuse a folder that could not be made or written, before work is lost."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(
            f"{key}: {folder} cannot be written ({existing} is no folder that you may write to)",
            f"choose another folder with `{key}:`",
        )


def _check_owner(layout: Layout, sample: Sample) -> None:
    """Refuse to write over a result of something else."""
    if not layout.result.exists():
        return
    try:
        content = json.loads((layout.result / "zarr.json").read_text(encoding="utf-8"))
        found = dict(content["attributes"]["bigseg"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{layout.result}: exists already and was not made by bigseg",
            "move it away, or choose another `results:` folder or sample name",
        ) from error
    if found != owner(sample):
        raise UserError(
            f"{layout.result}: belongs to another run, of input {found.get('input')!r} (key {found.get('key')!r})",
            "move it away, or choose another `results:` folder or sample name",
        )
