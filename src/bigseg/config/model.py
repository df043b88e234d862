"""What all configuration models share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of every configuration model: unknown keys are refused, values are not coerced, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Shape = Annotated[list[PositiveInt], Field(min_length=3, max_length=3)]
"""(z, y, x) in voxels."""
VoxelSize = Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)]
"""(z, y, x) in µm."""
