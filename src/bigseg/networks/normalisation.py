"""How images are normalised where no model tells: the same in training and prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from bigseg.networks.description import Operation

_EPS = 1e-6
"""Added to what is divided by; BioImage.IO demands one that is greater than 0."""


def normalisation(
    kind: Literal["standardise", "percentiles", "none"], percentiles: Sequence[float]
) -> tuple[Operation, ...]:
    """The operations, with statistics of the whole volume.

    Args:
        kind: ``standardise`` to mean 0 and deviation 1, ``percentiles`` to 0 at the lower and 1 at the upper one.
        percentiles: both, in percent.
    """
    if kind == "none":
        return ()
    if kind == "standardise":
        return (Operation(name="zero_mean_unit_variance", args={"eps": _EPS}),)
    low, high = percentiles
    return (Operation(name="scale_range", args={"min_percentile": low, "max_percentile": high, "eps": _EPS}),)
