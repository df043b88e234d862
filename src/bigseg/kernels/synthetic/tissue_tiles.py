"""The tiles in which synthetic tissues are made, and the two nearest seeds of each voxel of a tile.

A voxel must come out the same, bit by bit, whatever the box it is asked in. So all work is done per tile of a grid that
is fixed in the volume.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bigseg.geometry.box import Box, Triple, triple

Keys = NDArray[np.uint32]

INDEX_MASK = np.uint32(127)
"""The low bits of a squared distance, which hold the position of its seed among a tile's candidates (about 30)."""
_VOXELS, _EDGE = 8192, 0.9
"""Most voxels of a tile, and its longest edge in lattice constants."""


def tile_shape(spacing_um: float, voxel_size_um: tuple[float, float, float]) -> Triple:
    """Voxels (z, y, x) of a tile.

    Args:
        spacing_um: lattice constant of the tissue.
        voxel_size_um: (z, y, x).
    """
    edge = min(_EDGE * spacing_um, math.cbrt(_VOXELS * math.prod(voxel_size_um)))
    return triple([max(1, int(edge / v)) for v in voxel_size_um])


def tiles(box: Box, volume: Triple, tile: Triple) -> Iterator[tuple[Box, Box]]:
    """The tiles that a box touches, and the part of each that lies in the box.

    Args:
        box: what is asked for.
        volume: shape (z, y, x) of the tissue.
        tile: shape (z, y, x) of a tile.

    Raises:
        ValueError: the box is not within the volume.
    """
    if min(box.begin) < 0 or any(e > n for e, n in zip(box.end, volume, strict=True)):
        raise ValueError(f"box {box} reaches outside the volume of shape {volume}")
    starts = (range(b // n * n, e, n) for b, e, n in zip(box.begin, box.end, tile, strict=True))
    for begin in itertools.product(*starts) if box.size > 0 else ():
        corner = triple(begin)
        whole = Box(corner, corner).grow((0, 0, 0), tile, volume)
        yield (
            whole,
            Box(triple(np.maximum(whole.begin, box.begin).tolist()), triple(np.minimum(whole.end, box.end).tolist())),
        )


def keyed(squared: NDArray[np.float32]) -> Keys:
    """Squared distances (n, z, y, x) to n seeds as keys; their memory is taken.

    A key is the squared distance, as the bits of a float32, with the seed's position in its lowest bits: floats that
    are not negative sort like their bits, so a minimum finds seed and distance at once, and ties go to the first seed,
    in every tile.
    """
    keys = squared.view(np.uint32)
    keys &= ~INDEX_MASK
    keys |= np.arange(len(keys), dtype=np.uint32).reshape(-1, 1, 1, 1)
    return keys


def two_smallest(keys: Keys) -> tuple[Keys, Keys]:
    """The smallest and the second smallest (z, y, x) of keys (n, z, y, x), which are overwritten."""
    first: Keys = keys.min(axis=0)
    # The smallest itself wraps round to the largest number, so the minimum that is left is the second smallest.
    after_first = first + np.uint32(1)
    keys -= after_first
    return first, keys.min(axis=0) + after_first


def squared_distance(keys: Keys) -> NDArray[np.float32]:
    """The squared distance in each key."""
    return (keys & ~INDEX_MASK).view(np.float32)
