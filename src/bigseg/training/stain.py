"""Synthetic membrane stains on given cells, each seen in another way: what a generic network learns from.

All is drawn at random from the generator that is given: strength and gaps of the walls, blur, haze of nuclei and cell
bodies, illumination, noise, and the response of the camera. Units are voxels of the finest axis, and the brightness of
a well stained wall is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bigseg.training.targets import find_boundaries

Floats = np.ndarray


@dataclass(frozen=True)
class Stain:
    """How cells are seen.

    Attributes:
        weak_walls: share of the walls between two cells that are hardly stained.
        gaps: share of the wall area where the stain is missing.
        gap_size: size of the gaps.
        thickness: by how much walls are thicker than two voxels, on either side.
        blur: standard deviation of the optical blur in a plane.
        axial: how much larger it is along z.
        body: brightness of cell bodies, at most.
        texture: deviation of the texture of cell bodies.
        haze: brightness of nuclei, at most; 0 is none.
        spots: bright spots per 10,000 voxels.
        background: brightness outside the cells.
        uneven: how much illumination and depth change the brightness, 0 … 1.
        photons: photons of a well stained wall.
        read_noise: deviation of the noise of the camera.
        grain: smoothing of the noise, as resampling or deconvolution leave it.
        gamma: exponent of the response.
        exposure: brightness of a well stained wall relative to full scale; more than 1 saturates.
        dense: share of the cells whose bodies are about as bright as the walls.
    """

    weak_walls: float
    gaps: float
    gap_size: float
    thickness: float
    blur: float
    axial: float
    body: float
    texture: float
    haze: float
    spots: float
    background: float
    uneven: float
    photons: float
    read_noise: float
    grain: float
    gamma: float
    exposure: float
    dense: float = 0.0

    @classmethod
    def draw(cls, rng: np.random.Generator, *, dense: bool = False) -> Stain:
        """A random one: most are fair, some are bad; only with ``dense`` are there cells as bright as walls."""

        def log(low: float, high: float) -> float:
            return float(np.exp(rng.uniform(np.log(low), np.log(high))))

        def maybe(share: float, low: float, high: float) -> float:
            return float(rng.uniform(low, high)) if rng.random() < share else 0.0

        return cls(
            weak_walls=maybe(0.6, 0.02, 0.25),
            gaps=maybe(0.6, 0.01, 0.12),
            gap_size=rng.uniform(1.5, 5.0),
            thickness=maybe(0.4, 0.5, 2.5),
            blur=log(0.6, 4.0),
            axial=rng.uniform(1.0, 2.5),
            body=rng.uniform(0.0, 0.4),
            texture=rng.uniform(0.0, 0.12),
            haze=maybe(0.5, 0.1, 0.9),
            spots=maybe(0.4, 0.2, 4.0),
            background=rng.uniform(0.0, 0.2),
            uneven=rng.uniform(0.0, 0.6),
            photons=log(6, 200),
            read_noise=rng.uniform(0.0, 0.08),
            grain=maybe(0.4, 0.3, 1.3),
            gamma=log(0.6, 1.6),
            exposure=rng.uniform(0.6, 1.5),
            dense=maybe(0.7, 0.03, 0.4) if dense else 0.0,
        )


def render(labels: np.ndarray, stain: Stain, sampling: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """The image of cells.

    Args:
        labels: (z, y, x) integers, 0 is background.
        stain: how they are seen.
        sampling: voxel size (z, y, x) relative to the finest axis.
        rng: source of randomness.

    Returns:
        (z, y, x) uint8.
    """
    step = np.asarray(sampling, np.float64)
    psf = np.array([stain.blur * stain.axial, stain.blur, stain.blur]) / step
    image = _walls(labels, stain, step, rng)
    image = ndimage.gaussian_filter(image, psf)
    # A flat wall across the plane is the unit.
    image /= _peak(psf[2], 2 + 2 * _extra(stain, step)[2])
    image += ndimage.gaussian_filter(_bodies(labels, stain, step, rng), psf)
    image *= _illumination(labels.shape, stain, step, rng)
    noisy = rng.poisson(np.clip(image, 0, None) * stain.photons) / stain.photons
    noise = noisy - image + rng.normal(0, stain.read_noise, image.shape)
    if stain.grain > 0:
        noise = ndimage.gaussian_filter(noise, stain.grain)
    seen = np.clip((image + noise) * stain.exposure, 0, 1) ** stain.gamma
    return np.asarray(np.rint(255 * np.clip(seen + 0.02, 0, 1)), np.uint8)


def _walls(labels: np.ndarray, stain: Stain, step: Floats, rng: np.random.Generator) -> Floats:
    """Stained walls before the blur: every pair of cells has its own strength."""
    ids, flat = np.unique(labels, return_inverse=True)
    number = flat.reshape(labels.shape).astype(np.int64)
    count = len(ids)
    # One strength for each pair without a table of all pairs: a hash of the pair chooses from a list.
    strengths = rng.uniform(0.6, 1.0, 4093)
    strengths[rng.random(4093) < stain.weak_walls] *= 0.25
    wall = np.zeros(labels.shape, np.float32)
    for axis in range(3):
        low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        one, other = number[low], number[high]
        pair = np.minimum(one, other) * count + np.maximum(one, other)
        strength = np.where(one != other, strengths[(pair * 2654435761) % 4093], 0).astype(np.float32)
        np.maximum(wall[low], strength, out=wall[low])
        np.maximum(wall[high], strength, out=wall[high])
    wall = ndimage.maximum_filter(wall, [1 + 2 * n for n in _extra(stain, step)])
    if stain.gaps > 0:
        field = smooth_noise(labels.shape, stain.gap_size / step, rng)
        cut = np.quantile(field, stain.gaps)
        wall *= np.clip((field - cut) / 0.25, 0.1, 1)
    return np.asarray(wall)


def _extra(stain: Stain, step: Floats) -> list[int]:
    """Voxels along each axis by which walls are thicker on either side."""
    return [int(n) for n in np.rint(stain.thickness / step)]


def _bodies(labels: np.ndarray, stain: Stain, step: Floats, rng: np.random.Generator) -> Floats:
    """Cell bodies, nuclei, spots and background before the blur."""
    ids, flat = np.unique(labels, return_inverse=True)
    number = flat.reshape(labels.shape)
    brightness = stain.body * rng.uniform(0.3, 1.0, len(ids))
    inside = labels > 0
    if stain.dense > 0:
        chosen = rng.random(len(ids)) < stain.dense
        brightness = np.where(chosen, rng.uniform(0.4, 1.1, len(ids)), brightness)
    if ids[0] == 0:
        brightness[0] = stain.background
    body = brightness[number].astype(np.float32)
    if stain.texture > 0:
        body += stain.texture * smooth_noise(labels.shape, rng.uniform(0.8, 2.5) / step, rng) * inside
    if stain.haze > 0:
        # Nuclei are what lies deepest in a cell, so they have its rough shape and follow its size.
        padded = np.pad(number, 1, mode="edge")
        depth = ndimage.distance_transform_edt(~find_boundaries(padded), sampling=step)[1:-1, 1:-1, 1:-1]
        deepest = np.maximum(ndimage.maximum(depth, number, np.arange(len(ids))), 1e-3)
        relative = depth / deepest[number]
        extent = rng.uniform(0.35, 0.75, len(ids))
        strength = stain.haze * rng.uniform(0.3, 1.0, len(ids)) * (rng.random(len(ids)) < 0.85)
        body += np.where(inside & (relative > extent[number]), strength[number], 0).astype(np.float32)
    if stain.spots > 0:
        places = rng.random(labels.shape) < stain.spots / 1e4
        body += places * rng.uniform(2.0, 12.0, labels.shape).astype(np.float32) * inside
    return body


def _illumination(shape: tuple[int, ...], stain: Stain, step: Floats, rng: np.random.Generator) -> Floats:
    """Smooth changes in the plane, and light lost with depth."""
    field = 1 + 0.5 * stain.uneven * np.clip(smooth_noise(shape, 30 / step, rng), -1.5, 1.5)
    depth = np.linspace(0, 1, shape[0])
    lost = np.exp(-stain.uneven * (depth if rng.random() < 0.5 else depth[::-1]))
    return np.asarray(field * lost[:, None, None], np.float32)


def smooth_noise(shape: Sequence[int], sigma: Floats, rng: np.random.Generator) -> Floats:
    """Gaussian noise of deviation about 1 and a given correlation length along each axis, float32."""
    sigma = np.asarray(sigma, np.float64)
    coarse = np.maximum(1.0, sigma / 2)  # long waves are made on a coarser grid: it costs less and looks the same
    small = [max(4, int(np.ceil(n / c)) + 1) for n, c in zip(shape, coarse, strict=True)]
    noise = ndimage.gaussian_filter(rng.standard_normal(small), sigma / coarse, mode="wrap")
    noise /= max(float(noise.std()), 1e-6)
    grid = np.meshgrid(*(np.linspace(0, (n - 1) / c, n) for n, c in zip(shape, coarse, strict=True)), indexing="ij")
    return np.asarray(ndimage.map_coordinates(noise, grid, order=1, mode="grid-wrap"), np.float32)


def _peak(sigma: float, thickness: int) -> float:
    """Height of a wall of an even number of voxels after a blur."""
    length = int(np.ceil(6 * sigma)) + thickness + 2
    line = np.zeros(2 * length)
    line[length - thickness // 2 : length + thickness // 2] = 1
    return float(ndimage.gaussian_filter1d(line, sigma).max())
