"""Many TIFF files as one volume."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bigseg.config.samples import Input
from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.volumes.axes import CANONICAL, AxisLayout, check_inside
from bigseg.volumes.cache import ByteCache
from bigseg.volumes.header import VolumeHeader
from bigseg.volumes.metadata import Spacing, make_header
from bigseg.volumes.patterns import FileGrid
from bigseg.volumes.source import Source
from bigseg.volumes.tiff import TiffImage, tiff_axes

_OPEN_FILES = 32
"""Files kept open; far below the usual limit of 1,024 a process."""
_CHECK_ALL_UP_TO = 256
"""Up to so many files the header of each is read on opening (0.2 ms each); of more, a sample of so many."""


@dataclass
class _Lent:
    image: TiffImage
    users: int = 0


class TiffFilesSource(Source):
    """A volume whose planes, time points or channels are TIFF files of one shape and type.

    Every file is checked when it is first read; on opening, the headers of all of a few hundred, and of a sample of
    more, together with all files of unusual size. Where the names count time points, the header tells which of them
    lack a file or have one that cannot be read; only reading these is an error.

    Args:
        spec: the configuration.
        text: folder or pattern, for messages.
        grid: the files.

    Raises:
        UserError: files differ, or their axes do not fit what the names count.
    """

    header: VolumeHeader

    def __init__(self, spec: Input, text: str, grid: FileGrid) -> None:
        """Read and compare headers."""
        self._text = text
        self._key = spec.key
        self._cache = ByteCache()
        self._lock = threading.Lock()
        self._lent: OrderedDict[Path, _Lent] = OrderedDict()
        self._grid = grid
        self._files = grid.files
        first = self._first_readable()
        try:
            self._shape, self._dtype = first.shape, first.dtype
            self._along, wanted = _what_files_count(spec, grid, first)
            self._layout = AxisLayout(tiff_axes(self._sound, first, wanted), first.shape)
            if self._along is None:
                self._along = "z" if self._layout.length("z") == self._layout.length("t") == 1 else "t"
            self._counts = dict(zip(self._along, grid.shape, strict=True))
            self._check_axes(grid)
            self.header = self._make_header(spec, first.spacing, first.channels, first.chunks)
        finally:
            first.close()
        try:
            missing = self._check_files()
            self.header = self.header.model_copy(update={"missing_times": missing})
        except BaseException:
            self.close()
            raise

    def read(self, t: int, c: int, box: Box) -> np.ndarray:
        """See :class:`Source`."""
        check_inside(self.header.shape, t, c, box)
        (z0, y0, x0), (z1, y1, x1) = box.begin, box.end
        result = np.empty(box.shape, self._dtype)
        length = self._layout.length("z")
        file_t, own_t = divmod(t, self._layout.length("t"))
        file_c, own_c = divmod(c, self._layout.length("c"))
        for file_z in range(z0 // length, (z1 - 1) // length + 1) if z1 > z0 else ():
            begin, end = max(z0, file_z * length), min(z1, (file_z + 1) * length)
            own = Box((begin - file_z * length, y0, x0), (end - file_z * length, y1, x1))
            with self._borrow(self._file({"t": file_t, "c": file_c, "z": file_z})) as image:
                part = image.read(self._layout.index(own_t, own_c, own))
            result[begin - z0 : end - z0] = self._layout.volume(part, own)
        return result

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            while self._lent:
                self._lent.popitem()[1].image.close()

    def _file(self, at: dict[str, int]) -> Path:
        number = 0
        for axis, count in self._counts.items():
            number = number * count + at[axis]
        file = self._files[number]
        if file is None:
            raise UserError(
                f"{self._text}: {self._grid.missing_times[at['t']]}",
                "add the missing files, or leave the time point out",
            )
        return file

    @contextmanager
    def _borrow(self, file: Path) -> Iterator[TiffImage]:
        """An open file; the ones used least recently are closed as soon as nobody reads them."""
        with self._lock:
            lent = self._lent.get(file)
            if lent is None:
                lent = self._lent[file] = _Lent(self._open(file))
            self._lent.move_to_end(file)
            lent.users += 1
        try:
            yield lent.image
        finally:
            with self._lock:
                lent.users -= 1
                idle = [name for name, other in self._lent.items() if not other.users]
                for name in idle[: max(0, len(self._lent) - _OPEN_FILES)]:
                    self._lent.pop(name).image.close()

    def _open(self, file: Path) -> TiffImage:
        image = TiffImage(file, self._key, self._cache)
        if image.shape != self._shape or image.dtype != self._dtype:
            image.close()
            raise UserError(
                f"{file} has shape {image.shape} and type {image.dtype}, but {self._sound} of the same input has "
                f"{self._shape} and {self._dtype}",
                f"make all files of {self._text} agree, or move the others away",
            )
        return image

    def _first_readable(self) -> TiffImage:
        """The first file that can be opened; where the names count no time points, the first one must be it."""
        failed: UserError | None = None
        for file in self._grid.present:
            try:
                first = TiffImage(file, self._key, self._cache)
            except UserError as error:
                failed = failed or error
                if self._grid.time_of(0) is None:
                    raise
                continue
            self._sound = file
            return first
        raise failed or UserError(f"{self._text}: holds no file", "correct the path")

    def _check_files(self) -> dict[int, str]:
        """Compare the headers; the time points that are missing or cannot be read, and why."""
        files = self._grid.present
        missing = dict(self._grid.missing_times)
        if len(files) <= _CHECK_ALL_UP_TO:
            chosen = set(files)
        else:
            chosen = {files[i] for i in np.linspace(0, len(files) - 1, _CHECK_ALL_UP_TO, dtype=int)}
            if not self._compressed:  # plainly stored files of one shape differ in size by their metadata alone
                sizes = [os.stat(file).st_size for file in files]
                usual = float(np.median(sizes))
                odd = [file for file, size in zip(files, sizes, strict=True) if size != usual]
                chosen.update(odd[:_CHECK_ALL_UP_TO])
        for number, file in enumerate(self._files):
            if file is None or file not in chosen:
                continue
            try:
                self._open(file).close()
            except UserError as error:
                time = self._grid.time_of(number)
                if time is None:
                    raise
                missing.setdefault(time, error.problem)
        return dict(sorted(missing.items()))

    def _check_axes(self, grid: FileGrid) -> None:
        for axis in self._counts:
            if grid.axes is not None and self._layout.length(axis) > 1:
                raise UserError(
                    f"{self._text} counts {axis}, but each file has {self._layout.length(axis)} along {axis} as well "
                    f"(shape {self._shape}, axes {self._layout.axes})",
                    "name the axes of one file in `axes`, or use another letter in the pattern",
                )

    def _make_header(
        self, spec: Input, spacing: Spacing | None, channels: tuple[str, ...], chunks: tuple[int, ...] | None
    ) -> VolumeHeader:
        self._compressed = chunks is not None
        whole = [self._layout.length(axis) * self._counts.get(axis, 1) for axis in CANONICAL]
        chunk = None if chunks is None else (1, 1, *self._layout.spatial(chunks))
        return make_header(spec, AxisLayout(CANONICAL, tuple(whole)), self._dtype, spacing, channels, chunk)


def _what_files_count(spec: Input, grid: FileGrid, first: TiffImage) -> tuple[str | None, str | None]:
    """The axes that the files count (None: by their shape) and the axes of one file as far as configured.

    ``axes`` may name the axes of one file, or of the whole volume; the axes that the files count are then taken
    out.
    """
    along = grid.axes if grid.axes is not None else spec.files_along
    axes = spec.axes
    if axes is None or len(axes) == len(first.shape):
        return along, axes
    if along is None and len(axes) == len(first.shape) + 1 and axes[0] in "tcz":
        return axes[0], axes[1:]
    if along is not None and set(along) <= set(axes) and len(axes) == len(first.shape) + len(along):
        return along, "".join(axis for axis in axes if axis not in along)
    return along, axes
