"""Where the data lie: ``samples`` in the configuration."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from bigseg.config.model import Index, Offsets, Settings, VoxelSize

SAMPLE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"


class Input(Settings):
    """One volume or time-lapse on disk."""

    path: Annotated[str, Field(min_length=1)] = Field(
        description="TIFF, HDF5, Zarr (v2, v3) or OME-Zarr (0.4, 0.5). Several TIFF files: a glob pattern "
        "(`slices/*.tif`), a folder, or a pattern with `{t}`, `{c}`, `{z}` where the file names carry an index "
        "(`embryo_t{t}_c{c}.tif`)."
    )
    key: str | None = Field(
        default=None,
        description="Dataset inside an HDF5 or Zarr container, e.g. `raw`. May be left out if there is only one.",
    )
    axes: str | None = Field(
        default=None,
        description="Order of the axes in the file, from `tczyx`, e.g. `zyx`. Read from metadata if left out.",
    )
    voxel_size_um: VoxelSize | None = Field(
        default=None, description="Voxel size (z, y, x) in µm. Read from metadata if left out."
    )
    files_along: Literal["z", "t", "c"] | None = Field(
        default=None,
        description="What a folder or glob pattern of files counts. Default: `z` for files of one plane, else `t`.",
    )

    def place(self) -> dict[str, Any]:
        """What tells which voxels are read, as JSON: all but their size."""
        return self.model_dump(exclude={"voxel_size_um"})

    @field_validator("axes")
    @classmethod
    def _axes(cls, axes: str | None) -> str | None:
        if axes is None:
            return None
        if not re.fullmatch("[tczyx]+", axes) or len(set(axes)) != len(axes) or not {"y", "x"} <= set(axes):
            raise ValueError("allowed are distinct letters from tczyx that include y and x, e.g. zyx")
        return axes


class Affinities(Input):
    """Affinities: for each channel, how sure it is that a voxel and the one an offset further are of one object."""

    offsets: Offsets = Field(
        description="Offset (z, y, x) in voxels of each channel, e.g. `[[0, -8, 0], [0, 0, -8]]`: the value at a voxel "
        "is about that voxel and the one 8 before it along y or x. Not longer than a block."
    )
    invert: bool = Field(
        default=False, description="True where 1 (255 in uint8) says that two voxels are of different objects."
    )

    @field_validator("offsets")
    @classmethod
    def _offsets(cls, offsets: list[list[int]]) -> list[list[int]]:
        if [0, 0, 0] in offsets:
            raise ValueError("an offset of [0, 0, 0] links a voxel to itself")
        return offsets


class Sample(Settings):
    """One data set; all samples are processed in one run."""

    input: Input = Field(description="The image.")
    segmentation: Input | None = Field(
        default=None,
        description="A label volume of the same shape that is the segmentation (ids stay, 0 is background): nothing is "
        "segmented, `predict` to `partition` do not run. Where there is no image, name the same file as `input`.",
    )
    truth: Input | None = Field(
        default=None, description="A label volume of the same shape to score against (stage `evaluate`)."
    )
    truth_lineage: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="Which true tracks come from which, to score tracks against: a text file of the Cell Tracking "
        "Challenge (`man_track.txt`), a line `L B E P` for each label of the truth: label, first and last time point, "
        "label of the parent or 0. If left out, divisions are found in the labels (`docs/tracking.md`).",
    )
    mask: Input | None = Field(
        default=None, description="A volume of the same shape; supervoxels are made only where it is not 0."
    )
    background: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="Intensity of voxels that hold no data, e.g. 0 where a mosaic was padded: they do not count in the "
        "intensity statistics, and blocks of nothing else, in all channels, get no supervoxels and are skipped.",
    )
    nuclei: Input | None = Field(
        default=None,
        description="An instance map of the same shape with one object per cell, 0 is none. Used with "
        "`partition.method: lifted_multicut` only.",
    )
    semantic: Input | None = Field(
        default=None,
        description="A map of classes of the same shape, 0 is unknown. Used with `partition.method: lifted_multicut` "
        "only.",
    )
    affinities: Affinities | None = Field(
        default=None,
        description="Affinities of the same shape, a channel for each offset, uint8 (0 … 255) or fractions (0 … 1). "
        "Used with `partition.method: lifted_multicut` or `mutex_watershed` only.",
    )
    times: Annotated[list[Index], Field(min_length=1)] | None = Field(
        default=None, description="Time points to process, counted from 0. All if left out."
    )

    missing_times: Literal["error", "skip"] = Field(
        default="error",
        description="Time points that lack a file of a pattern with `{t}`, or have one that cannot be read, or of "
        "which the Zarr of the image holds no chunk at all: `error` names them all before anything runs, `skip` "
        "leaves them out and says so.",
    )

    @model_validator(mode="after")
    def _lineage_of_a_truth(self) -> Self:
        if self.truth_lineage is not None and self.truth is None:
            raise ValueError(f"truth_lineage: {self.truth_lineage!r} is not allowed without truth")
        return self

    @field_validator("times")
    @classmethod
    def _times(cls, times: list[int] | None) -> list[int] | None:
        if times is not None and sorted(set(times)) != times:
            raise ValueError("allowed are distinct time points in ascending order")
        return times


ROLES = ("input", "segmentation", "truth", "mask", "nuclei", "semantic", "affinities")
"""The volumes that a sample may have, by their keys; the image first."""

MAPS_USED: dict[str, tuple[str, ...]] = {
    "lifted_multicut": ("nuclei", "semantic", "affinities"),
    "mutex_watershed": ("affinities",),
}
"""The maps of a sample from which a method of the partition makes lifted edges; other methods use none."""


def evidence_roles(sample: Sample, method: str) -> list[str]:
    """The maps of a sample that a method of the partition uses; they need not be given."""
    return [role for role in MAPS_USED.get(method, ()) if getattr(sample, role) is not None]


def owner(sample: Sample) -> dict[str, str | None]:
    """What a result says of the run that it belongs to."""
    return {"input": sample.input.path, "key": sample.input.key}
