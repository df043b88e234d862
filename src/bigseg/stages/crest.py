"""Stage ``supervoxels``, its crest: what it reads of the image to draw boundaries where that has its crest."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from bigseg.geometry.box import Box, Triple
from bigseg.layout import Layout
from bigseg.networks.settings import channels_of
from bigseg.stages.ingest import read_histogram
from bigseg.stages.step import Parameters, image_parameters

if TYPE_CHECKING:
    import numpy as np

    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan

PERCENTILES = (1.0, 99.8)
"""Of the intensities of a time point, which become 0 and 1. Not those of ``predict``: a weight must mean the same with
any model, and with the image itself."""


def crest_parameters(config: Config, plan: SamplePlan) -> Parameters | None:
    """How boundaries are drawn on the crest of the image, and which image; None where they are not."""
    settings = config.supervoxels.crest
    told = 0.0 if plan.model is None else plan.model.crest_weight
    weight = told if settings.weight == "auto" else settings.weight
    if weight == 0:
        return None
    return {
        **image_parameters(config, plan),
        "weight": weight,
        "radius": settings.radius,
        "sigma": settings.sigma,
        "channel": config.predict.channel if plan.model is None else channels_of(config.predict)[0],
        "dtype": plan.header.dtype,
    }


class Crest:
    """The image of one time point as the crest is sought in."""

    def __init__(self, layout: Layout, time: int, parameters: Parameters) -> None:
        """Read nothing yet."""
        self._layout, self._time, self._parameters = layout, time, parameters

    @cached_property
    def limits(self) -> list[float]:
        """The intensities that become 0 and 1."""
        from bigseg.kernels.histogram import percentiles

        told = self._parameters
        histogram = read_histogram(self._layout, self._time, told["channel"], told["dtype"])
        return [float(limit) for limit in percentiles(histogram, PERCENTILES)]

    def draw(
        self,
        labels: np.ndarray,
        boundary: np.ndarray,
        box: Box,
        volume: Triple,
        *,
        sampling: tuple[float, float, float],
        mask: np.ndarray | None,
        planes: bool,
    ) -> np.ndarray:
        """Supervoxels of a box with their boundaries on the crest.

        Args:
            labels: uint32 (z, y, x).
            boundary: float32 of the same shape, in [0, 1].
            box: which voxels of the volume they are.
            volume: shape (z, y, x) of the whole.
            sampling: voxel size along (z, y, x) relative to the finest axis.
            mask: bool of the same shape, or None.
            planes: whether planes do not see each other.
        """
        from bigseg.kernels.crest import draw_on_crest, draw_on_crest_in_planes
        from bigseg.kernels.intensity import scale
        from bigseg.volumes.image import open_image

        told, (low, high) = self._parameters, self.limits
        if low == high:
            return labels  # an image of one value has no crest
        image = scale(open_image(self._layout, told, volume).read(self._time, told["channel"], box), low, high)
        settings = {key: told[key] for key in ("weight", "radius", "sigma")}
        draw = draw_on_crest_in_planes if planes else draw_on_crest
        return draw(labels, boundary, image, sampling=sampling, mask=mask, **settings)
