"""Where the data lie: ``samples`` in the configuration."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from bigseg.config.model import Settings, VoxelSize

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

    @field_validator("axes")
    @classmethod
    def _axes(cls, axes: str | None) -> str | None:
        if axes is None:
            return None
        if not re.fullmatch("[tczyx]+", axes) or len(set(axes)) != len(axes) or not {"y", "x"} <= set(axes):
            raise ValueError("allowed are distinct letters from tczyx that include y and x, e.g. zyx")
        return axes


class Sample(Settings):
    """One data set; all samples are processed in one run."""

    input: Input = Field(description="The image.")
    truth: Input | None = Field(
        default=None, description="A label volume of the same shape to score against (stage `evaluate`)."
    )
    mask: Input | None = Field(
        default=None, description="A volume of the same shape; supervoxels are made only where it is not 0."
    )
    times: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = Field(
        default=None, description="Time points to process, counted from 0. All if left out."
    )

    @field_validator("times")
    @classmethod
    def _times(cls, times: list[int] | None) -> list[int] | None:
        if times is not None and sorted(set(times)) != times:
            raise ValueError("allowed are distinct time points in ascending order")
        return times


def owner(sample: Sample) -> dict[str, str | None]:
    """What a result says of the run that it belongs to."""
    return {"input": sample.input.path, "key": sample.input.key}
