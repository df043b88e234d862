"""Readers on the real data; skipped where they are absent."""

from __future__ import annotations

import h5py
import pytest
import tifffile
from volumes_checks import canonical, check, error_of, opened, real


@pytest.mark.parametrize(
    ("name", "key", "axes", "voxel_size"),
    [
        ("membranes/sample_ovule.h5", "raw", None, (0.235, 0.15, 0.15)),
        ("membranes/sample_ovule.h5", "label", None, (0.235, 0.15, 0.15)),
        ("membranes/cell_labels.h5", "label", None, (1, 1, 1)),
        ("nuclei/gonuclear_1135.h5", "raw", None, (0.28371837, 0.12678642, 0.12678642)),
        ("em/fib25.h5", "raw", None, (0.01, 0.01, 0.01)),
        ("timelapse/fluo_n2dh_sim_10f.h5", "track_ids", "tyx", None),
    ],
)
def test_hdf5(name: str, key: str, axes: str | None, voxel_size: tuple[float, ...] | None) -> None:
    path = real(name)
    with h5py.File(path) as file:
        expected = canonical(file[key][()], axes or "zyx")
    with opened(path, key=key, axes=axes) as source:
        check(source, expected, boxes=3)
        assert source.header.voxel_size_um == (voxel_size if voxel_size is None else pytest.approx(voxel_size))


@pytest.mark.parametrize(
    ("name", "axes", "stated"),
    [
        ("nuclei/qcanet_8cell_raw.tif", "zyx", True),
        ("nuclei/qcanet_8cell_seg_gt.tif", "zyx", True),
        ("nuclei/qcanet_8cell_det_gt.tif", "zyx", True),
        ("timelapse/fluo_n3dh_cho_raw.tif", "tzyx", False),
        ("timelapse/fluo_n3dh_cho_noisy_masks.tif", "tzyx", False),
    ],
)
def test_tiff(name: str, axes: str, stated: bool) -> None:
    path = real(name)
    expected = canonical(tifffile.imread(path), axes)
    with opened(path, axes=None if stated else axes) as source:
        check(source, expected, boxes=3)
        assert source.header.voxel_size_um is None


def test_time_lapse_without_axes_asks_for_them() -> None:
    assert "tzyx" in error_of(real("timelapse/fluo_n3dh_cho_raw.tif")).remedy
