"""The part of the report about the energy of a multicut."""

from __future__ import annotations

from dataclasses import dataclass

from bigseg.layout import Layout
from bigseg.volumes.figures import read_figures

_FIGURES = ("energy", "in_core_energy", "relative_gap", "lower_bound")


@dataclass(frozen=True)
class MulticutQuality:
    """A line of the table.

    Attributes:
        time: time point.
        energy: sum of the costs of cut edges; low is good.
        in_core: the energy that one solve of the whole gave; None where the problem is too large for it.
        gap: how much higher ``energy`` is than that, as a share of it; negative is better.
        lower_bound: no partition has a lower energy.
        above_bound: how far the energy is above the bound, as a share of it: at most so much could be gained.
    """

    time: int
    energy: float
    in_core: float | None
    gap: float | None
    lower_bound: float
    above_bound: float


def read_multicuts(layout: Layout, times: list[int]) -> list[MulticutQuality]:
    """What step ``partition.quality`` wrote of each time point.

    Raises:
        UserError: a file is missing or damaged.
    """
    found = []
    for time in times:
        figures = read_figures(layout.multicut_quality(time), _FIGURES)
        energy, in_core, gap, bound = (figures[name] for name in _FIGURES)
        above = (energy - bound) / abs(bound) if bound else 0.0
        found.append(MulticutQuality(time, energy, in_core, gap, bound, above))
    return found
