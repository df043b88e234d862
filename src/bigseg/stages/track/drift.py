"""How far the whole moves from one time point to the next."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from bigseg.geometry.box import Box, Triple, triple
from bigseg.geometry.grid import Grid
from bigseg.geometry.levels import pyramid_levels
from bigseg.resume.digest import digest_json
from bigseg.stages.step import (
    Need,
    Outcome,
    Parameters,
    WholeStep,
    image_parameters,
)
from bigseg.stages.track.settings import VERSION, PairStep, largest_shift, movie_parameters
from bigseg.volumes.figures import holds_figures, read_figures

if TYPE_CHECKING:
    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record

_MOST_VOXELS = 1 << 23
"""Voxels of the level of the pyramid on which the drift is looked for: some 0.5 GB of Fourier transforms."""


class TrackDrift(PairStep, WholeStep):
    """Estimate the drift on a coarse level of the image."""

    stage, step, version = "track", "drift", VERSION
    passing = ("track/*/drift.json",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The level of the pyramid, and what is looked for."""
        levels = pyramid_levels(plan.grid.shape, plan.voxel_size_um, config.pyramid.smallest)
        number = next((n for n, level in enumerate(levels) if prod(level.shape) <= _MOST_VOXELS), len(levels) - 1)
        return {
            **movie_parameters(plan),
            **(image_parameters(config, plan) if number == 0 else {}),
            "level": number,
            "level_shape": list(levels[number].shape),
            "scale": list(levels[number].scale),
            "block_shape": list(plan.grid.block_shape),
            "channel": config.predict.channel,
            "axes": "tczyx",
            "largest_shift": list(largest_shift(config, plan)),
        }

    def needs(self, piece: int) -> list[Need]:
        """The level of the image at both time points."""
        level = self.parameters["level"]
        grid = Grid(triple(self.parameters["level_shape"]), triple(self.parameters["block_shape"]))
        step = f"pyramid.image{level}" if level else "ingest.blocks"
        blocks = range(grid.number_of_blocks)
        return [Need(step, blocks, len(blocks), time=time) for time in (self.previous, self.time)]

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the estimate is still there."""
        return holds_figures(self.layout.drift(self.time), record.digest)

    def process(self, piece: int) -> Outcome:
        """Read both time points and write the drift in voxels of the full resolution."""
        from bigseg.kernels.drift import estimate_drift
        from bigseg.resume.files import write_json
        from bigseg.volumes.image import open_coarse_image, open_image

        level, shape = self.parameters["level"], triple(self.parameters["level_shape"])
        image = open_coarse_image(self.layout, level) if level else open_image(self.layout, self.parameters, shape)
        whole = Box((0, 0, 0), shape)
        channel = self.parameters["channel"]
        before, after = (image.read(time, channel, whole) for time in (self.previous, self.time))
        scale = self.parameters["scale"]
        largest = [int(-(-n // s)) for n, s in zip(self.parameters["largest_shift"], scale, strict=True)]
        found = estimate_drift(before, after, triple(largest))
        drift = [round(float(d) * s, 3) for d, s in zip(found, scale, strict=True)]
        write_json(self.layout.drift(self.time), drift)
        return Outcome(digest_json(drift), {"drift": drift})

    def rehash(self, piece: int, record: Record) -> str:
        """The estimate."""
        return digest_json(read_figures(self.layout.drift(self.time)))


def read_drift(step: PairStep) -> tuple[float, float, float]:
    """The drift (z, y, x) in voxels from the time point before to that of a step; 0 where none is looked for."""
    if not any(step.parameters["largest_shift"]):
        return (0.0, 0.0, 0.0)
    z, y, x = read_figures(step.layout.drift(step.time))
    return float(z), float(y), float(x)


def whole_voxels(drift: tuple[float, float, float]) -> Triple:
    """The drift rounded to whole voxels."""
    return triple([round(d) for d in drift])
