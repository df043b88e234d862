"""The arrays of a sample: the image, copied or referenced, and what the stages make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from bigseg.config.samples import Input
from bigseg.geometry.box import Box, Triple
from bigseg.geometry.grid import shard_shape
from bigseg.layout import Layout
from bigseg.resume.files import write_json
from bigseg.volumes.source import Source, open_source
from bigseg.volumes.store import ArraySpec, VolumeArray, ensure_array

Parameters = dict[str, Any]


def claim_result(layout: Layout, owner: dict[str, Any]) -> None:
    """Make the result's OME-Zarr a Zarr group that says which run it belongs to; its metadata follow at the end."""
    path = layout.result / "zarr.json"
    if not path.exists():
        write_json(path, {"zarr_format": 3, "node_type": "group", "attributes": {"bigseg": owner}})


def copied_image(layout: Layout, parameters: Parameters, time: int) -> VolumeArray:
    """The copy of the image, (t, c, z, y, x), created or lengthened so that it has time point ``time``.

    Args:
        layout: folders of the sample.
        parameters: ``shape``, ``block_shape``, ``chunk_shape``, ``channels`` and ``dtype``.
        time: time point that will be written.
    """
    return coarse_image(layout, layout.image(), {**parameters, "axes": "tczyx"}, time, "ingest.blocks")


def coarse_image(layout: Layout, path: Path, parameters: Parameters, time: int, writer: str) -> VolumeArray:
    """A coarser level of the image; arguments as :func:`copied_image`, with the level's shapes and its ``axes``.

    The axes are those of level 0, which lacks t or c where it is the user's own array.
    """
    leading = {"t": time + 1, "c": parameters["channels"]}
    lengths = tuple(leading[axis] for axis in parameters["axes"] if axis in leading)
    return _array(layout, path, parameters, lengths, parameters["axes"], parameters["dtype"], writer)


def open_coarse_image(layout: Layout, level: int) -> VolumeArray:
    """A coarser level of the image of a finished sample, to read from."""
    path = layout.image(level)
    names = zarr.open_array(str(path), mode="r").metadata.dimension_names
    return VolumeArray(path, "".join(names) if names else "tczyx")


def stage_array(layout: Layout, path: Path, parameters: Parameters, time: int, dtype: str, writer: str) -> VolumeArray:
    """An array (t, z, y, x) that a stage writes, created or lengthened so that it has time point ``time``.

    Args:
        layout: folders of the sample.
        path: where it lies.
        parameters: ``shape``, ``block_shape`` and ``chunk_shape``.
        time: time point that will be written.
        dtype: NumPy name of the type.
        writer: name of the step that writes it, ``stage.step``.
    """
    return _array(layout, path, parameters, (time + 1,), "tzyx", dtype, writer)


def stage_channels(
    layout: Layout, path: Path, parameters: Parameters, time: int, channels: int, dtype: str, writer: str
) -> VolumeArray:
    """As :func:`stage_array`, with channels: (t, c, z, y, x)."""
    return _array(layout, path, parameters, (time + 1, channels), "tczyx", dtype, writer)


def read_boundary(layout: Layout, time: int, box: Box, volume: Triple) -> np.ndarray:
    """Boundary map (z, y, x) of a box as uint8, 255 = boundary, however it is stored; ``volume`` is its whole shape."""
    return _probabilities(layout.boundary_map, time, box, volume)


def read_foreground(layout: Layout, time: int, box: Box, volume: Triple, source: str) -> np.ndarray:
    """Foreground (z, y, x) of a box as uint8, 255 = surely foreground.

    Args:
        layout: folders of the sample.
        time: time point.
        box: voxels to read.
        volume: shape (z, y, x) that the map has to have.
        source: ``foreground``, or ``boundary`` for the complement of the boundary map.
    """
    if source == "boundary":
        return 255 - read_boundary(layout, time, box, volume)
    return _probabilities(layout.foreground_map, time, box, volume)


def _probabilities(path: Path, time: int, box: Box, volume: Triple) -> np.ndarray:
    """A map of probabilities as uint8, however it is stored."""
    values = VolumeArray(path, "tzyx", volume).read(time, 0, box)
    if values.dtype == np.uint8:
        return values
    return np.asarray(np.rint(values.astype(np.float32) * 255).astype(np.uint8))


def open_image(layout: Layout, parameters: Parameters, volume: Triple) -> VolumeArray | Source:
    """The image to read from: the copy, or the user's OME-Zarr where it lies.

    Args:
        layout: folders of the sample.
        parameters: ``copy`` and, if false, ``input``.
        volume: shape (z, y, x) that the copy has to have.
    """
    if parameters["copy"]:
        return VolumeArray(layout.image(), "tczyx", volume)
    return open_source(Input.model_validate(parameters["input"]))


def _array(
    layout: Layout, path: Path, parameters: Parameters, leading: tuple[int, ...], axes: str, dtype: str, writer: str
) -> VolumeArray:
    stage, _, step = writer.partition(".")
    volume, block, chunk = (tuple(parameters[key]) for key in ("shape", "block_shape", "chunk_shape"))
    return ensure_array(
        ArraySpec(
            path=path,
            shape=(*leading, *volume),
            axes=axes,
            dtype=dtype,
            shard_shape=shard_shape(volume, block, chunk),
            chunk_shape=chunk,
            lock=layout.lock(path),
            status=layout.status(stage),
            step=step,
        )
    )
