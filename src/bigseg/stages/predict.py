"""Stage ``predict``: the boundary map."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from bigseg.errors import UserError
from bigseg.geometry.box import Triple, triple
from bigseg.geometry.halo import smoothing_halo
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.stages.step import (
    Need,
    Outcome,
    Parameters,
    Step,
    all_stored,
    image_parameters,
    storage_parameters,
    zero_channels,
)

if TYPE_CHECKING:
    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record
    from bigseg.volumes.store import VolumeArray


class PredictBlocks(Step):
    """Method ``intensity``: the smoothed, globally normalised image is the boundary map."""

    stage, step, version = "predict", "blocks", 1

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The settings, with the smoothing per axis in voxels."""
        settings = config.predict.model_dump()
        sigma = settings.pop("sigma")
        per_axis = [round(sigma / s, 6) for s in plan.sampling]
        return {
            **storage_parameters(plan),
            **image_parameters(config, plan),
            **settings,
            "dtype": plan.header.dtype,
            "sigma": per_axis,
            "halo": list(smoothing_halo(per_axis)),
        }

    @property
    def _halo(self) -> Triple:
        return triple(self.parameters["halo"])

    def needs(self, piece: int) -> list[Need]:
        """The image within reach of the smoothing; of the statistics only the two intensities that are used."""
        return [
            Need(
                "ingest.blocks",
                self.grid.neighbourhood(piece, self._halo, self._halo),
                self.grid.number_of_blocks,
            ),
            Need("ingest.statistics", [0], in_key=False),
        ]

    def evidence(self, piece: int) -> str:
        """The intensities that become 0 and 1."""
        return digest_json(self._limits)

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the shard is still there."""
        return all_stored(self, self._store, piece, record)

    def process(self, piece: int) -> Outcome:
        """Read a block with its halo, smooth, scale and write it."""
        from bigseg.kernels.intensity import boundary_map, smooth
        from bigseg.volumes.image import open_image

        box = self.grid.box(piece)
        outer = box.grow(self._halo, self._halo, self.grid.shape)
        z, y, x = self.parameters["sigma"]
        image = open_image(self.layout, self.parameters).read(self.time, self.parameters["channel"], outer)
        inner = smooth(image, (z, y, x))[box.inside(outer).slices]
        low, high = self._limits
        result = boundary_map(inner, low, high, invert=self.parameters["invert"])
        self._store.write(self.time, 0, box, result)
        return Outcome(digest_arrays(result), {"zeros": zero_channels([result])})

    @cached_property
    def _limits(self) -> list[float]:
        """The intensities that become 0 and 255."""
        from bigseg.kernels.histogram import Histogram, percentiles
        from bigseg.volumes.tables import read_table

        name = f"merged-histogram-c{self.parameters['channel']}"
        table = read_table(self.layout.table("ingest", name, self.time))
        merged = Histogram(self.parameters["dtype"], table["bin"], table["count"])
        low, high = percentiles(merged, self.parameters["percentiles"])
        if low == high:
            raise UserError(
                f"predict.percentiles: {self.parameters['percentiles']} of time point {self.time} are the same "
                f"intensity, {low:g}; the image is almost constant",
                "choose percentiles further apart, e.g. [0.0, 100.0]",
            )
        return [low, high]

    @cached_property
    def _store(self) -> VolumeArray:
        """The array that is written, opened once per job."""
        from bigseg.volumes.image import stage_array

        return stage_array(self.layout, self.layout.boundary_map, self.parameters, self.time, "uint8", self.name)
