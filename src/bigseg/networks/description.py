"""What is known of a model without running it: what planning needs, cached as JSON, and part of every block's key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from bigseg.geometry.box import Triple
from bigseg.networks.reach import Reach

Output = Literal["boundary", "foreground", "affinity", "ignore"]


class ModelSpec(BaseModel):
    """What the user names: where a model lies.

    Attributes:
        path: file, folder or id of the BioImage Model Zoo.
        settings: configuration that describes a checkpoint, where it does not lie beside it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    settings: str | None = None


class Operation(BaseModel):
    """One step of a model's pre- or post-processing, named as in BioImage.IO.

    Known are ``zero_mean_unit_variance`` (``eps``), ``fixed_zero_mean_unit_variance`` (``mean``, ``std``),
    ``scale_range`` (``min_percentile``, ``max_percentile``, ``eps``), ``scale_linear`` (``gain``, ``offset``), ``clip``
    (``min``, ``max``), ``binarize`` (``threshold``), ``sigmoid`` and ``softmax``. ``joint`` says whether the channels
    share their statistics.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    args: dict[str, Any] = {}
    joint: bool = False


class ModelDescription(BaseModel):
    """What a model is; axes are always (z, y, x), a 2D model has length 1 along z."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    origin: str
    """What messages call it."""
    source: Literal["pytorch-3dunet", "bioimageio", "torchscript", "onnx"]
    backend: Literal["torch", "torchscript", "onnx"]
    digest: str
    """Fingerprint of weights and of what files tell, not of what was measured: part of the key of each block."""
    files: tuple[str, ...]
    """The files that it is read from; empty for one from the zoo."""
    dims: Literal[2, 3]
    in_channels: int
    out_channels: int
    divisibility: Triple
    before: tuple[tuple[int, ...], ...]
    """Reach per axis and place, see :class:`bigseg.networks.reach.Reach`."""
    after: tuple[tuple[int, ...], ...]
    by_construction: bool
    """Whether the reach follows from the layers; else it was measured by changing voxels."""
    statistics: bool
    """Whether the result depends on the patch (group or instance norm, global pooling)."""
    bytes_per_voxel: float
    """Estimated memory of a forward pass per voxel of a patch."""
    fixed_shape: tuple[int | None, int | None, int | None] = (None, None, None)
    """Lengths that a patch must have."""
    minimum_shape: Triple = (1, 1, 1)
    voxel_size_um: tuple[float, float, float] | None = None
    """Voxel size of the training data, where known."""
    outputs: tuple[Output, ...] | None = None
    """What the output channels are, where the model tells."""
    crest_weight: float = 0.0
    """What ``supervoxels.crest.weight`` is with it, where that is left to it."""
    offsets: tuple[Triple, ...] = ()
    """Offsets (z, y, x) in voxels of the affinity channels, in order."""
    preprocessing: tuple[Operation, ...] = ()
    postprocessing: tuple[Operation, ...] = ()
    architecture: dict[str, Any] | None = None
    """For weights without a network: the architecture's keys."""

    @property
    def reach(self) -> Reach:
        """How far it looks."""
        return Reach(self.before, self.after)

    @property
    def halo(self) -> Triple:
        """How far it looks at most, to either side, rounded up to its divisibility."""
        z, y, x = (-(-h // d) * d for h, d in zip(self.reach.halo, self.divisibility, strict=True))
        return (z, y, x)


def read_description(path: Path) -> ModelDescription | None:
    """The description that planning wrote (``work/<sample>/model.json``); None if it is not there or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return ModelDescription.model_validate_json(json.dumps(content["description"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def with_z(values: tuple[Any, ...], flat: Any) -> tuple[Any, ...]:
    """Values per axis of a model as (z, y, x); ``flat`` stands for z where it has none."""
    return (flat, *values) if len(values) == 2 else values
