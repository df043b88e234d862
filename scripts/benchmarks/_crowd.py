"""A crowd of dividing objects of any size, made as detections and overlaps without any voxels."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from bigseg.kernels.tracking.model import Detections, Floats, Indices, Overlaps

DIAMETER = 10.0
"""Of an object in µm."""
DIVIDING = 0.003
"""Share of the objects that divide in a step."""
OWN, FLOW = 0.1, 0.3
"""How far objects move in a step, in diameters: each by itself, and with the others."""


def crowd(objects: int, times: int, seed: int = 0) -> tuple[list[Detections], list[Indices]]:
    """Detections of a movie, and of each but the first time point the row of its predecessor or mother.

    Args:
        objects: about, in the mean over time.
        times: time points.
        seed: of the random numbers.
    """
    generator = np.random.default_rng(seed)
    growth = (1 + DIVIDING) ** times
    first = round(objects * np.log(growth) / (growth - 1))
    side = round(first ** (1 / 3)) + 1
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    place = DIAMETER * grid[np.sort(generator.permutation(len(grid))[:first])].astype(float)
    place += 0.15 * DIAMETER * generator.normal(size=place.shape)
    volume = 500 * np.exp(0.15 * generator.normal(size=first))
    frames, sources = [], []
    for time in range(times):
        position = place + OWN * DIAMETER * generator.normal(size=place.shape) / np.sqrt(3)
        border = np.minimum(position.min(axis=1), (DIAMETER * side - position).min(axis=1)).clip(0)
        ids = np.arange(1, len(place) + 1, dtype=np.uint64)
        noisy = volume * np.exp(0.05 * generator.normal(size=len(volume)))
        frames.append(Detections(ids, position, noisy, border))
        if time == times - 1:
            break
        divides = generator.random(len(place)) < DIVIDING
        mothers = np.flatnonzero(divides)
        shift = generator.normal(size=(len(mothers), 3))
        shift *= 0.25 * DIAMETER / np.linalg.norm(shift, axis=1, keepdims=True)
        source = np.concatenate([np.flatnonzero(~divides), mothers, mothers])
        zero = np.zeros(((~divides).sum(), 3))
        place = place[source] + np.concatenate([zero, shift, -shift])
        volume = volume[source] / np.where(divides[source], 2, 1) * np.where(divides[source], 1, 1.004)
        angle = place @ generator.normal(size=(3, 3)) / (DIAMETER * side) * np.pi
        place += FLOW * DIAMETER * np.sin(angle) / np.sqrt(1.5)
        order = generator.permutation(len(place))  # ids tell nothing
        place, volume = place[order], volume[order]
        sources.append(source[order])
    return frames, sources


def overlaps_of_balls(before: Detections, after: Detections) -> Overlaps:
    """What balls of the same volumes share."""
    one, other = (np.cbrt(3 * d.volume_um3 / (4 * np.pi)) for d in (before, after))
    reach = float(one.max() + other.max())
    near = KDTree(before.position_um).sparse_distance_matrix(KDTree(after.position_um), reach, output_type="ndarray")
    i, j, d = near["i"], near["j"], near["v"]
    volume = _lens(d, one[i], other[j])
    touching = volume > 0
    return Overlaps(before.ids[i[touching]], after.ids[j[touching]], volume[touching])


def _lens(d: Floats, r: Floats, s: Floats) -> Floats:
    """Volume shared by balls of radii r and s at distance d."""
    d = np.maximum(d, 1e-9)
    lens = np.pi * (r + s - d) ** 2 * (d**2 + 2 * d * (r + s) - 3 * (r - s) ** 2) / (12 * d)
    inside = d <= np.abs(r - s)
    return np.asarray(np.where(d >= r + s, 0, np.where(inside, 4 / 3 * np.pi * np.minimum(r, s) ** 3, lens)))
