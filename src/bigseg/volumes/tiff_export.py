"""Write a label image as TIFF with small consecutive ids."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
import tifffile

from bigseg.config.samples import Input
from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.layout import TRACKS_KEY
from bigseg.progress import Progress
from bigseg.resume.files import replacing
from bigseg.volumes.source import Source, open_source

_SLAB_VOXELS = 1 << 25


def export_labels(result: Path, output: Path, labels: str, time: int | None, *, overwrite: bool) -> int:
    """Write a label image of an OME-Zarr as an ImageJ TIFF (t, z, y, x), slab by slab.

    Ids become 1, 2, 3, … in the order of time points and ids. Objects of different time points are different objects,
    whatever their ids, unless the labels are tracks.

    Args:
        result: OME-Zarr with label images.
        output: file to write.
        labels: name of the label image.
        time: time point, all if None.
        overwrite: whether an existing file is replaced.

    Returns:
        The number of distinct ids.

    Raises:
        UserError: there are no such labels, the file exists, or it cannot be written.
    """
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise UserError(f"{output}: is no name of a TIFF file", "end it with .tif")
    if output.exists() and not overwrite:
        raise UserError(f"{output}: exists already", "choose another name, or give --overwrite")
    key = f"labels/{labels}"
    with open_source(Input(path=str(result), key=key)) as source:
        header = source.header
        times = range(header.number_of_times) if time is None else [time]
        if time is not None and time >= header.number_of_times:
            raise UserError(f"{result}: has no time point {time}", f"time points are 0 to {header.number_of_times - 1}")
        ids = _distinct(source, times)
        if key == TRACKS_KEY:
            ids = dict.fromkeys(times, np.unique(np.concatenate(list(ids.values()))))
            count = len(ids[times[0]])
            first = dict.fromkeys(times, 1)
        else:
            sizes = [len(ids[t]) for t in times]
            count = sum(sizes)
            first = {t: 1 + sum(sizes[:i]) for i, t in enumerate(times)}
        dtype = np.dtype(np.uint16 if count < 1 << 16 else np.uint32)
        z, y, x = header.voxel_size_um or (1.0, 1.0, 1.0)
        shape = (len(times), *header.volume_shape)
        imagej = bool(dtype == np.uint16 and prod(shape) * dtype.itemsize < 1 << 32)
        with replacing(output) as temporary:
            tifffile.imwrite(
                temporary,
                _planes(source, times, ids, first, dtype),
                shape=shape,
                dtype=dtype,
                imagej=imagej,
                bigtiff=not imagej,
                resolution=(1 / x, 1 / y),
                metadata={"axes": "TZYX", "spacing": z, "unit": "um"},
            )
        return count


def _slabs(source: Source, times: range | list[int]) -> Iterator[tuple[int, Box]]:
    depth, height, width = source.header.volume_shape
    step = max(1, _SLAB_VOXELS // (height * width))
    for time in times:
        for begin in range(0, depth, step):
            yield time, Box((begin, 0, 0), (min(begin + step, depth), height, width))


def _distinct(source: Source, times: range | list[int]) -> dict[int, np.ndarray]:
    """The ids of each time point, ascending."""
    slabs = list(_slabs(source, times))
    ids = {time: np.zeros(0, np.uint64) for time in times}
    with Progress(len(slabs), "collecting ids") as progress:
        for time, box in slabs:
            found = source.read(time, 0, box).astype(np.uint64)
            ids[time] = np.union1d(ids[time], found[found > 0])
            progress.done(box.size)
    return ids


def _planes(
    source: Source,
    times: range | list[int],
    ids: dict[int, np.ndarray],
    first: dict[int, int],
    dtype: np.dtype[np.generic],
) -> Iterator[np.ndarray]:
    """Planes (y, x) with small ids, those of a time point from ``first`` on."""
    slabs = list(_slabs(source, times))
    with Progress(len(slabs), "writing") as progress:
        for time, box in slabs:
            labels = source.read(time, 0, box).astype(np.uint64)
            small = np.searchsorted(ids[time], labels) + first[time]
            yield from np.where(labels > 0, small, 0).astype(dtype)
            progress.done(box.size)
