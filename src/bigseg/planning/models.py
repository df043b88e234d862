"""What planning knows of a network: its description, cached like the headers of images, and whether it fits.

Reading a model takes torch, which planning must not import; where the cache does not know a model, another process
reads it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigseg.errors import UserError, concerning
from bigseg.networks.description import ModelDescription, ModelSpec, read_description
from bigseg.networks.settings import channels_of, outputs_of
from bigseg.resume.files import write_json
from bigseg.volumes.signature import files_signature

if TYPE_CHECKING:
    from bigseg.config.stages import Predict
    from bigseg.planning.sample import SamplePlan

_FORMAT = 3
"""To be raised whenever models are described in another way, so that cached descriptions are made anew."""


def find_model(settings: Predict, cache: Path) -> ModelDescription | None:
    """The description of ``predict.model``; None where no network is used.

    Raises:
        UserError: the model is missing, damaged, or cannot be used.
    """
    if settings.method != "network" or settings.model is None:
        return None
    spec = ModelSpec(path=settings.model, settings=settings.model_settings)
    known = _read_cache(cache)
    if known is not None and known["identity"] == _identity(spec, known["description"].files):
        description: ModelDescription = known["description"]
        return description
    with concerning("predict.model"):
        description = _describe(spec)
    identity = _identity(spec, description.files)
    write_json(cache, {"identity": identity, "description": description.model_dump(mode="json")})
    return description


def check_model(model: ModelDescription, plan: SamplePlan, settings: Predict) -> None:
    """Refuse a model that does not fit the image.

    Raises:
        UserError: channels, axes, voxel size or patch do not fit.
    """
    name, channels = plan.name, channels_of(settings)
    outputs_of(model, settings)
    if len(channels) != model.in_channels:
        raise UserError(
            f"predict.channels: {model.origin} takes {model.in_channels} channels, it is given {len(channels)} "
            f"({channels})",
            "list the image channels that it takes in predict.channels",
        )
    if max(channels) >= plan.header.number_of_channels:
        raise UserError(
            f"predict.channels: {max(channels)} is not a channel of {plan.sample.input.path}, "
            f"which has {plan.header.number_of_channels}",
            f"channels are counted from 0; the last one is {plan.header.number_of_channels - 1}",
        )
    if model.dims == 3 and plan.grid.shape[0] == 1:
        raise UserError(
            f"predict.model: {model.origin} is a 3D network, sample {name!r} is a single plane",
            "use a 2D network, or correct `axes`",
        )
    if model.voxel_size_um is not None and plan.header.voxel_size_um is not None:
        factors = [a / b for a, b in zip(plan.header.voxel_size_um, model.voxel_size_um, strict=True)]
        worst = max(max(f, 1 / f) for f in factors)
        if worst > settings.voxel_size_tolerance:
            raise UserError(
                f"predict.model: {model.origin} was trained on voxels of {list(model.voxel_size_um)} µm (z, y, x), "
                f"sample {name!r} has {list(plan.header.voxel_size_um)}: a factor of {worst:.3g}",
                "use a network for this resolution, resample the image, correct voxel_size_um, or raise "
                "predict.voxel_size_tolerance",
            )
    turned = settings.augment == "rotations"
    if turned and (model.divisibility[1] != model.divisibility[2] or model.fixed_shape[1] != model.fixed_shape[2]):
        raise UserError(
            f"predict.augment: {model.origin} treats y and x differently, so it cannot be given turned images",
            "set predict.augment to flips",
        )
    too_far = [(m, n) for m, n in zip(settings.mirror, plan.grid.shape, strict=True) if m >= max(2, n)]
    if too_far:
        raise UserError(
            f"predict.mirror: {settings.mirror} is more than the volume {list(plan.grid.shape)} of sample {name!r} has",
            "give less than its shape",
        )
    if isinstance(settings.patch, list):
        _check_patch(settings.patch, model)


def _check_patch(patch: list[int], model: ModelDescription) -> None:
    legal = [-(-n // d) * d for n, d in zip(patch, model.divisibility, strict=True)]
    if legal != patch:
        raise UserError(
            f"predict.patch: {patch} is no multiple of the network's divisibility {list(model.divisibility)}",
            f"set it to {legal}, or to auto",
        )
    fixed = [(p, f) for p, f in zip(patch, model.fixed_shape, strict=True) if f is not None and p > f]
    if fixed:
        raise UserError(
            f"predict.patch: {patch} is larger than the size that {model.origin} takes, {list(model.fixed_shape)}",
            "set it to auto",
        )


def _describe(spec: ModelSpec) -> ModelDescription:
    """Ask another process."""
    command = [sys.executable, "-m", "bigseg.networks.describe", spec.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    lines = done.stdout.strip().splitlines()
    try:
        answer: dict[str, Any] = json.loads(lines[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise UserError(
            f"{spec.path} cannot be loaded ({last})", "check that torch and onnxruntime are installed"
        ) from None
    if "problem" in answer:
        raise UserError(answer["problem"], answer["remedy"])
    return ModelDescription.model_validate(answer)


def _identity(spec: ModelSpec, files: tuple[str, ...]) -> dict[str, Any] | None:
    try:
        signature = files_signature([Path(file) for file in files])
    except UserError:
        return None
    return {"format": _FORMAT, "spec": spec.model_dump(), "signature": signature}


def _read_cache(cache: Path) -> dict[str, Any] | None:
    """The cache, or nothing if it is missing or damaged: it can always be made anew."""
    described = read_description(cache)
    try:
        identity = json.loads(cache.read_text(encoding="utf-8"))["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if described is None else {"identity": identity, "description": described}
