"""A model's own pre-processing, with statistics of the whole time point.

Patches that are normalised by themselves show their edges, so statistics are those of the whole image, from its merged
histogram: the order of operations is kept by applying each one to the histogram's values before the next one asks for
statistics. What results are a few numbers per channel, which every block applies alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigseg.errors import UserError
from bigseg.kernels.histogram import mean_and_deviation_of, percentiles_of
from bigseg.networks.description import Operation

Resolved = list[Any]
"""``["affine", gains, offsets]`` with a number per channel, ``["clip", low, high]``, ``["binarize", threshold]``,
``["sigmoid"]`` or ``["softmax"]``: JSON, because it is part of a block's key."""

_STATISTICS = ("zero_mean_unit_variance", "scale_range")
_PLAIN = ("fixed_zero_mean_unit_variance", "scale_linear", "clip", "binarize", "sigmoid", "softmax")


@dataclass(frozen=True)
class Values:
    """The intensities of one channel: distinct values and how often each occurs."""

    values: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray) -> Values:
        """Those of an image in memory."""
        values, counts = np.unique(image, return_counts=True)
        return cls(values.astype(np.float64), counts.astype(np.float64))


def check_operations(operations: Sequence[Operation], origin: str, *, statistics: bool) -> None:
    """Refuse what cannot be done block by block.

    Args:
        operations: the operations.
        origin: what messages call them.
        statistics: whether statistics are known (of the input), or not (of the output).

    Raises:
        UserError: an operation is unknown, or asks for statistics of the whole output.
    """
    for operation in operations:
        if operation.name in _STATISTICS and not statistics:
            raise UserError(
                f"{origin}: {operation.name} needs statistics of the whole output, which is made block by block",
                "remove it from the model's description, if its effect is not wanted",
            )
        if operation.name not in (*_STATISTICS, *_PLAIN):
            raise UserError(f"{origin}: {operation.name} is not supported", "export the model without it")


def resolve(operations: Sequence[Operation], channels: Sequence[Values]) -> list[Resolved]:
    """Operations as steps with numbers.

    Args:
        operations: the operations, in order.
        channels: intensities of each channel of the image; empty where no operation asks for statistics.

    Raises:
        UserError: an image is constant.
    """
    current = list(channels)
    count = max(1, len(current))
    steps: list[Resolved] = []
    for operation in operations:
        step = _step(operation, _pooled(current) if operation.joint else current, count)
        steps.append(step)
        current = [
            Values(
                apply_steps(c.values[None, None, None].astype(np.float64), [_of_channel(step, i)])[0, 0, 0], c.counts
            )
            for i, c in enumerate(current)
            if step[0] != "softmax"
        ]
    return steps


def apply_steps(image: np.ndarray, steps: Sequence[Resolved]) -> np.ndarray:
    """Apply steps to an image (c, z, y, x); float32 unless the image is float64."""
    result = image.astype(np.float64 if image.dtype == np.float64 else np.float32)
    for kind, *arguments in steps:
        if kind == "affine":
            gain, offset = (np.asarray(a, result.dtype).reshape(-1, 1, 1, 1) for a in arguments)
            np.multiply(result, gain, out=result)
            np.add(result, offset, out=result)
        elif kind == "clip":
            low, high = arguments
            np.clip(result, low, high, out=result)
        elif kind == "binarize":
            result = (result > arguments[0]).astype(result.dtype)
        elif kind == "sigmoid":
            result = 1 / (1 + np.exp(np.negative(result)))
        else:
            result = np.exp(result - result.max(axis=0, keepdims=True))
            result /= result.sum(axis=0, keepdims=True)
    return result


def _step(operation: Operation, channels: Sequence[Values], count: int) -> Resolved:
    name, args = operation.name, operation.args
    if name == "zero_mean_unit_variance":
        moments = [_moments(c) for c in channels]
        scales = [max(s, args["floor"]) if "floor" in args else s + args.get("eps", 1e-6) for _, s in moments]
        return _affine([(1 / s, -m / s) for (m, _), s in zip(moments, scales, strict=True)], count)
    if name == "scale_range":
        percents = (args.get("min_percentile", 0.0), args.get("max_percentile", 100.0))
        eps = args.get("eps", 1e-6)
        ranges = [_percentiles(c, percents) for c in channels]
        return _affine([(1 / (high - low + eps), -low / (high - low + eps)) for low, high in ranges], count)
    if name == "fixed_zero_mean_unit_variance":
        pairs = zip(_per_channel(args["mean"]), _per_channel(args["std"]), strict=True)
        return _affine([(1 / s, -m / s) for m, s in pairs], count)
    if name == "scale_linear":
        gains, offsets = _per_channel(args.get("gain", 1.0)), _per_channel(args.get("offset", 0.0))
        longest = max(len(gains), len(offsets))
        return _affine(list(zip(_repeat(gains, longest), _repeat(offsets, longest), strict=True)), count)
    if name == "clip" and ("min_percentile" in args or "max_percentile" in args):
        if len(channels) != 1:
            raise UserError("clip to percentiles is supported for one channel only", "export the model without it")
        low, high = _percentiles(channels[0], (args.get("min_percentile", 0.0), args.get("max_percentile", 100.0)))
        return ["clip", low, high]
    if name == "clip":
        return ["clip", args.get("min"), args.get("max")]
    if name == "binarize":
        return ["binarize", args["threshold"]]
    return [name]


def _affine(pairs: Sequence[tuple[float, float]], count: int) -> Resolved:
    full = list(pairs) * count if len(pairs) == 1 else list(pairs)
    return ["affine", [float(g) for g, _ in full], [float(o) for _, o in full]]


def _of_channel(step: Resolved, channel: int) -> Resolved:
    if step[0] != "affine":
        return step
    return ["affine", [step[1][channel % len(step[1])]], [step[2][channel % len(step[2])]]]


def _moments(channel: Values) -> tuple[float, float]:
    mean, deviation = mean_and_deviation_of(channel.values, channel.counts)
    if deviation == 0:
        raise UserError(
            f"the image is constant ({mean:g}), so it cannot be normalised", "check that `key` and `channel` are right"
        )
    return mean, deviation


def _percentiles(channel: Values, percents: Sequence[float]) -> tuple[float, float]:
    order = np.argsort(channel.values, kind="stable")
    low, high = percentiles_of(channel.values[order], channel.counts[order], percents)
    if low == high:
        raise UserError(
            f"the percentiles {list(percents)} of the image are the same intensity, {low:g}",
            "check that `key` and `channel` are right, or set `normalise` to standardise",
        )
    return low, high


def _pooled(channels: Sequence[Values]) -> list[Values]:
    if len(channels) < 2:
        return list(channels)
    return [Values(np.concatenate([c.values for c in channels]), np.concatenate([c.counts for c in channels]))]


def _per_channel(value: Any) -> list[float]:
    return [float(v) for v in value] if isinstance(value, (list, tuple)) else [float(value)]


def _repeat(values: list[float], count: int) -> list[float]:
    return values * count if len(values) == 1 else values
