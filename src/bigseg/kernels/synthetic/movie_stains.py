"""How the walls and nuclei of a synthetic movie (:mod:`bigseg.kernels.synthetic.tissue_movie`) are stained and seen."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bigseg.kernels.random_numbers import hashes, normal_quantiles, stream, uniform

if TYPE_CHECKING:
    from bigseg.kernels.synthetic.tissue_movie import Scene, Tile, TissueMovie

Floats = NDArray[np.float32]

_CYTOPLASM = 0.06
"""What is at least left between a nucleus and the wall of its cell, in lattice constants."""
_NOISE_BITS, _READ_NOISE, _EXPOSURE, _OFFSET = 12, 0.02, 0.7, 0.05
"""Read noise relative to full brightness; full brightness and darkness relative to full scale."""
_WALL, _BODY, _NOISE = range(1, 4)
"""What a random number is for: each has a stream of its own."""


def into_nucleus(movie: TissueMovie, scene: Scene) -> Floats:
    """How far, in µm, inside the nucleus of its cell a voxel lies; negative outside."""
    if len(scene.seeds.ids) == 0:
        return np.full(scene.labels.shape, -np.inf, np.float32)
    free = np.minimum(scene.wall_um, scene.surface_um) - np.float32(_CYTOPLASM * movie.spacing_um)
    inside = scene.seeds.nucleus_um.astype(np.float32)[scene.nearest] - scene.distance_um
    return np.where(scene.labels > 0, np.minimum(inside, free), np.float32(-np.inf))


@lru_cache(maxsize=1)
def _profile() -> Floats:
    """Brightness across a blurred wall, 256 steps per standard deviation, down to 0 at four of them."""
    profile = np.exp(-0.5 * (np.arange(4 * 256 + 1) / 256) ** 2)
    profile[-1] = 0
    return profile.astype(np.float32)


@lru_cache(maxsize=1)
def _normal() -> Floats:
    return normal_quantiles(_NOISE_BITS)


def _blurred(distance_um: Floats, sigma_um: Floats | np.float32) -> Floats:
    """Brightness of a wall at a distance from it."""
    profile = _profile()
    steps = np.minimum(distance_um * (np.float32(256) / sigma_um), np.float32(len(profile) - 1))
    return np.asarray(profile[steps.astype(np.int32)])


def membranes(movie: TissueMovie, scene: Scene, t: int) -> Floats:
    """Expected brightness, float32 (z, y, x), of the walls; 1 is a well stained one."""
    seeds, count = scene.seeds, len(scene.seeds.ids)
    if count == 0:
        return np.full(scene.labels.shape, 0.02, np.float32)
    psf_z, psf_xy = movie.psf_um
    sheet = movie.wall_thickness_um**2 / 12
    between = seeds.positions_um[:, None] - seeds.positions_um[None]
    length_2 = (between * between).sum(axis=-1)
    np.fill_diagonal(length_2, 1.0)
    # A wall that lies in the plane is blurred along z, more than one across it.
    tilt = between[..., 0] ** 2 / np.maximum(length_2, 1e-12)
    sigma = np.sqrt(psf_xy**2 + (psf_z**2 - psf_xy**2) * tilt + sheet)
    one, other = seeds.ids[:, None], seeds.ids
    h = hashes(hashes(stream(movie.seed, _WALL), np.minimum(one, other)), np.maximum(one, other))
    contrast = 0.7 + 0.3 * uniform(h)
    contrast[~seeds.living[:, None] & ~seeds.living] = 0  # nothing is between two gaps
    # Distances are those before the tissue grew; a wall stays as thick as it is.
    sigma /= (1 + movie.growth) ** t
    wall = _blurred(scene.wall_um, sigma.astype(np.float32).ravel()[scene.pair])
    wall *= contrast.astype(np.float32).ravel()[scene.pair]
    across = np.float32(math.sqrt(psf_xy**2 + sheet) / (1 + movie.growth) ** t)
    surface = _blurred(np.abs(scene.surface_um), across) * np.float32(0.9)
    stain = np.where(scene.surface_um < 0, surface, np.maximum(wall, surface))
    body = 0.04 + 0.04 * uniform(hashes(stream(movie.seed, _BODY), seeds.ids))
    stain += body.astype(np.float32)[scene.nearest] * (scene.labels > 0)
    return np.asarray(stain + np.float32(0.02), np.float32)


def nuclei(movie: TissueMovie, scene: Scene) -> Floats:
    """Expected brightness, float32 (z, y, x), of the nuclei."""
    if len(scene.seeds.ids) == 0:
        return np.full(scene.labels.shape, 0.02, np.float32)
    body = 0.7 + 0.3 * uniform(hashes(stream(movie.seed, _BODY), scene.seeds.ids), 1)
    edge = np.clip(into_nucleus(movie, scene) / np.float32(4 * movie.psf_um[1]) + np.float32(0.5), 0, 1)
    smooth = edge * edge * (np.float32(3) - np.float32(2) * edge)
    stain = smooth * body.astype(np.float32)[scene.nearest]
    return np.asarray(stain + np.float32(0.02) + np.float32(0.03) * (scene.labels > 0), np.float32)


def expose(movie: TissueMovie, tile: Tile, stain: Floats, channel: int) -> NDArray[np.uint8]:
    """The camera's counts, uint8 (z, y, x), with shot and read noise of each voxel's own."""
    h = hashes(stream(movie.seed, _NOISE), np.array([2 * tile.time + channel], np.uint64))
    for begin, end in zip(tile.box.begin, tile.box.end, strict=True):
        h = hashes(h[..., None], np.arange(begin, end, dtype=np.uint64))
    h = h[0] >> np.uint64(64 - _NOISE_BITS)
    noise = np.sqrt(stain * np.float32(1 / movie.photons) + np.float32(_READ_NOISE**2)) * _normal()[h]
    counts = (stain + noise) * np.float32(_EXPOSURE * 255) + np.float32(_OFFSET * 255 + 0.5)
    return np.asarray(np.clip(counts, 0, 255), np.uint8)
