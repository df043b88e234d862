"""Configurations of pytorch-3dunet: which network, and how its input is normalised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bigseg.errors import UserError
from bigseg.networks.description import Operation

_NO_EFFECT = ("ToTensor",)


def read_settings(path: Path) -> dict[str, Any]:
    """A YAML file.

    Raises:
        UserError: it is missing or no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({error})", "correct the path or the file") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: is no configuration", "give the configuration that the network was trained with")
    return content


def find_settings(checkpoint: Path) -> Path:
    """The one configuration with a ``model`` section beside a checkpoint.

    Raises:
        UserError: there is none, or more than one.
    """
    found = []
    for path in sorted([*checkpoint.parent.glob("*.yml"), *checkpoint.parent.glob("*.yaml")]):
        try:
            settings = read_settings(path)
        except UserError:
            continue
        if isinstance(settings.get("model"), dict):
            found.append(path)
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise UserError(
            f"{checkpoint}: holds weights only; one YAML file beside it must describe the network, there are: {names}",
            "leave one there, or name it with `model_settings`, where there is this key",
        )
    return found[0]


def preprocessing_of(settings: dict[str, Any], origin: str) -> tuple[Operation, ...]:
    """The normalisation in ``loaders.test.transformer.raw``; 0 mean and unit variance if nothing is said.

    Statistics are those of the whole volume, as in pytorch-3dunet.

    Raises:
        UserError: it names a transform that changes more than intensities.
    """
    loaders = settings.get("loaders") or {}
    section = loaders.get("test") or loaders.get("val") or loaders
    transforms = ((section.get("transformer") or {}).get("raw")) or [{"name": "Standardize"}]
    found: list[Operation] = []
    for transform in transforms:
        name, args = transform.get("name"), transform
        joint = not args.get("channelwise", False)
        if name == "Standardize" and args.get("mean") is not None:
            fixed = {"mean": args["mean"], "std": args["std"]}
            found.append(Operation(name="fixed_zero_mean_unit_variance", args=fixed))
        elif name == "Standardize":
            floor = {"floor": float(args.get("eps", 1e-10))}
            found.append(Operation(name="zero_mean_unit_variance", args=floor, joint=joint))
        elif name == "PercentileNormalizer":
            percents = {"min_percentile": args.get("pmin", 1.0), "max_percentile": args.get("pmax", 99.6), "eps": 1e-10}
            found.append(Operation(name="scale_range", args=percents, joint=joint))
        elif name == "Normalize":
            found += _normalize(args)
        elif name not in _NO_EFFECT:
            raise UserError(
                f"{origin}: the transform {name!r} is not supported for prediction",
                "remove it from loaders.test.transformer.raw",
            )
    return tuple(found)


def _normalize(args: dict[str, Any]) -> list[Operation]:
    """To [-1, 1] or [0, 1], between given intensities or the least and the greatest."""
    low, high = args.get("min_value"), args.get("max_value")
    if (low is None) != (high is None):
        raise UserError("Normalize: give min_value and max_value, or neither", "complete the configuration")
    if low is None or high is None:
        scaled = Operation(name="scale_range", args={"eps": 1e-10}, joint=True)
    else:
        width = float(high) - float(low) + 1e-10
        scaled = Operation(name="scale_linear", args={"gain": 1 / width, "offset": -float(low) / width})
    if args.get("norm01"):
        return [scaled, Operation(name="clip", args={"min": 0.0, "max": 1.0})]
    return [
        scaled,
        Operation(name="scale_linear", args={"gain": 2.0, "offset": -1.0}),
        Operation(name="clip", args={"min": -1.0, "max": 1.0}),
    ]
