"""Read Zarr arrays (v2, v3) and OME-Zarr images lazily."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import zarr

from bigseg.config.samples import Input
from bigseg.geometry.box import Box
from bigseg.volumes.axes import CANONICAL, AxisLayout, choose_axes
from bigseg.volumes.chunk_files import chunk_files
from bigseg.volumes.header import OmeZarrLevel, VolumeHeader
from bigseg.volumes.metadata import check_not_empty, make_header, read_type
from bigseg.volumes.ome_zarr_metadata import stated_axes, stated_channels, stated_spacing
from bigseg.volumes.problems import explained
from bigseg.volumes.source import Source
from bigseg.volumes.zarr_tree import Located, Node, find_array


class ZarrSource(Source):
    """A volume in an array of a Zarr store; zarr itself reads from several threads.

    Args:
        spec: the configuration.
        path: the store, or a group or array in it.
        key: see ``find_array``.

    Raises:
        UserError: see ``open_source``.
    """

    header: VolumeHeader

    def __init__(self, spec: Input, path: Path, key: str | None) -> None:
        """Read the metadata."""
        located = find_array(path, key)
        self._folder = located.array.folder
        with explained(self._folder, "open it as a Zarr array"):
            self._array = _open(located.array)
            check_not_empty(self._folder, self._array.shape)
            stored = np.dtype(self._array.dtype)
            self._dtype = read_type(self._folder, stored)
            stated = stated_axes(located) if spec.axes is None else None
            axes = choose_axes(self._folder, self._array.shape, spec.axes, stated)
            self._layout = AxisLayout(axes, self._array.shape)
            self.header = make_header(
                spec,
                self._layout,
                self._dtype,
                stated_spacing(located, stated_axes(located)),
                stated_channels(located),
                chunks=tuple(self._array.chunks),
                ome_zarr=_level(located, axes) if stored.kind != "b" else None,
            )
            node = located.array
            chunks = chunk_files(node.folder, node.metadata, node.zarr_format, axes)
            self.header = self.header.model_copy(update={"chunk_files": chunks})

    def read(self, t: int, c: int, box: Box) -> np.ndarray:
        """See :class:`Source`."""
        index = self._layout.index(t, c, box)
        if not box.size:
            return np.empty(box.shape, self._dtype)
        with explained(self._folder, f"read its chunks at t={t}, c={c}, box {box}"):
            array = np.asarray(self._array[index])
        return np.ascontiguousarray(self._layout.volume(array, box), self._dtype)

    def holds_nothing(self, t: int, c: int, box: Box) -> bool:
        """Whether nothing is stored of a box, and what is not stored is 0."""
        if self._array.fill_value is None or self._array.fill_value != 0:
            return False
        units = self._array.shards or self._array.chunks
        ranges = []
        for place, unit in zip(self._layout.index(t, c, box), units, strict=True):
            begin, end = (place.start, place.stop) if isinstance(place, slice) else (place, place + 1)
            ranges.append(range(begin // unit, -(-end // unit)))
        files = (self._folder / self._array.metadata.encode_chunk_key(position) for position in product(*ranges))
        return not any(file.exists() for file in files)

    def close(self) -> None:
        """Nothing is kept open."""


def _open(node: Node) -> zarr.Array:
    """Open an array by a codec pipeline that can read it.

    zarrs, where it is chosen, reads no Zarr v2 arrays of big-endian numbers (bioformats2raw writes these) nor of
    Fortran order.
    """
    beyond_zarrs = str(node.metadata.get("dtype")).startswith(">") or node.metadata.get("order") == "F"
    pipeline = {"codec_pipeline.path": "zarr.core.codec_pipeline.BatchedCodecPipeline"} if beyond_zarrs else {}
    with zarr.config.set(pipeline):
        return zarr.open_array(store=str(node.folder), mode="r", zarr_format=node.zarr_format)


def _level(located: Located, axes: str) -> OmeZarrLevel | None:
    """Set for the full resolution of an OME-Zarr image whose axes are in order."""
    in_order = "".join(axis for axis in CANONICAL if axis in axes) == axes
    if located.image is None or located.level != 0 or not in_order:
        return None
    return OmeZarrLevel(path=str(located.array.folder.resolve()), zarr_format=located.array.zarr_format, axes=axes)
