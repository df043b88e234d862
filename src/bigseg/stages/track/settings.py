"""What the steps of tracking have in common: their method, their version, and which time point is before which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from bigseg.geometry.box import Triple, triple
from bigseg.stages.step import Parameters, Step

if TYPE_CHECKING:
    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan

VERSION = 4
"""Of all steps of the stage: to be raised with every change of a kernel that changes tracks."""

NESTED = ("joint",)
"""Methods that choose among nested candidates."""

OF_FRAGMENTS = ("joint", "volume")
"""Methods that look at contacts of objects within a time point, and join what is one."""


def is_tracked(config: Config, plan: SamplePlan) -> bool:
    """Whether the sample is a movie whose objects are to be tracked."""
    return config.track.method != "none" and len(plan.times) > 1


def largest_shift(config: Config, plan: SamplePlan) -> Triple:
    """The largest drift (z, y, x) in voxels that is looked for from one time point to the next."""
    if not config.track.drift:
        return (0, 0, 0)
    reach = config.track.maximum_drift_um
    return triple(
        [
            0 if n == 1 else min(n - 1, round(reach / s))
            for n, s in zip(plan.grid.shape, plan.voxel_size_um, strict=True)
        ]
    )


def movie_parameters(plan: SamplePlan) -> Parameters:
    """The time points; steps name ``times`` in ``looked_up_by``, because one more changes nothing about the others."""
    return {"times": list(plan.times)}


class PairStep(Step):
    """A step on a time point and the one before it; none for the first."""

    looked_up_by: ClassVar[tuple[str, ...]] = ("times",)

    @classmethod
    def times_of(cls, times: Sequence[int]) -> Sequence[int]:
        """All time points but the first."""
        return times[1:]

    @property
    def previous(self) -> int:
        """The time point before, which is not always the one with the number before."""
        times: list[int] = self.parameters["times"]
        return times[times.index(self.time) - 1]

    @property
    def gap(self) -> int:
        """1, or more where time points between the two are missing."""
        return self.time - self.previous
