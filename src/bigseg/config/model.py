"""What all configuration models share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of every configuration model: unknown keys are refused, values are not coerced, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Percentiles = Annotated[list[Annotated[float, Field(ge=0, le=100)]], Field(min_length=2, max_length=2)]
"""Lower and upper one."""
Index = Annotated[int, Field(ge=0)]
"""Of a channel or time point, counted from 0."""
Channels = Annotated[list[Index], Field(min_length=1)]
Shape = Annotated[list[PositiveInt], Field(min_length=3, max_length=3)]
"""(z, y, x) in voxels."""
Margin = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=3, max_length=3)]
"""(z, y, x) in voxels, 0 where there is none along an axis; also the first voxel of a part of a volume."""
Offset = Annotated[list[int], Field(min_length=3, max_length=3)]
"""(z, y, x) in voxels."""
Offsets = Annotated[list[Offset], Field(min_length=1)]
VoxelSize = Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)]
"""(z, y, x) in µm."""
