"""The method of the partition with the parameters that it uses, and the number of levels."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from bigseg.config.samples import evidence_roles
from bigseg.errors import UserError
from bigseg.geometry.octree import ONE_JOB, levels_for
from bigseg.stages.step import Parameters

if TYPE_CHECKING:
    from bigseg.config import Config
    from bigseg.kernels.superblock import Objective
    from bigseg.planning.sample import SamplePlan


VERSION = 5
"""Of all steps that solve: to be raised with every change of a kernel that changes a partition."""

LEFT_TO_NEXT_LEVEL = 0.5
"""Share of the nodes of a level that it leaves to the one above; measured by ``make bench-partition``."""

MULTICUTS = ("multicut", "lifted_multicut")
"""Methods whose superblocks look at what lies around them."""


def method_parameters(config: Config, plan: SamplePlan) -> Parameters:
    """The method and the parameters that it uses, no others: an unused one must not run anything again."""
    settings = config.partition
    parameters: Parameters = {
        "blocks_per_axis": list(plan.grid.blocks_per_axis),
        "method": settings.method,
        "beta": settings.beta,
    }
    if settings.method == "gasp":
        parameters["linkage"] = settings.linkage
    if settings.method in MULTICUTS:
        parameters["size_weight"] = settings.size_weight
    if evidence_roles(plan.sample, settings.method):
        parameters["lifted"] = True
    return parameters


def number_of_levels(config: Config, plan: SamplePlan) -> int:
    """Levels of superblocks below the root.

    Raises:
        UserError: the volume needs levels, and the linkage cannot be solved in blocks.
    """
    settings = config.partition
    if settings.levels != "auto":
        return settings.levels
    levels = levels_for(plan.grid.shape, plan.grid.blocks_per_axis)
    if levels and settings.method == "gasp" and settings.linkage == "sum":
        from bigseg.kernels.agglomerate import NOT_REDUCIBLE

        raise UserError(
            f"partition.linkage: sum can only be solved in one job ({NOT_REDUCIBLE['sum']}), and sample {plan.name!r} "
            f"has {prod(plan.grid.shape):,} voxels, more than the {ONE_JOB:,} that one job is meant for",
            "choose partition.linkage mean, max, min or abs_max, or try one large job with partition.levels: 0",
        )
    return levels


def objective(parameters: Parameters) -> Objective:
    """What the kernels are to solve."""
    from bigseg.kernels.superblock import Objective

    match parameters["method"]:
        case "multicut" | "lifted_multicut":
            return Objective("multicut")
        case "mutex_watershed":
            return Objective("abs_max")
        case _:
            # Sums instead of means: they are exact, so equal probabilities give equal weights.
            linkage = parameters["linkage"]
            return Objective(linkage, 1 - parameters["beta"] if linkage == "mean" else 0.0)
