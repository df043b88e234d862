"""Pictures from planes: grey images, coloured labels, outlines. Pure functions on arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import hsv_to_rgb
from scipy.ndimage import binary_dilation

from bigseg.kernels.random_numbers import GOLDEN, hashes

Colour = tuple[int, int, int]

_CANDIDATES = 12
"""Colours that an object may try until one differs from its neighbours'."""
_DISTINCT = 0.45
"""Distance in the unit RGB cube from which two colours are told apart at a glance."""


def grey(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """A grey picture.

    Args:
        image: (rows, columns) intensities.
        low: intensity that becomes black.
        high: intensity that becomes white.

    Returns:
        (rows, columns, 3) uint8.
    """
    scaled = (image.astype(np.float32) - low) / max(high - low, 1e-12)
    return np.repeat((np.clip(scaled, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


def heat(probability: np.ndarray) -> np.ndarray:
    """A picture (rows, columns, 3) uint8 of a map (rows, columns) uint8, from black over red to white."""
    return np.ascontiguousarray(colormaps["inferno"](probability, bytes=True)[..., :3])


def touching_pairs(labels: np.ndarray) -> np.ndarray:
    """Pairs of objects that share a pixel side.

    Args:
        labels: (rows, columns); 0 is no object.

    Returns:
        (n, 2) of the type of ``labels``, each pair once with the lower label first, ascending.
    """
    sides = [
        np.stack([before.reshape(-1), after.reshape(-1)], axis=1)
        for before, after in ((labels[:-1], labels[1:]), (labels[:, :-1], labels[:, 1:]))
    ]
    pairs = np.concatenate(sides)
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & (pairs != 0).all(axis=1)]
    return np.unique(np.sort(pairs, axis=1), axis=0)


@dataclass(frozen=True)
class Palette:
    """The colour of each object.

    Attributes:
        ids: (n,) uint64, ascending.
        colours: (n, 3) uint8.
    """

    ids: np.ndarray
    colours: np.ndarray

    def of(self, ids: np.ndarray) -> np.ndarray:
        """The colours (n, 3) uint8 of objects (n,) that are all in the palette."""
        return self.colours[np.searchsorted(self.ids, ids)]

    def paint(self, labels: np.ndarray) -> np.ndarray:
        """A picture (rows, columns, 3) uint8 of labels (rows, columns) that are all in the palette; 0 is black."""
        painted = np.zeros((*labels.shape, 3), np.uint8)
        shown = labels != 0
        painted[shown] = self.of(labels[shown])
        return painted


def choose_colours(ids: np.ndarray, pairs: np.ndarray) -> Palette:
    """Give each object a colour that follows from its id, and the neighbours of an object others.

    An object takes the first of its own sequence of colours, a hash of its id, that differs well from those of its
    neighbours with lower ids; failing that, the most different one.

    Args:
        ids: (n,) uint64, ascending, without 0.
        pairs: (m, 2) uint64, objects that touch in any of the pictures.
    """
    candidates = _candidates(ids)
    neighbours = _lower_neighbours(ids, pairs)
    chosen = candidates[:, 0].copy()
    for number, lower in neighbours.items():
        apart = np.linalg.norm(candidates[number][:, None] - chosen[lower][None], axis=2).min(axis=1)
        good = np.flatnonzero(apart >= _DISTINCT)
        chosen[number] = candidates[number, good[0] if len(good) else apart.argmax()]
    return Palette(ids, (chosen * 255).round().astype(np.uint8))


def outlines(labels: np.ndarray) -> np.ndarray:
    """Pixels of objects beside another label, (rows, columns) bool: two pixels between objects, one of each."""
    edge = np.zeros(labels.shape, bool)
    down, across = labels[:-1] != labels[1:], labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= down
    edge[1:] |= down
    edge[:, :-1] |= across
    edge[:, 1:] |= across
    edge &= labels != 0
    return edge


def colour_over(picture: np.ndarray, labels: np.ndarray, palette: Palette, opacity: float = 0.5) -> np.ndarray:
    """Objects in colour over a picture, outlined in the full colour; all pictures (rows, columns, 3) uint8."""
    painted = palette.paint(labels)
    shown = labels != 0
    result = picture.copy()
    result[shown] = ((1 - opacity) * picture[shown] + opacity * painted[shown]).astype(np.uint8)
    edge = outlines(labels)
    result[edge] = painted[edge]
    return result


def outline_over(picture: np.ndarray, labels: np.ndarray, colour: Colour, *, broad: bool = False) -> np.ndarray:
    """Outlines of labels (rows, columns) in one colour over a picture (rows, columns, 3) uint8.

    Broad ones still show on both sides of others that are drawn over them.
    """
    edge = outlines(labels)
    if broad:
        edge = binary_dilation(edge, iterations=2)
    result = picture.copy()
    result[edge] = colour
    return result


def _lower_neighbours(ids: np.ndarray, pairs: np.ndarray) -> dict[int, np.ndarray]:
    """For each object with neighbours of lower id, in ascending order: their positions in ``ids``."""
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    lower, upper = np.searchsorted(ids, pairs[:, 0]), np.searchsorted(ids, pairs[:, 1])
    order = np.argsort(upper, kind="stable")
    numbers, starts = np.unique(upper[order], return_index=True)
    groups = np.split(lower[order], starts[1:]) if len(numbers) else []
    return {int(number): group for number, group in zip(numbers, groups, strict=True)}


def _candidates(ids: np.ndarray) -> np.ndarray:
    """Colours (n, candidates, 3) in 0 … 1: bright, of any hue."""
    code = hashes(
        np.zeros(1, np.uint64), ids.astype(np.uint64)[:, None] + np.arange(_CANDIDATES, dtype=np.uint64) * GOLDEN
    )
    hue = (code & np.uint64(0xFFFF)).astype(np.float64) / 0x10000
    saturation = 0.5 + 0.5 * (code >> np.uint64(16) & np.uint64(0xFF)).astype(np.float64) / 0xFF
    value = 0.8 + 0.2 * (code >> np.uint64(24) & np.uint64(0xFF)).astype(np.float64) / 0xFF
    return np.asarray(hsv_to_rgb(np.stack([hue, saturation, value], axis=-1)))
