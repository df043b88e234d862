"""A finished sample on disk, as the stages before ``report`` leave it, made without running them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import zarr
from seam_checks import count

from bigseg.config import validate_config
from bigseg.geometry.levels import pyramid_levels
from bigseg.kernels.downsample import mean_pool, mode_pool
from bigseg.kernels.objects import measure_block, merge_measurements, object_table
from bigseg.kernels.seam_summary import summarise
from bigseg.layout import Layout
from bigseg.planning.sample import plan_sample
from bigseg.resume.files import write_json
from bigseg.resume.ledger import Ledger, Record
from bigseg.stages.report import ReportPage
from bigseg.volumes.tables import write_table

SCORES = {
    "voi_split": 0.25,
    "voi_merge": 0.125,
    "adapted_rand_error": 0.0625,
    "ap50": 0.75,
    "n_result": 7,
    "n_truth": 8,
}


@dataclass
class Sample:
    """A finished sample."""

    layout: Layout
    parameters: dict[str, Any]
    objects: dict[str, np.ndarray] = field(default_factory=dict)

    def step(self) -> ReportPage:
        """The step under test."""
        return ReportPage(self.parameters, self.layout, 0)

    def page(self) -> str:
        """The page as text."""
        return (self.layout.result_folder / "report.html").read_text(encoding="utf-8")

    def record(self, stage: str, time: int | None, unit: str, *records: Record) -> None:
        """Append to a ledger."""
        ledger = Ledger(self.layout.ledger(stage, time, unit))
        for record in records:
            ledger.append(record)
        ledger.close()


def cells(shape: tuple[int, int, int, int], size: tuple[int, int, int] = (4, 16, 16)) -> np.ndarray:
    """Cuboid cells (t, z, y, x) uint64 that tile the volume, with ids like bigseg's."""
    _, depth, height, width = shape
    z, y, x = np.ogrid[:depth, :height, :width]
    column, row, layer = x // size[2], y // size[1], z // size[0]
    ids = (layer * 100 + row * 10 + column + 1).astype(np.uint64) + np.uint64(3 << 32)
    return np.broadcast_to(ids, shape).copy()


def finished_sample(
    folder: Path,
    labels: np.ndarray,
    voxel_size_um: tuple[float, float, float] = (1.0, 1.0, 1.0),
    *,
    scored: bool = False,
    boundary: bool = True,
    parents: dict[int, int] | None = None,
    **settings: dict[str, Any],
) -> Sample:
    """Write image, labels, boundary map, pyramid, table and, if asked for, truth and scores.

    Args:
        folder: an empty folder.
        labels: (t, z, y, x) uint64.
        voxel_size_um: (z, y, x).
        scored: whether there is a truth, here the labels themselves.
        boundary: whether the work folder still holds the boundary map.
        parents: of a tracked movie, whose labels are tracks from 1 on, the track that divided into another one.
        settings: sections of the configuration.
    """
    raw = np.random.default_rng(0).integers(0, 255, labels.shape, np.uint8)
    source = folder / "cells & more.h5"
    with h5py.File(source, "w") as file:
        file["raw"], file["truth"] = raw, labels
    place = {"path": str(source), "axes": "tzyx", "voxel_size_um": list(voxel_size_um)}
    sample: dict[str, Any] = {"input": {**place, "key": "raw"}}
    if scored:
        sample["truth"] = {**place, "key": "truth"}
    folders = {"results": str(folder / "results"), "work": str(folder / "work")}
    if parents is None:
        settings = {"track": {"method": "none"}, **settings}
    config = validate_config({"samples": {"cells": sample}, **folders, **settings}, "config.yaml")
    plan = plan_sample(config, "cells")
    made = Sample(plan.layout, json.loads(json.dumps(ReportPage.resolve(config, plan))))

    image, coarse = list(raw), list(labels)
    for number, level in enumerate(pyramid_levels(labels.shape[1:], voxel_size_um, config.pyramid.smallest)):
        if number:
            image = [mean_pool(volume, level.factor) for volume in image]
            coarse = [mode_pool(volume, level.factor) for volume in coarse]
        _write(made.layout.image(number), [volume[None] for volume in image])
        _write(made.layout.labels(number), coarse)
        if parents is not None:
            _write(made.layout.tracks(number), [volume.astype(np.uint32) for volume in coarse])
    if boundary:
        _write(made.layout.boundary_map, list(raw))
    parts = [
        object_table(merge_measurements([measure_block(volume, seen, (0, 0, 0))]), time, volume.shape, voxel_size_um)
        for time, (volume, seen) in enumerate(zip(labels, raw, strict=True))
    ]
    table = pd.concat(parts, ignore_index=True)
    columns = {str(name): column.to_numpy() for name, column in table.items()}
    made.objects = columns
    write_table(made.layout.result_folder / "objects.parquet", columns)
    if parents is not None:
        write_table(made.layout.result_folder / "tracks.parquet", tracks_table(columns, parents))
    if scored:
        write_json(made.layout.scores, SCORES)
    if plan.grid.number_of_blocks > 1:
        tables = [(time, count(volume, volume if scored else None, plan.grid)) for time, volume in enumerate(labels)]
        write_json(made.layout.seams, summarise(plan.grid, 8, 8, tables))
    return made


def tracks_table(objects: dict[str, np.ndarray], parents: dict[int, int]) -> dict[str, np.ndarray]:
    """``tracks.parquet`` of a movie whose objects are named by their tracks, from columns of ``objects.parquet``."""
    order = np.lexsort((objects["object"], objects["time"]))
    time, track = objects["time"][order].astype(np.int32), objects["object"][order].astype(np.uint32)
    span = pd.DataFrame({"time": time, "track": track}).groupby("track")["time"].agg(["min", "max"]).loc[track]
    parent = np.array([parents.get(int(number), 0) for number in track], np.uint32)

    def generation(number: int) -> int:
        return 1 + generation(parents[number]) if number in parents else 0

    return {
        "time": time,
        "object": objects["object"][order],
        "track": track,
        "parent": parent,
        "generation": np.array([generation(int(number)) for number in track], np.uint16),
        "start": span["min"].to_numpy(np.int32),
        "end": span["max"].to_numpy(np.int32),
        **{f"{axis}_um": objects[f"centroid_{axis}_um"][order] for axis in "zyx"},
        "volume_um3": objects["volume_um3"][order],
    }


def _write(path: Path, volumes: list[np.ndarray]) -> None:
    """An array of the stacked volumes of all time points; as in all arrays of bigseg, a chunk holds one time point."""
    stacked = np.stack(volumes)
    chunks = (1, *stacked.shape[1:])
    zarr.create_array(str(path), shape=stacked.shape, dtype=stacked.dtype, chunks=chunks)[:] = stacked
