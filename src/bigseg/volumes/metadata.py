"""From what a format states to a :class:`VolumeHeader`: types, units, voxel size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bigseg.config.samples import Input
from bigseg.errors import UserError
from bigseg.volumes.axes import AxisLayout
from bigseg.volumes.header import OmeZarrLevel, VolumeHeader

Spacing = tuple[float | None, float, float]
"""(z, y, x) in µm as far as the file tells; z is None where it does not."""

_TYPES = {f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)} | {"float16", "float32", "float64"}

_MICROMETRES = {
    "um": 1.0,
    "micron": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "mm": 1e3,
    "millimeter": 1e3,
    "millimetre": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "centimetre": 1e4,
    "m": 1e6,
    "meter": 1e6,
    "metre": 1e6,
    "pm": 1e-6,
    "picometer": 1e-6,
    "picometre": 1e-6,
    "a": 1e-4,
    "angstrom": 1e-4,
}


def micrometres(value: object, unit: object) -> float | None:
    r"""A length in µm, or None where value or unit are missing, unknown or senseless.

    Args:
        value: the length; ImageJ may store it negative.
        unit: e.g. ``micron``, ``µm``, ``\u00B5m`` (ImageJ's escape), ``nanometer``.
    """
    if not isinstance(unit, str) or not isinstance(value, (int, float, str, np.number)):
        return None
    # ImageJ escapes the micro sign, some readers decode it twice (Â), and Unicode has two of them.
    name = unit.strip().replace("\\u00B5", "u").replace("Â", "").replace("\u00b5", "u").replace("\u03bc", "u")
    name = name.replace("\u00c5", "a").replace("\u212b", "a").lower()
    factor = _MICROMETRES.get(name) or (_MICROMETRES.get(name[:-1]) if len(name) > 4 and name.endswith("s") else None)
    try:
        length = abs(float(value))
    except ValueError:
        return None
    if factor is None or not math.isfinite(length) or length == 0:
        return None
    return length * factor


def spacing(z: float | None, y: float | None, x: float | None) -> Spacing | None:
    """The three lengths, or None where y or x are unknown."""
    return None if y is None or x is None else (z, y, x)


def element_size_um(value: object) -> Spacing | None:
    """PlantSeg's attribute ``element_size_um``: three numbers (z, y, x) in µm; None for anything else."""
    try:
        numbers = [float(number) for number in np.asarray(value, dtype=float).ravel()]
    except (TypeError, ValueError):
        return None
    if len(numbers) != 3 or not all(math.isfinite(number) and number > 0 for number in numbers):
        return None
    return (numbers[0], numbers[1], numbers[2])


def read_type(path: Path, dtype: np.dtype | None) -> np.dtype:
    """The native type that voxels of a type on disk are read as; bool becomes uint8.

    Raises:
        UserError: no integer, float or bool.
    """
    if dtype is not None and dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype is None or dtype.name not in _TYPES:
        raise UserError(
            f"{path}: values of type {dtype} cannot be segmented",
            "write the volume as an integer of 8 to 64 bits or as a float of 16 to 64 bits",
        )
    return dtype.newbyteorder("=")


def as_read(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A contiguous array of the native type that owns its memory."""
    return np.array(array, dtype=dtype, order="C", copy=True)


def check_not_empty(path: Path, shape: Sequence[int] | None) -> None:
    """Raise UserError for an array without voxels."""
    if not shape or 0 in shape:
        raise UserError(f"{path}: the array is empty, shape {shape}", "check that the export was complete")


def make_header(
    spec: Input,
    layout: AxisLayout,
    dtype: np.dtype,
    stated_spacing: Spacing | None,
    channels: Sequence[str] = (),
    chunks: tuple[int, ...] | None = None,
    ome_zarr: OmeZarrLevel | None = None,
) -> VolumeHeader:
    """The header of a volume.

    A volume of a single plane whose file tells no z is taken as 1 µm thick, so that its volumes are areas.

    Args:
        spec: the configuration, whose voxel size goes before the file's.
        layout: the array.
        dtype: type of the voxels as read.
        stated_spacing: voxel size by the file's metadata.
        channels: names by the file's metadata; left out unless there is one for each channel.
        chunks: shape of the chunks on disk, in the array's order.
        ome_zarr: see :class:`VolumeHeader`.
    """
    shape = layout.canonical_shape
    voxel_size: tuple[float, float, float] | None = None
    if spec.voxel_size_um is not None:
        z, y, x = spec.voxel_size_um
        voxel_size = (z, y, x)
    elif stated_spacing is not None:
        known_z = stated_spacing[0] if stated_spacing[0] is not None else (1.0 if shape[2] == 1 else None)
        if known_z is not None:
            voxel_size = (known_z, *stated_spacing[1:])
    return VolumeHeader(
        shape=shape,
        dtype=dtype.name,
        voxel_size_um=voxel_size,
        channels=tuple(channels) if len(channels) == shape[1] else (),
        chunk_shape=None if chunks is None else layout.spatial(chunks),
        ome_zarr=ome_zarr,
    )
