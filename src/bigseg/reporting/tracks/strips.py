"""Which tracks are shown as strips of pictures, and reading the small boxes that these need."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np

from bigseg.geometry.box import Box, triple
from bigseg.reporting.planes import Volumes
from bigseg.reporting.tracks.table import Rows, Tracks

MOST_STRIPS = 6
MOST_DIVISIONS = 4
"""Strips that show a division, if there are so many; the others show the longest tracks without one."""
FRAMES = 8
PIXELS = 160
"""Across a crop."""
_LONGEST_CROP = 256
"""A crop of more voxels across is read from a coarser level of the pyramid."""
_MOST_PLANES = 16
"""As many are read of those between two daughters."""
_ROOM = 1.9
"""Width of a crop, where 1 is the diameter of a ball of the largest object's volume."""
_ROOM_FOR_DAUGHTERS = 1.2
"""The least width of a crop, where 1 is such a diameter and the distance of two daughters."""
_WIDEST = 5
"""No crop is wider than as many times that diameter."""


@dataclass(frozen=True)
class Strip:
    """A track, or a division.

    Attributes:
        track: row of the track.
        daughters: rows of its daughters, of which there are none where it does not divide.
        at: positions in the time points of the movie that are shown, ascending.
    """

    track: int
    daughters: tuple[int, ...]
    at: tuple[int, ...]

    @property
    def members(self) -> tuple[int, ...]:
        """All tracks that are outlined."""
        return (self.track, *self.daughters)


@dataclass(frozen=True, eq=False)
class Crop:
    """A square part of an xy plane.

    Attributes:
        image: (pixels, pixels) intensities.
        tracks: (pixels, pixels) of the outlined tracks their numbers, 0 elsewhere.
        inside: (pixels, pixels) bool, whether there is any image.
    """

    image: np.ndarray
    tracks: np.ndarray
    inside: np.ndarray


def choose_strips(tracks: Tracks) -> list[Strip]:
    """Divisions with most time points around them, from as many lineages as possible; then the longest other tracks."""
    seen = {row: _window(tracks, row) for row in tracks.mothers.tolist()}
    by_view = sorted(seen, key=lambda row: (-_view(tracks, row), row))
    rank: dict[int, int] = {}
    ranked: list[tuple[int, int, int]] = []
    for row in by_view:
        root = int(tracks.root[row])
        rank[root] = rank.get(root, 0) + 1
        ranked.append((rank[root], len(ranked), row))
    divisions = [Strip(row, tuple(tracks.daughters(row).tolist()), tuple(seen[row])) for _, _, row in sorted(ranked)]
    apart = (tracks.parent < 0) & ~np.isin(np.arange(len(tracks)), tracks.mothers)
    alone = np.flatnonzero(apart)
    longest = alone[np.lexsort((alone, -tracks.length[alone]))][:MOST_STRIPS]
    others = [Strip(row, (), _spread(tracks, row)) for row in longest.tolist()]
    shown = min(len(divisions), max(MOST_DIVISIONS, MOST_STRIPS - len(others)))
    return divisions[:shown] + others[: MOST_STRIPS - shown]


def side_um(tracks: Tracks, strips: list[Strip], volumes: Volumes) -> float:
    """The width of all crops: everything that is outlined fits in, with some room, unless daughters are far apart."""
    places = [(strip, at) for strip in strips for at in strip.at]
    found = [_objects(tracks, strip, at) for strip, at in places]
    diameters = [diameter_um(volume, volumes) for _, _, volume in found]
    across = [
        float(np.linalg.norm(np.ptp(position[:, 1:], axis=0)) + diameter.max())
        for (_, position, _), diameter in zip(found, diameters, strict=True)
    ]
    largest = max(float(diameter.max()) for diameter in diameters)
    whole: float = max(n * s for n, s in list(zip(volumes.shape, volumes.voxel_size_um, strict=True))[1:])
    return min(max(_ROOM * largest, _ROOM_FOR_DAUGHTERS * max(across)), _WIDEST * largest, whole)


def diameter_um(volume_um3: np.ndarray, volumes: Volumes) -> np.ndarray:
    """Diameters of balls with these volumes; of discs, where the whole image is not as thick as the ball."""
    thickness = volumes.shape[0] * volumes.voxel_size_um[0]
    ball = np.cbrt(6 * volume_um3 / pi)
    disc = 2 * np.sqrt(volume_um3 / thickness / pi)
    return np.where((ball > thickness) | (volumes.shape[0] == 1), disc, ball)


def read_crop(volumes: Volumes, tracks: Tracks, strip: Strip, at: int, side: float) -> Crop:
    """A picture of a strip.

    The plane goes through the centre of the object, or amid the daughters; of daughters at different heights the
    brightest voxels of the planes from one to the other are shown.

    Args:
        volumes: where image and tracks are read.
        tracks: all tracks.
        strip: what is shown.
        at: position in the time points.
        side: width in µm.
    """
    numbers, position, _ = _objects(tracks, strip, at)
    _, size_y, size_x = volumes.voxel_size_um
    number = volumes.finest(lambda level: side <= _LONGEST_CROP * min(size_y * level.scale[1], size_x * level.scale[2]))
    level = volumes.levels[number]
    size = [s * f for s, f in zip(volumes.voxel_size_um, level.scale, strict=True)]
    time = int(tracks.times[at])
    # positions count from the centre of the first voxel at full resolution
    corner = position + np.array(volumes.voxel_size_um) / 2
    middle = (corner.min(axis=0) + corner.max(axis=0)) / 2
    rows, columns = (_voxels(middle[axis], side, size[axis]) for axis in (1, 2))
    there = [(v >= 0) & (v < level.shape[axis]) for v, axis in ((rows, 1), (columns, 2))]
    inside = there[0][:, None] & there[1][None]
    image = np.zeros((PIXELS, PIXELS), np.float32)
    labels = np.zeros((PIXELS, PIXELS), np.uint32)
    if inside.any():
        rows, columns = rows[there[0]], columns[there[1]]
        planes = _planes(corner[:, 0].min() / size[0], corner[:, 0].max() / size[0], level.shape[0])
        shown, found = _brightest(volumes, number, time, planes, (rows, columns), numbers)
        image[inside], labels[inside] = shown.reshape(-1), found.reshape(-1)
    return Crop(image, labels, inside)


def _brightest(
    volumes: Volumes, number: int, time: int, planes: list[int], pixels: tuple[Rows, Rows], wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of some planes of a level the brightest voxels, and the wanted tracks, of which lower planes hide higher ones."""
    rows, columns = pixels
    image: np.ndarray | None = None
    labels = np.zeros((len(rows), len(columns)), np.uint32)
    for plane in planes:
        box = Box(triple([plane, rows[0], columns[0]]), triple([plane + 1, rows[-1] + 1, columns[-1] + 1]))
        grid = np.ix_(rows - rows[0], columns - columns[0])
        seen = volumes.image(number).read(time, volumes.channel, box)[0][grid]
        image = seen if image is None else np.maximum(image, seen)
        tracks = volumes.tracks(number).read(time, 0, box)[0][grid]
        labels = np.where((labels == 0) & np.isin(tracks, wanted), tracks, labels)
    if image is None:
        raise ValueError("a crop has at least one plane")
    return image, labels


def _planes(lowest: float, highest: float, depth: int) -> list[int]:
    """The planes from one height in voxels to another, evenly spread where there are many."""
    begin, end = (int(np.clip(np.floor(height), 0, depth - 1)) for height in (lowest, highest))
    count = min(end - begin + 1, _MOST_PLANES)
    planes: list[int] = np.unique(np.round(np.linspace(begin, end, count)).astype(int)).tolist()
    return planes


def _voxels(middle: float, side: float, size: float) -> Rows:
    """The voxel under the centre of each pixel along an axis; it may lie outside."""
    centres = middle + side * ((np.arange(PIXELS) + 0.5) / PIXELS - 0.5)
    return np.floor(centres / size).astype(np.int64)


def _objects(tracks: Tracks, strip: Strip, at: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the outlined tracks at a time point: their numbers (n,), centres (n, 3) and volumes (n,)."""
    begin, end = np.searchsorted(tracks.points["time"], [tracks.times[at], tracks.times[at] + 1])
    here = {name: column[begin:end] for name, column in tracks.points.items()}
    own = np.isin(here["track"], np.array(strip.members) + 1)
    position = np.stack([here[f"{axis}_um"][own] for axis in "zyx"], axis=1)
    return here["track"][own], position, here["volume_um3"][own]


def _view(tracks: Tracks, mother: int) -> int:
    """Time points seen before and after a division, as far as a strip shows them."""
    half = FRAMES // 2
    after = int(tracks.last[tracks.daughters(mother)].min()) - int(tracks.last[mother])
    return min(half, int(tracks.length[mother])) + min(half, after)


def _window(tracks: Tracks, mother: int) -> range:
    """Consecutive time points around a division."""
    division = int(tracks.last[mother]) + 1
    past = int(tracks.last[tracks.daughters(mother)].max()) + 1
    begin = max(int(tracks.first[mother]), division - FRAMES // 2)
    end = min(past, begin + FRAMES)
    return range(max(int(tracks.first[mother]), end - FRAMES), end)


def _spread(tracks: Tracks, row: int) -> tuple[int, ...]:
    """Time points of a track, evenly spread from its first to its last."""
    count = min(FRAMES, int(tracks.length[row]))
    spread = np.linspace(tracks.first[row], tracks.last[row], count)
    return tuple(np.round(spread).astype(int).tolist())
