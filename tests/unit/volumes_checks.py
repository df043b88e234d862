"""What the tests of the readers share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bigseg.config.samples import Input
from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.volumes.header import VolumeHeader
from bigseg.volumes.source import Source, open_source

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def real(name: str) -> Path:
    """A file of real data, or a skip where the folder is absent."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"real data {path} are not on this machine")
    return path


def image(shape: Sequence[int], dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    """Random voxels."""
    generator = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return generator.normal(size=shape).astype(dtype)
    return generator.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)


def canonical(array: np.ndarray, axes: str) -> np.ndarray:
    """The array as (t, c, z, y, x), by NumPy alone."""
    for axis in "tczyx":
        if axis not in axes:
            array, axes = array[..., None], axes + axis
    return array.transpose([axes.index(axis) for axis in "tczyx"])


def opened(path: Path | str, **options: object) -> Source:
    return open_source(Input.model_validate({"path": str(path), **options}))


def header_of(path: Path | str, **options: object) -> VolumeHeader:
    with opened(path, **options) as source:
        return source.header


def check(source: Source, expected: np.ndarray, boxes: int = 20) -> None:
    """The source gives exactly the expected (t, c, z, y, x) array: whole volumes and random boxes."""
    dtype = np.dtype(np.uint8) if expected.dtype == bool else expected.dtype.newbyteorder("=")
    assert source.header.shape == expected.shape
    assert source.header.dtype == dtype.name
    generator = np.random.default_rng(1)
    shape = source.header.volume_shape
    for t, c in np.ndindex(expected.shape[:2]):
        check_box(source, expected, t, c, Box((0, 0, 0), shape))
    for _ in range(boxes):
        t, c = (int(generator.integers(n)) for n in expected.shape[:2])
        pairs = [sorted(int(i) for i in generator.integers(0, n + 1, 2)) for n in shape]
        z, y, x = pairs
        check_box(source, expected, t, c, Box((z[0], y[0], x[0]), (z[1], y[1], x[1])))


def check_box(source: Source, expected: np.ndarray, t: int, c: int, box: Box) -> None:
    voxels = source.read(t, c, box)
    assert voxels.shape == box.shape
    assert voxels.dtype.name == source.header.dtype
    assert voxels.dtype.isnative
    assert voxels.flags.c_contiguous
    assert voxels.flags.writeable
    assert type(voxels) is np.ndarray
    np.testing.assert_array_equal(voxels, expected[t, c][box.slices])


def error_of(path: Path | str, **options: object) -> UserError:
    """The UserError that opening or reading everything gives; it names the file and a remedy."""
    with pytest.raises(UserError) as caught:
        read_all(path, **options)
    assert caught.value.remedy
    return caught.value


def read_all(path: Path | str, **options: object) -> None:
    with opened(path, **options) as source:
        for t, c in np.ndindex(source.header.shape[:2]):
            source.read(t, c, Box((0, 0, 0), source.header.volume_shape))
