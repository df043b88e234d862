"""Read HDF5 data sets lazily, with the metadata of PlantSeg and ilastik."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from bigseg.config.samples import Input
from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.volumes.axes import CANONICAL, AxisLayout, choose_axes
from bigseg.volumes.cache import CACHE_BYTES
from bigseg.volumes.header import VolumeHeader
from bigseg.volumes.metadata import check_not_empty, element_size_um, make_header, read_type
from bigseg.volumes.problems import explained
from bigseg.volumes.source import Source

_LISTED_AT_MOST = 20
_CACHE_SLOTS = 100_003
"""HDF5 wants a prime, about a hundred times the number of chunks that fit."""
_CHUNK_CACHE_BYTES = CACHE_BYTES // 2
"""HDF5 keeps about as much again in its lists of freed buffers."""


class Hdf5Source(Source):
    """A volume in a data set of an HDF5 file.

    The file is open only between the first ``read`` and ``close``: what needs no more than headers, such as
    planning, holds no handles.

    Args:
        spec: the configuration.
        path: the file.
        key: name of the data set; None for the only one, else the one named ``raw``.

    Raises:
        UserError: see ``open_source``.
    """

    header: VolumeHeader

    def __init__(self, spec: Input, path: Path, key: str | None) -> None:
        """Read the metadata and close the file again."""
        self._path = path
        self._lock = threading.Lock()
        self._file: Any = None
        self._dataset: Any = None
        with explained(path, "open it as HDF5"), _open(path) as file:
            self._name = _choose(path, file, key)
            dataset = file[self._name]
            where = Path(f"{path}:{self._name}")
            self._dtype = read_type(where, dataset.dtype)
            check_not_empty(where, dataset.shape)
            attributes = dict(dataset.attrs)
            stated = _axistags(attributes.get("axistags"), dataset.ndim)
            self._layout = AxisLayout(choose_axes(where, dataset.shape, spec.axes, stated), dataset.shape)
            spacing = element_size_um(attributes.get("element_size_um"))
            self.header = make_header(spec, self._layout, self._dtype, spacing, chunks=dataset.chunks)

    def read(self, t: int, c: int, box: Box) -> np.ndarray:
        """See :class:`Source`; the HDF5 library reads for one thread at a time."""
        index = self._layout.index(t, c, box)
        with self._lock, explained(self._path, f"read {self._name} at t={t}, c={c}, box {box}"):
            if self._dataset is None:
                self._file = _open(self._path)
                self._dataset = self._file[self._name]
            array = self._dataset[index]
        return np.ascontiguousarray(self._layout.volume(array, box), self._dtype)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = self._dataset = None


def _open(path: Path) -> Any:
    # HDF5's file locks fail on many network file systems, and a reader needs none. Its own cache of 1 MB holds not
    # even one chunk as commonly written, which is then decompressed again for every box.
    return h5py.File(path, "r", locking=False, rdcc_nbytes=_CHUNK_CACHE_BYTES, rdcc_nslots=_CACHE_SLOTS)


def _choose(path: Path, file: Any, key: str | None) -> str:
    """The name of the data set to read."""
    found = _datasets(file)
    remedy = "there are: " + ", ".join(f"`key: {name}` (shape {shape})" for name, shape in found[:_LISTED_AT_MOST])
    if len(found) > _LISTED_AT_MOST:
        remedy += f" and {len(found) - _LISTED_AT_MOST} more"
    if not found:
        remedy = "it holds no data set at all: check the path"
    if key is not None:
        name = key.strip("/")
        if name and name in file and isinstance(file[name], h5py.Dataset):
            return name
        what = "is a group in" if name and name in file else "is not in"
        raise UserError(f"data set `{key}` {what} {path}", remedy)
    volumes = [name for name, shape in found if len(shape) >= 2]
    if len(volumes) == 1:
        return volumes[0]
    if "raw" in volumes:
        return "raw"
    raise UserError(f"{path} holds {len(volumes)} data sets of two or more dimensions", f"set `key`; {remedy}")


def _datasets(file: Any) -> list[tuple[str, tuple[int, ...]]]:
    found: list[tuple[str, tuple[int, ...]]] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            found.append((name, node.shape or ()))

    file.visititems(visit)
    return found


def _axistags(value: Any, dimensions: int) -> str | None:
    """The axes in ilastik's attribute ``axistags``; None unless all are among ``tczyx``."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if not isinstance(value, str):
        return None
    try:
        axes = "".join(str(axis["key"]) for axis in json.loads(value)["axes"])
    except (ValueError, KeyError, TypeError):
        return None
    valid = len(axes) == len(set(axes)) == dimensions and set(axes) <= set(CANONICAL) and {"y", "x"} <= set(axes)
    return axes if valid else None
