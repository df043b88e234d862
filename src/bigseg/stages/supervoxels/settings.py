"""What supervoxels depend on: the proportions of voxels, what counts as foreground, how far a block looks around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bigseg.errors import UserError
from bigseg.geometry.box import Triple, triple
from bigseg.geometry.halo import watershed_halo
from bigseg.networks.settings import outputs_of
from bigseg.stages.step import Parameters

if TYPE_CHECKING:
    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan

STANDARD_PROBABILITY = 0.5
"""From which a network's foreground map says foreground, if nobody says otherwise."""


def watershed_sampling(config: Config, plan: SamplePlan) -> tuple[float, float, float]:
    """Voxel size along (z, y, x) relative to the finest axis, as distances are measured; ones where all count alike."""
    return plan.sampling if config.supervoxels.anisotropic else (1.0, 1.0, 1.0)


def supervoxel_halo(config: Config, plan: SamplePlan) -> list[int]:
    """How far (z, y, x) the watershed of a block looks at the maps around it, in voxels."""
    settings = config.supervoxels
    halo = list(watershed_halo(watershed_sampling(config, plan)) if settings.halo == "auto" else settings.halo)
    if settings.dimension == "stacked_2d":
        halo[0] = 0  # planes do not see each other
    return [0 if n == 1 else h for h, n in zip(halo, plan.grid.shape, strict=True)]


def supervoxel_reach(halo: Sequence[int], foreground: Parameters | None) -> Triple:
    """How far (z, y, x) in voxels around a block its supervoxels look at the maps.

    Args:
        halo: that of the watershed.
        foreground: how foreground is told (:func:`foreground_parameters`): by a mean over a window around a voxel.
    """
    if foreground is None:
        return triple(halo)
    return triple([around + window for around, window in zip(halo, foreground["window"], strict=True)])


def foreground_parameters(config: Config, plan: SamplePlan) -> Parameters | None:
    """How foreground is told from background; None where there is no such thing, as in dense tissue.

    Returns:
        ``map``: ``foreground`` (a network's) or ``boundary`` (its complement); ``threshold``: a probability, or
        ``otsu``; ``window``: half the window (z, y, x) of the local mean, in voxels.

    Raises:
        UserError: a threshold is given, but nothing tells foreground.
    """
    settings = config.supervoxels
    wanted, source = settings.foreground_threshold, _foreground_map(config, plan)
    if wanted == "none" or (wanted == "auto" and source != "foreground"):
        return None
    if source is None:
        network = config.predict.method == "network"
        raise UserError(
            f"supervoxels.foreground_threshold: {wanted}, but "
            + (
                "the network gives no foreground map"
                if network
                else "nothing tells foreground where boundaries are bright (predict.invert: false)"
            ),
            "set it to none"
            + (
                ", or name the foreground in predict.outputs if the network has one"
                if network
                else ", or predict.invert to true where nuclei are bright and what is between them is dark"
            ),
        )
    sampling = watershed_sampling(config, plan)
    reach = settings.foreground_window
    window = [
        0 if n == 1 or (z == 0 and settings.dimension == "stacked_2d") else round(reach / s)
        for z, (s, n) in enumerate(zip(sampling, plan.grid.shape, strict=True))
    ]
    threshold = STANDARD_PROBABILITY if wanted == "auto" else wanted
    return {"map": source, "threshold": threshold, "window": window}


def needs_threshold(config: Config, plan: SamplePlan) -> bool:
    """Whether a threshold is found for each time point."""
    found = foreground_parameters(config, plan)
    return found is not None and found["threshold"] == "otsu"


def _foreground_map(config: Config, plan: SamplePlan) -> str | None:
    """The map that tells foreground."""
    if plan.model is not None:
        return "foreground" if "foreground" in outputs_of(plan.model, config.predict)[0] else None
    return "boundary" if config.predict.invert else None
