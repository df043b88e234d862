"""Random changes of training patches; all randomness comes from the generator that is given.

Image and labels are changed alike, and targets are made of the changed labels, so affinities and boundaries follow by
themselves. PlantSeg (Wolny et al. 2020) names the same changes without their parameters; those here are our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bigseg.geometry.box import Triple, triple

Pair = tuple[np.ndarray, np.ndarray]
"""Image (c, z, y, x) float32 and labels (z, y, x)."""


@dataclass(frozen=True)
class Turn:
    """The axes in another order, then quarter turns of the plane from y to x, then flips along some of (z, y, x)."""

    quarters: int = 0
    flipped: tuple[int, ...] = ()
    order: Triple = (0, 1, 2)

    @classmethod
    def draw(
        cls, rng: np.random.Generator, *, flips: bool, rotations: bool, transpose: bool = False, dims: int = 3
    ) -> Turn:
        """A random one; those of a 2D network leave z alone."""
        quarters = int(rng.integers(4)) if rotations else 0
        axes = (0, 1, 2) if dims == 3 else (1, 2)
        coins = rng.integers(2, size=3) if flips else np.zeros(3, int)
        order = triple(rng.permutation(3).tolist()) if transpose else (0, 1, 2)
        return cls(quarters, tuple(axis for axis in axes if coins[axis]), order)

    def before(self, shape: Triple) -> Triple:
        """The shape of what becomes ``shape``."""
        z, y, x = shape
        turned = (z, x, y) if self.quarters % 2 else shape
        return triple([turned[self.order.index(axis)] for axis in range(3)])

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Turn the last three axes."""
        ordered = np.moveaxis(array, [axis - 3 for axis in self.order], (-3, -2, -1))
        turned = np.rot90(ordered, self.quarters, (-2, -1))
        return np.flip(turned, tuple(axis - 3 for axis in self.flipped)) if self.flipped else turned


def deform(
    pair: Pair, rng: np.random.Generator, *, amplitude: float, spacing: float, sampling: Sequence[float]
) -> Pair:
    """A smooth random deformation: Gaussian displacements of control points, interpolated by splines in between.

    Args:
        pair: image and labels.
        rng: source of randomness.
        amplitude: standard deviation of the displacements, in voxels of the finest axis.
        spacing: distance of the control points, in the same unit.
        sampling: voxel size (z, y, x) relative to the finest axis.

    Returns:
        The image by linear interpolation, the labels by nearest neighbour; mirrored beyond the patch.
    """
    image, labels = pair
    shape = labels.shape
    points = [max(2, round(n * s / spacing) + 1) for n, s in zip(shape, sampling, strict=True)]
    grid = [np.linspace(0, p - 1, n, dtype=np.float32) for p, n in zip(points, shape, strict=True)]
    coordinates = np.empty((3, *shape), np.float32)
    for axis in range(3):
        displacement = rng.normal(0, amplitude / sampling[axis], points).astype(np.float32)
        if shape[axis] == 1:
            displacement[:] = 0
        coordinates[axis] = _interpolate(displacement, grid)
        coordinates[axis] += np.arange(shape[axis], dtype=np.float32).reshape(
            [-1 if i == axis else 1 for i in range(3)]
        )
    moved = np.stack([ndimage.map_coordinates(c, coordinates, order=1, mode="mirror") for c in image])
    return moved, ndimage.map_coordinates(labels, coordinates, order=0, mode="mirror", prefilter=False)


def change_contrast(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Multiply by 1 ± ``strength`` and add up to half of that."""
    gain, offset = rng.uniform(-strength, strength, 2)
    return np.asarray(image * np.float32(1 + gain) + np.float32(offset / 2), np.float32)


def add_gaussian_noise(image: np.ndarray, rng: np.random.Generator, largest: float) -> np.ndarray:
    """Noise of a random deviation up to ``largest``."""
    deviation = rng.uniform(0, largest)
    return np.asarray(image + rng.standard_normal(image.shape, np.float32) * np.float32(deviation), np.float32)


def add_poisson_noise(
    image: np.ndarray, rng: np.random.Generator, photons: Sequence[float], dark: float, bright: float
) -> np.ndarray:
    """Shot noise.

    Args:
        image: (c, z, y, x) float32.
        rng: source of randomness.
        photons: fewest and most photons where the image is ``bright``.
        dark: value without any photon.
        bright: value of a bright voxel.
    """
    most = np.exp(rng.uniform(np.log(photons[0]), np.log(photons[1])))
    scale = most / (bright - dark)
    counts = rng.poisson(np.clip((image - dark) * scale, 0, None))
    # What lies below dark stays, so that the noise changes nothing but the noise.
    return np.asarray(counts / scale + dark + np.minimum(image - dark, 0), np.float32)


def _interpolate(values: np.ndarray, grid: Sequence[np.ndarray]) -> np.ndarray:
    """Cubic interpolation at the points of a product grid, axis by axis."""
    for axis, at in enumerate(grid):
        knots = np.arange(values.shape[axis])
        values = np.moveaxis(values, axis, 0)
        flat = values.reshape(len(knots), -1)
        weights = _spline_weights(len(knots), at)
        values = np.moveaxis((weights @ flat).reshape(len(at), *values.shape[1:]), 0, axis)
    return values


def _spline_weights(count: int, at: np.ndarray) -> np.ndarray:
    """(n, count) weights of the knots at given places: Catmull-Rom, with the end knots repeated."""
    base = np.clip(np.floor(at).astype(int), 0, count - 2)
    t = (at - base).astype(np.float32)
    parts = [
        0.5 * (-t + 2 * t**2 - t**3),
        0.5 * (2 - 5 * t**2 + 3 * t**3),
        0.5 * (t + 4 * t**2 - 3 * t**3),
        0.5 * (-(t**2) + t**3),
    ]
    weights = np.zeros((len(at), count), np.float32)
    for shift, part in zip((-1, 0, 1, 2), parts, strict=True):
        np.add.at(weights, (np.arange(len(at)), np.clip(base + shift, 0, count - 1)), part)
    return weights
