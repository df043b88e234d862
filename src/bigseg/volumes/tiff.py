"""Read TIFF files lazily: mapped where they are stored plainly, else decoded strip by strip or tile by tile."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tifffile import TIFF, TiffFile, TiffFrame, TiffPage

from bigseg.config.samples import Input
from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.volumes.axes import AxisLayout, Index, ask_for_axes, choose_axes
from bigseg.volumes.cache import ByteCache
from bigseg.volumes.header import VolumeHeader
from bigseg.volumes.metadata import as_read, check_not_empty, make_header, read_type
from bigseg.volumes.problems import explained
from bigseg.volumes.source import Source
from bigseg.volumes.tiff_metadata import (
    choose_series,
    has_default_axes,
    series_axes,
    series_channels,
    series_spacing,
)

Region = tuple[range, range, range, range, range]
"""Part of a page in tifffile's order: separate samples, depth, length, width, contiguous samples."""


class TiffImage:
    """One image (series of pages) of a TIFF file, as an array of any number of dimensions.

    Args:
        path: the file.
        key: number of the image in the file, see ``choose_series``.
        cache: where decoded strips and tiles are kept; shared between the files of a series.

    Raises:
        UserError: no TIFF, damaged, several images, or a compression that cannot be decoded here.
    """

    def __init__(self, path: Path, key: str | None = None, cache: ByteCache | None = None) -> None:
        """Open the file; nothing is decoded."""
        self._path = path
        self._cache = cache if cache is not None else ByteCache()
        self._lock = threading.Lock()
        with explained(path, "open it as TIFF"):
            self._tif = TiffFile(path)
            try:
                self._load(key)
            except BaseException:
                self._tif.close()
                raise

    def _load(self, key: str | None) -> None:
        number, series = choose_series(self._path, self._tif, key)
        self._series = series
        page = self._page = series.keyframe
        self.shape: tuple[int, ...] = tuple(series.shape)
        check_not_empty(self._path, self.shape)
        self.dtype = read_type(self._path, series.dtype)
        self.stated_axes = series_axes(series)
        self.default_axes_allowed = has_default_axes(series)
        self.spacing = series_spacing(self._tif, number, series)
        self.channels = series_channels(self._tif, number, series)
        self.chunks: tuple[int, ...] | None = None
        self._map: np.ndarray | None = None
        self._raw: np.ndarray | None = None
        self._stored = np.dtype(series.dtype).newbyteorder(self._tif.byteorder)
        if page.is_final and series.dataoffset is not None and not series.is_multifile:
            self._map = np.memmap(self._path, self._stored, "r", series.dataoffset, self.shape)
            return
        plain = page.is_final and not series.is_multifile
        self._raw = np.memmap(self._path, np.uint8, "r") if plain else None
        self._check_decodable(page)
        samples, depth, length, width, contiguous = page.shaped
        inner = [size for size in (samples, depth) if size > 1] + [length, width]
        self._inner = (*inner, contiguous) if contiguous > 1 else tuple(inner)
        self._outer = self.shape[: len(self.shape) - len(self._inner)]
        if self._outer + self._inner != self.shape or len(series) < math.prod(self._outer):
            raise UserError(
                f"{self._path}: pages of shape {page.shape} do not make up an image of shape {self.shape}",
                "save it as OME-TIFF with Fiji",
            )
        self._tile = (
            (page.tiledepth, page.tilelength, page.tilewidth)
            if page.is_tiled
            else (1, min(page.rowsperstrip, length), width)
        )
        if not plain:
            kept = dict(zip("sdlwc", page.shaped, strict=True))
            sizes = {"s": 1, "d": self._tile[0], "l": min(self._tile[1], length), "w": min(self._tile[2], width)}
            self.chunks = (1,) * len(self._outer) + tuple(
                sizes.get(axis, kept[axis]) for axis in "sdlwc" if axis in "lw" or kept[axis] > 1
            )
        page.init_decode()  # not safe to do from several threads

    def _check_decodable(self, page: TiffPage) -> None:
        if page.compression in TIFF.DECOMPRESSORS and page.predictor in TIFF.UNPREDICTORS:
            return
        name = getattr(page.compression, "name", page.compression)
        predictor = f" with predictor {page.predictor}" if page.compression in TIFF.DECOMPRESSORS else ""
        raise UserError(
            f"{self._path} is compressed by {name}{predictor}, which needs the package imagecodecs",
            "install it (`pip install imagecodecs`), or save the file uncompressed or with zlib (deflate)",
        )

    def read(self, index: Index) -> np.ndarray:
        """The part of the image that an index of integers and slices takes, in the native type; integers drop axes.

        Raises:
            UserError: the file is damaged there.
        """
        if self._map is not None:
            return as_read(self._map[index], self.dtype)
        ranges = [range(i, i + 1) if isinstance(i, int) else range(i.start, i.stop) for i in index]
        outer, inner = ranges[: len(self._outer)], ranges[len(self._outer) :]
        result = np.empty([len(part) for part in ranges], self.dtype)
        region = self._region(inner)
        for place in itertools.product(*(range(len(part)) for part in outer)):
            at = tuple(part[i] for part, i in zip(outer, place, strict=True))
            number = int(np.ravel_multi_index(at, self._outer)) if at else 0
            self._read_page(number, region, result[place])
        return result.reshape([len(r) for r, i in zip(ranges, index, strict=True) if not isinstance(i, int)])

    def close(self) -> None:
        """Close the file."""
        self._map = self._raw = None
        self._tif.close()

    def _region(self, inner: list[range]) -> Region:
        parts = iter(inner)
        samples, depth, _, _, contiguous = self._page.shaped
        one = range(1)
        return (
            next(parts) if samples > 1 else one,
            next(parts) if depth > 1 else one,
            next(parts),
            next(parts),
            next(parts) if contiguous > 1 else one,
        )

    def _read_page(self, number: int, region: Region, out: np.ndarray) -> None:
        """Write a region of a page to ``out``, which has the region's shape without its axes of length 1."""
        target = out.reshape([len(part) for part in region])
        samples, depth, length, width, contiguous = region
        if not target.size:
            return
        mapped = self._mapped(number)
        if mapped is not None:
            target[...] = mapped[tuple(slice(part.start, part.stop) for part in region)]
            return
        for segment, sample, (z, y, x) in self._segments(samples, depth, length, width):
            data = self._decoded(number, segment)
            theirs: list[slice] = []
            ours: list[slice] = []
            for begin, size, part in zip((z, y, x), data.shape, (depth, length, width), strict=False):
                low, high = max(begin, part.start), min(begin + size, part.stop)
                theirs.append(slice(low - begin, high - begin))
                ours.append(slice(low - part.start, high - part.start))
            taken = data[tuple(theirs)][..., contiguous.start : contiguous.stop]
            target[sample - samples.start][tuple(ours)] = taken

    def _mapped(self, number: int) -> np.ndarray | None:
        """A page that is stored plainly and in one piece, in tifffile's five dimensions; else None."""
        if self._raw is None:
            return None
        with explained(self._path, f"read page {number}"):
            with self._lock:
                page = self._series[number]
                if page is None:
                    raise ValueError("it is missing in the file")
                offsets, counts = page.dataoffsets, page.databytecounts
            ends = [offset + count for offset, count in zip(offsets, counts, strict=True)]
            if list(offsets[1:]) != ends[:-1] or ends[-1] - offsets[0] < self._page.nbytes:
                return None
            return np.ndarray(self._page.shaped, self._stored, self._raw.data, offsets[0])

    def _segments(
        self, samples: range, depth: range, length: range, width: range
    ) -> Iterator[tuple[int, int, tuple[int, int, int]]]:
        """Strips or tiles that a region touches: number in the page, sample, first (depth, length, width)."""
        counts = [math.ceil(size / tile) for size, tile in zip(self._page.shaped[1:4], self._tile, strict=True)]
        touched = [
            range(part.start // tile, (part.stop - 1) // tile + 1)
            for part, tile in zip((depth, length, width), self._tile, strict=True)
        ]
        for sample, z, y, x in itertools.product(samples, *touched):
            segment = ((sample * counts[0] + z) * counts[1] + y) * counts[2] + x
            yield segment, sample, (z * self._tile[0], y * self._tile[1], x * self._tile[2])

    def _decoded(self, number: int, segment: int) -> np.ndarray:
        """A strip or tile as (depth, length, width, samples)."""
        return self._cache.get((self._path, number, segment), lambda: self._decode(number, segment))

    def _decode(self, number: int, segment: int) -> np.ndarray:
        with explained(self._path, f"read page {number}"):
            with self._lock:
                page = self._series[number]
                if page is None or segment >= len(page.dataoffsets):
                    raise ValueError("it is missing in the file")
                stored = self._fetch(page, page.dataoffsets[segment], page.databytecounts[segment])
            data, _, shape = self._page.decode(stored, segment, jpegtables=page.jpegtables)
            if data is None:  # a sparse file leaves out segments of a single value
                return np.full(shape, self._page.nodata, self.dtype)
            return np.asarray(data, self.dtype)

    @staticmethod
    def _fetch(page: TiffPage | TiffFrame, offset: int, count: int) -> bytes | None:
        if not offset or not count:
            return None
        file = page.parent.filehandle
        was_closed = file.closed
        if was_closed:  # an OME-TIFF of several files: tifffile keeps only the first open
            file.open()
        try:
            file.seek(offset)
            stored = file.read(count)
        finally:
            if was_closed:
                file.close()
        if len(stored) < count:
            raise ValueError(f"the file ends {count - len(stored)} bytes too early")
        return stored


def tiff_axes(path: Path, image: TiffImage, wanted: str | None) -> str:
    """The axes of a TIFF image, see ``choose_axes``; unknown ones are told by number only where none is known."""
    if wanted is None and image.stated_axes is None and not image.default_axes_allowed:
        raise ask_for_axes(path, image.shape)
    return choose_axes(path, image.shape, wanted, image.stated_axes)


class TiffSource(Source):
    """A volume in one TIFF file."""

    header: VolumeHeader

    def __init__(self, spec: Input, path: Path) -> None:
        """Open the file; nothing is decoded."""
        self._image = TiffImage(path, spec.key)
        try:
            image = self._image
            self._layout = AxisLayout(tiff_axes(path, image, spec.axes), image.shape)
            self.header = make_header(spec, self._layout, image.dtype, image.spacing, image.channels, image.chunks)
        except BaseException:
            self._image.close()
            raise

    def read(self, t: int, c: int, box: Box) -> np.ndarray:
        """See :class:`Source`."""
        array = self._image.read(self._layout.index(t, c, box))
        return np.ascontiguousarray(self._layout.volume(array, box))

    def close(self) -> None:
        """Close the file."""
        self._image.close()
