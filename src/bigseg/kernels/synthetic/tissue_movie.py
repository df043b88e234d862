"""A synthetic tissue whose cells move, grow, divide and die, any box of which can be generated at any time by itself.

Cells are the cells of a power diagram of moving seeds. Each place of a jittered cubic lattice holds the *family* of one
cell of time 0 (:mod:`.cell_life`): it strays slowly about its place, a cell that divides leaves its
daughters where it was, close together, and they move apart as they grow. A cell that dies leaves a gap, of background,
that its neighbours fill within a few time points. The whole drifts through the volume and may grow. Walls and nuclei
are stained in a channel each.

As in :mod:`.tissue`, a voxel comes out the same, bit by bit, whatever the box it is asked in: all work is
done per tile, with operations whose result does not depend on how NumPy vectorises them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bigseg.geometry.box import Box, Triple
from bigseg.kernels.lineage import Lineage
from bigseg.kernels.random_numbers import hashes, stream, uniform
from bigseg.kernels.synthetic import movie_stains
from bigseg.kernels.synthetic.cell_life import CellLife, Cells, lengthening, maturity, present, relative_positions
from bigseg.kernels.synthetic.tissue import depth_in_organ
from bigseg.kernels.synthetic.tissue_tiles import INDEX_MASK, keyed, squared_distance, tile_shape, tiles, two_smallest

Floats = NDArray[np.float32]
Vector = tuple[float, float, float]

MEMBRANES, NUCLEI = range(2)
"""Channels of the image."""
_JITTER = 0.6
"""Irregularity of the places: 0, a lattice … 1, anywhere in their lattice cell."""
_RADIUS = 1.15
"""The farthest that a cell reaches from its seed, in lattice constants; what is farther from all is background."""
_NUCLEUS = 0.3
"""Radius of a nucleus, in lattice constants."""
_PLACES = 0
"""The stream of random numbers for places; those from 1 on are for the stains."""


@dataclass(frozen=True)
class TissueMovie:
    """A movie of ``times`` time points of shape (z, y, x) in voxels; lengths in µm.

    A cell keeps its id as long as it lives; daughters have ids of their own. Cells become smaller as they divide, on
    average, unless ``growth`` or deaths make room.
    """

    shape: Triple
    times: int = 10
    voxel_size_um: Vector = (0.5, 0.25, 0.25)
    cell_diameter_um: float = 8.4
    """Diameter of the ball with the volume of the mean cell at time 0."""
    division_rate: float = 0.04
    """Chance that a cell that is old enough divides from one time point to the next."""
    death_rate: float = 0.005
    """Chance that a cell dies from one time point to the next."""
    youngest_mother: int = 4
    """Time points from the birth of a cell to its first chance to divide."""
    drift: Vector = (0.0, 0.0, 0.0)
    """Voxels (z, y, x), also fractions of one, by which all moves from one time point to the next."""
    growth: float = 0.0
    """Relative growth of every length from one time point to the next, about the centre of the volume."""
    outline: bool = True
    """Whether the tissue is a rounded organ with label 0 around it, rather than without end."""
    wall_thickness_um: float = 0.6
    psf_um: tuple[float, float] = (0.4, 0.22)
    """Standard deviation of the optical blur along z and within a plane."""
    photons: float = 25.0
    """Photons in a well stained wall or nucleus: fewer mean more noise."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is impossible or overflows."""
        if min(self.shape) < 1 or min(self.voxel_size_um) <= 0:
            raise ValueError(f"shape {self.shape} and voxel size {self.voxel_size_um} must be positive")
        if self.cell_diameter_um < 4 * max(self.voxel_size_um):
            raise ValueError(f"cells of {self.cell_diameter_um} µm are less than four voxels of {self.voxel_size_um}")
        if not (self.growth >= 0 and self.photons > 0):
            raise ValueError("growth must not be negative, photons must be positive")
        if self.max_id >= 1 << 32:
            raise ValueError(f"{self.max_id} cells do not fit uint32: take larger cells, or fewer time points")

    @cached_property
    def life(self) -> CellLife:
        """What decides when cells divide and die, and how they move."""
        return CellLife(self.times, self.division_rate, self.death_rate, self.youngest_mother, self.seed)

    @property
    def spacing_um(self) -> float:
        """Lattice constant, µm: one cell of time 0 per cube of this edge."""
        return self.cell_diameter_um * math.cbrt(math.pi / 6)

    @property
    def max_id(self) -> int:
        """Largest id that a cell can have, which need not occur."""
        return math.prod(self._lattice[1]) * self.life.cells_of_family

    @property
    def tile_shape(self) -> Triple:
        """Voxels (z, y, x) of the tiles that all work is done in; boxes that keep to them are the cheapest."""
        return tile_shape(self.spacing_um, self.voxel_size_um)

    @cached_property
    def _margin(self) -> int:
        """Lattice cells around a point within which all cells that can be nearest to it have their places."""
        return math.ceil(_RADIUS + self.life.reach)

    @cached_property
    def _lattice(self) -> tuple[Triple, Triple]:
        """First place and number of places along each axis that can come into view at any time."""
        first, number = [], []
        for axis in range(3):
            ends = [_material(self, t, axis)[[0, -1]] for t in (0, self.times - 1)]
            low, high = min(e[0] for e in ends), max(e[1] for e in ends)
            begin = math.floor(low / self.spacing_um) - self._margin
            first.append(begin)
            number.append(math.floor(high / self.spacing_um) + self._margin + 1 - begin)
        return (first[0], first[1], first[2]), (number[0], number[1], number[2])

    def labels(self, box: Box, t: int) -> NDArray[np.uint32]:
        """The true cell ids, uint32 (z, y, x), of ``box`` at time ``t``; 0 where there is no cell."""
        labels = np.empty(box.shape, np.uint32)
        for tile in self._tiles(box, t):
            labels[tile.box.inside(box).slices] = _scene(self, tile).labels
        return labels

    def nuclei(self, box: Box, t: int) -> NDArray[np.uint32]:
        """The true nuclei, uint32 (z, y, x), with the ids of their cells."""
        labels = np.empty(box.shape, np.uint32)
        for tile in self._tiles(box, t):
            scene = _scene(self, tile)
            labels[tile.box.inside(box).slices] = np.where(movie_stains.into_nucleus(self, scene) > 0, scene.labels, 0)
        return labels

    def image(self, box: Box, t: int, channel: int = MEMBRANES) -> NDArray[np.uint8]:
        """The stained walls or nuclei, uint8 (z, y, x), of ``box`` at time ``t``."""
        if channel not in (MEMBRANES, NUCLEI):
            raise ValueError(f"there is no channel {channel}")
        image = np.empty(box.shape, np.uint8)
        for tile in self._tiles(box, t):
            scene = _scene(self, tile)
            stain = movie_stains.membranes(self, scene, t) if channel == MEMBRANES else movie_stains.nuclei(self, scene)
            image[tile.box.inside(box).slices] = movie_stains.expose(self, tile, stain, channel)
        return image

    def lineage(self) -> Lineage:
        """All cells whose places can come into view, whether or not any voxel of them does.

        :func:`bigseg.kernels.lineage.restrict` gives the lineage of those that are seen.
        """
        families = np.arange(math.prod(self._lattice[1]), dtype=np.uint64)
        cells = self.life.cells(families)
        return Lineage(cells.id, cells.parent, cells.start, cells.end)

    def _tiles(self, box: Box, t: int) -> Iterator[Tile]:
        """The tiles that ``box`` touches, cut to it."""
        if not 0 <= t < self.times:
            raise ValueError(f"there is no time {t}: the movie has {self.times}")
        for whole, part in tiles(box, self.shape, self.tile_shape):
            yield Tile(t, whole, part)


class Tile(NamedTuple):
    """``box``, the part of a tile that was asked for; the ``whole`` tile alone decides which seeds are looked at."""

    time: int
    whole: Box
    box: Box


@lru_cache(maxsize=64)
def _material(movie: TissueMovie, t: int, axis: int) -> NDArray[np.float64]:
    """Position, µm, of each voxel along an axis in the tissue as it was at time 0, before it drifted and grew."""
    n, v = movie.shape[axis], movie.voxel_size_um[axis]
    centre = n * v / 2
    drifted = (np.arange(n) + 0.5 - movie.drift[axis] * t) * v
    return np.asarray((drifted - centre) / (1 + movie.growth) ** t + centre)


@lru_cache(maxsize=256)
def _families(
    movie: TissueMovie, first: Triple, number: Triple
) -> tuple[Cells, NDArray[np.uint64], NDArray[np.float64]]:
    """All that ever lives of a box of places: cells, numbers of the families, and their places, µm (n, 3)."""
    begin, lattice = movie._lattice
    points = np.indices(number).reshape(3, -1).T + first
    families = np.ravel_multi_index(tuple((points - begin).T), lattice).astype(np.uint64)
    h = hashes(stream(movie.seed, _PLACES), families)
    offsets = np.stack([uniform(h, part) for part in range(3)], axis=1) - 0.5
    return movie.life.cells(families), families, (points + 0.5 + _JITTER * offsets) * movie.spacing_um


class _Seeds(NamedTuple):
    """Cells that may be nearest or second nearest somewhere in a tile, ascending by id."""

    ids: NDArray[np.uint64]
    positions_um: NDArray[np.float64]
    """(n, 3) from the tile's first voxel, in the tissue of time 0."""
    longer_um2: NDArray[np.float64]
    """(n,) by how much squared distances to it are lengthened."""
    living: NDArray[np.bool_]
    """(n,) False for the gap that a dead cell left."""
    nucleus_um: NDArray[np.float64]
    """(n,) radius of the nucleus."""


def _seeds(movie: TissueMovie, tile: Tile) -> _Seeds:
    a, t = movie.spacing_um, tile.time
    ends = [_material(movie, t, axis)[rows][[0, -1]] for axis, rows in enumerate(tile.whole.slices)]
    origin, last = np.array(ends).T
    centre, half = (origin + last) / 2, (last - origin) / 2
    first = np.floor(origin / a).astype(int) - movie._margin
    number = np.floor(last / a).astype(int) + movie._margin + 1 - first
    everyone, families, places = _families(
        movie, (int(first[0]), int(first[1]), int(first[2])), (int(number[0]), int(number[1]), int(number[2]))
    )
    now = present(everyone, t)
    cells = Cells._make(column[now] for column in everyone)
    wandering = movie.life.wandering(families, t)[cells.family]
    positions = places[cells.family] + a * (wandering + relative_positions(cells, t))
    longer = lengthening(cells, t) * a * a

    # Nowhere in the tile is a seed nearer than ``low``, nor farther than ``high``. What two others surely beat is
    # nowhere second nearest, and what is out of reach does not count.
    away = np.abs(positions - centre)
    low = np.square(np.maximum(away - half, 0)).sum(axis=1) + longer
    high = np.square(away + half).sum(axis=1) + longer
    beaten = np.sort(high)[1] if len(high) > 1 else np.inf
    keep = (low <= beaten + 1e-3 * a * a) & (low <= 1.01 * (_RADIUS * a) ** 2)
    grown = 0.8 + 0.2 * maturity(cells, t)
    radius = _NUCLEUS * a * 2.0 ** (-cells.generation / 9) * grown
    living = t <= cells.end
    return _Seeds(cells.id[keep], positions[keep] - origin, longer[keep], living[keep], radius[keep])


class Scene(NamedTuple):
    """What is at each voxel (z, y, x) of a tile. Lengths in µm of the tissue of time 0."""

    seeds: _Seeds
    labels: NDArray[np.uint32]
    nearest: NDArray[np.uint32]
    """Position of the nearest among the n seeds."""
    pair: NDArray[np.uint32]
    """``nearest * n + beyond``: the seeds on either side of the closest wall."""
    distance_um: Floats
    """To the nearest seed."""
    wall_um: Floats
    """To the closest wall between two seeds."""
    surface_um: Floats
    """To where the cell ends without a neighbour, negative beyond; infinite in the gap of a dead cell."""


def _scene(movie: TissueMovie, tile: Tile) -> Scene:
    seeds = _seeds(movie, tile)
    shape, count = tile.box.shape, len(seeds.ids)
    if count == 0:
        nothing, far = np.zeros(shape, np.uint32), np.full(shape, np.inf, np.float32)
        return Scene(seeds, nothing, nothing, nothing, far, far, np.full(shape, -np.inf, np.float32))
    if count > int(INDEX_MASK):
        raise ValueError(f"{count} cells in a tile are too many: let cells divide less often")
    material = [_material(movie, tile.time, axis) for axis in range(3)]
    axes = [
        (m[rows] - m[begin]).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
        for axis, (m, rows, begin) in enumerate(zip(material, tile.box.slices, tile.whole.begin, strict=True))
    ]
    squared = np.empty((count, *shape), np.float32)
    squared[:] = seeds.longer_um2.astype(np.float32).reshape(-1, 1, 1, 1)
    for along, of_seeds in zip(axes, seeds.positions_um.astype(np.float32).T, strict=True):
        step = along - of_seeds.reshape(-1, 1, 1, 1)
        squared += step * step
    first, second = two_smallest(keyed(squared))
    nearest = first & INDEX_MASK
    power = squared_distance(first)
    longer = seeds.longer_um2.astype(np.float32)[nearest]
    distance = np.sqrt(np.maximum(power - longer, np.float32(0)))
    if count > 1:
        pair = nearest * np.uint32(count) + (second & INDEX_MASK)
        gap = squared_distance(second) - power
        wall = gap * _half_inverse_lengths(seeds).ravel()[pair]
    else:
        pair = nearest
        wall = np.full(shape, np.inf, np.float32)
    radius = np.float32(_RADIUS * movie.spacing_um)
    # A newborn reaches less far, as it does towards its neighbours.
    surface = np.sqrt(np.maximum(radius * radius - longer, np.float32(0))) - distance
    depth = _depth(movie, tile)
    living = seeds.living[nearest]
    outside = (surface < 0) | (depth < 0) | ~living
    labels = np.where(outside, np.uint32(0), seeds.ids.astype(np.uint32)[nearest])
    surface = np.where(living, np.minimum(surface, depth), np.float32(np.inf))
    return Scene(seeds, labels, nearest, pair, distance, wall, surface.astype(np.float32))


def _depth(movie: TissueMovie, tile: Tile) -> Floats:
    """How far below the organ's surface, µm."""
    if not movie.outline:
        return np.full(tile.box.shape, np.inf, np.float32)
    z, y, x = (_material(movie, tile.time, axis)[rows] for axis, rows in enumerate(tile.box.slices))
    depth = depth_in_organ(movie.shape, movie.voxel_size_um, z[:, None, None], y[:, None], x)
    return np.asarray(depth, np.float32)


def _half_inverse_lengths(seeds: _Seeds) -> Floats:
    """1 / (2 × distance) of each pair of seeds, (n, n): what turns a difference of squares into a distance."""
    between = seeds.positions_um[:, None] - seeds.positions_um[None]
    length = np.sqrt((between * between).sum(axis=-1))
    np.fill_diagonal(length, 1.0)
    return np.asarray(0.5 / np.maximum(length, 1e-6), np.float32)
