"""Which planes of a volume a report shows, and reading them without ever loading a volume.

Every picture has square pixels of one physical size, the same for all planes and time points of a sample, so that
planes of anisotropic volumes have their true proportions and can be laid beside each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bigseg.config.samples import Input
from bigseg.geometry.box import Box, Triple, triple
from bigseg.geometry.levels import Level, pyramid_levels
from bigseg.layout import Layout
from bigseg.volumes.image import open_coarse_image, open_image
from bigseg.volumes.source import open_source
from bigseg.volumes.store import VolumeArray

if TYPE_CHECKING:
    from bigseg.stages.step import Parameters

LONGEST_PLANE = 1024
"""A plane with a longer side, in voxels, is read from a coarser level of the pyramid."""
_LONGEST_PICTURE = 768
"""Pixels of the longest axis in the pictures of a large volume; noisy pictures of this size take 1 MB each."""
_SHORTEST_PICTURE = 640
"""Small volumes are enlarged to this many pixels, so that outlines stay thin."""
_THINNEST_PICTURE = 12
"""Planes that would be fewer pixels across show nothing and are left out."""
_STRIP = 4 << 20
"""Voxels read at once where there is no pyramid."""
_MOST_TIMES = 4
"""Up to this many time points are shown all, of more the first, the middle and the last."""

_NAMES = ("xy", "xz", "yz")
_ROWS_AND_COLUMNS = ((1, 2), (0, 2), (0, 1))


class Readable(Protocol):
    """Whatever is read box by box."""

    def read(self, t: int, c: int, box: Box) -> np.ndarray:
        """Voxels (z, y, x) of ``box``."""
        ...


@dataclass(frozen=True)
class Cut:
    """The plane of all voxels with index ``position`` (at full resolution) along ``axis`` (0 is z, 1 is y, 2 is x)."""

    axis: int
    position: int

    @property
    def name(self) -> str:
        """``xy``, ``xz`` or ``yz``."""
        return _NAMES[self.axis]

    @property
    def rows_and_columns(self) -> tuple[int, int]:
        """The axes that run down and across the picture; z runs down in both upright planes."""
        return _ROWS_AND_COLUMNS[self.axis]

    def describe(self, voxel_size_um: Sequence[float]) -> str:
        """What a caption says, e.g. ``z = 16 (3.88 µm)``; the centre of the voxel counts."""
        return f"{'zyx'[self.axis]} = {self.position} ({(self.position + 0.5) * voxel_size_um[self.axis]:.4g} µm)"


def choose_times(times: Sequence[int]) -> list[int]:
    """The time points that are shown."""
    if len(times) <= _MOST_TIMES:
        return list(times)
    return [times[0], times[len(times) // 2], times[-1]]


@dataclass(frozen=True)
class Canvas:
    """The scale of all pictures of a sample.

    Attributes:
        shape: of the volume, (z, y, x) in voxels.
        voxel_size_um: (z, y, x).
        longest: pixels of the longest axis in the pictures of a large volume.
        shortest: to so many that of a small volume is enlarged.
        longest_plane: a plane with a longer side, in voxels, is read from a coarser level of the pyramid.
    """

    shape: Triple
    voxel_size_um: tuple[float, float, float]
    longest: int = _LONGEST_PICTURE
    shortest: int = _SHORTEST_PICTURE
    longest_plane: int = LONGEST_PLANE

    @property
    def extent_um(self) -> tuple[float, float, float]:
        """Size of the volume (z, y, x)."""
        z, y, x = (n * s for n, s in zip(self.shape, self.voxel_size_um, strict=True))
        return (z, y, x)

    @cached_property
    def pixel_um(self) -> float:
        """Size of a pixel; an axis of a single voxel is no part of any picture and does not count."""
        counted = [axis for axis in range(3) if self.shape[axis] > 1] or [1, 2]
        longest = max(self.extent_um[axis] for axis in counted)
        voxels = longest / min(self.voxel_size_um[axis] for axis in counted)
        return longest / min(self.longest, max(self.shortest, voxels))

    def pixels(self, axis: int) -> int:
        """Length of an axis in pixels."""
        return max(1, round(self.extent_um[axis] / self.pixel_um))

    def pixel_of(self, axis: int, position: int) -> float:
        """Where the centre of voxel ``position`` lies along an axis, in pixels."""
        return (position + 0.5) * self.voxel_size_um[axis] / self.pixel_um

    def cuts(self, planes: int) -> list[list[Cut]]:
        """Per shown axis ``planes`` evenly spaced cuts; an axis is left out where its planes would be mere lines.

        Images of a single plane show that plane only.
        """
        axes = [axis for axis in range(3) if self._visible(axis)] or [0]
        found = []
        for axis in axes:
            count = min(planes, self.shape[axis])
            found.append([Cut(axis, (2 * i + 1) * self.shape[axis] // (2 * count)) for i in range(count)])
        return found

    def _visible(self, axis: int) -> bool:
        sides = _ROWS_AND_COLUMNS[axis]
        return all(self.shape[side] > 1 and self.pixels(side) >= _THINNEST_PICTURE for side in sides)


class Volumes:
    """The image and the labels of a finished sample at all levels of the pyramid, opened when they are first read."""

    def __init__(self, layout: Layout, parameters: Parameters) -> None:
        """Nothing is opened yet; ``parameters`` are those of step ``report.page``."""
        self._layout = layout
        self._parameters = parameters
        self.shape = triple(parameters["shape"])
        z, y, x = parameters["voxel_size_um"]
        self.voxel_size_um = (z, y, x)
        self.levels = pyramid_levels(self.shape, self.voxel_size_um, parameters["settings"]["pyramid"]["smallest"])
        self.image = cache(self._open_image)
        self.labels = cache(lambda level: VolumeArray(layout.labels(level), "tzyx"))
        self.tracks = cache(lambda level: VolumeArray(layout.tracks(level), "tzyx"))

    @property
    def channel(self) -> int:
        """The channel that is segmented."""
        number: int = self._parameters["channel"]
        return number

    def finest(self, fits: Callable[[Level], bool]) -> int:
        """The number of the finest level for which something holds, or of the coarsest there is."""
        return next((number for number, level in enumerate(self.levels) if fits(level)), len(self.levels) - 1)

    def _open_image(self, level: int) -> Readable:
        if level == 0:
            return open_image(self._layout, self._parameters, self.shape)
        return open_coarse_image(self._layout, level)


class PlaneReader:
    """Read planes of a finished sample as pictures (rows, columns) on a canvas, by the nearest voxel."""

    def __init__(self, layout: Layout, parameters: Parameters, **scale: int) -> None:
        """Nothing is opened until it is read.

        Args:
            layout: folders of the sample.
            parameters: those of step ``report.page``.
            scale: of the pictures, if it is another than that of the page: see :class:`Canvas`.
        """
        self._layout = layout
        self._parameters = parameters
        self.volumes = Volumes(layout, parameters)
        self.canvas = Canvas(self.volumes.shape, self.volumes.voxel_size_um, **scale)

    def image(self, time: int, cut: Cut) -> np.ndarray:
        """Intensities of the channel that is segmented."""
        number = self._level_for(cut)
        return self._sample(self.volumes.image(number), time, self.volumes.channel, cut, number)

    def labels(self, time: int, cut: Cut) -> np.ndarray:
        """Objects, uint64; 0 is none."""
        number = self._level_for(cut)
        return self._sample(self.volumes.labels(number), time, 0, cut, number)

    def tracks(self, time: int, cut: Cut) -> np.ndarray | None:
        """Tracks, uint32; 0 is none. None where the sample is not tracked."""
        if not self._parameters["tracked"]:
            return None
        number = self._level_for(cut)
        return self._sample(self.volumes.tracks(number), time, 0, cut, number)

    def boundary(self, time: int, cut: Cut) -> np.ndarray | None:
        """The boundary map, uint8; None where the work folder holds none (any more) of the time point."""
        if self._boundary is None or not self._boundary.holds(time):
            return None
        return self._sample(self._boundary, time, 0, cut, 0)

    def truth(self, time: int, cut: Cut) -> np.ndarray | None:
        """Labels of the truth; None where the sample has none."""
        if self._truth is None:
            return None
        return self._sample(self._truth, time, 0, cut, 0)

    @cached_property
    def _boundary(self) -> VolumeArray | None:
        if self._parameters["sample"].get("segmentation") is not None:  # another run may have left one
            return None
        path = self._layout.boundary_map
        return VolumeArray(path, "tzyx") if (path / "zarr.json").exists() else None

    @cached_property
    def _truth(self) -> Readable | None:
        spec: dict[str, Any] | None = self._parameters["sample"]["truth"]
        return None if spec is None else open_source(Input.model_validate(spec))

    def _level_for(self, cut: Cut) -> int:
        """The finest level whose plane is small enough, or the coarsest there is."""
        return self.volumes.finest(
            lambda level: max(level.shape[side] for side in cut.rows_and_columns) <= self.canvas.longest_plane
        )

    def _sample(self, source: Readable, time: int, channel: int, cut: Cut, number: int) -> np.ndarray:
        """Read a plane of a level strip by strip, keeping of each only the voxels that the picture shows."""
        level = self.volumes.levels[number]
        down, across = cut.rows_and_columns
        rows, columns = (self._nearest(axis, level) for axis in (down, across))
        position = min(cut.position // level.scale[cut.axis], level.shape[cut.axis] - 1)
        height = max(1, _STRIP // level.shape[across])
        strips = []
        for start in range(0, level.shape[down], height):
            stop = min(start + height, level.shape[down])
            begin, end = [0, 0, 0], list(level.shape)
            begin[down], end[down] = start, stop
            begin[cut.axis], end[cut.axis] = position, position + 1
            wanted = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]
            if len(wanted):
                strip = source.read(time, channel, Box(triple(begin), triple(end))).squeeze(axis=cut.axis)
                strips.append(strip[np.ix_(wanted - start, columns)])
        return np.concatenate(strips)

    def _nearest(self, axis: int, level: Level) -> np.ndarray:
        """The voxel of a level under the centre of each pixel along an axis, ascending."""
        centres = (np.arange(self.canvas.pixels(axis)) + 0.5) * self.canvas.pixel_um
        voxels = centres / (self.canvas.voxel_size_um[axis] * level.scale[axis])
        return np.clip(voxels.astype(np.int64), 0, level.shape[axis] - 1)
