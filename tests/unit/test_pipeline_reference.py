"""Whole runs with an OME-Zarr that is used where it lies."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from pipeline_checks import BLOCKS, WITHOUT_REPORT, changed, done, labels, layout, run, settings


def write_ome_zarr(path: Path, image: np.ndarray, axes: str, version: str) -> None:
    """An image (z, y, x) as OME-Zarr with the axes ``zyx`` or ``tczyx``, by zarr alone."""
    new = version == "0.5"
    group = zarr.open_group(str(path), mode="w", zarr_format=3 if new else 2)
    options: dict[str, Any] = (
        {"dimension_names": tuple(axes)} if new else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    )
    voxels = image.reshape((1,) * (len(axes) - 3) + image.shape)
    chunks = (1,) * (len(axes) - 3) + (16, 32, 32)
    group.create_array("0", shape=voxels.shape, dtype=voxels.dtype, chunks=chunks, **options)[...] = voxels
    kinds = {"t": {"type": "time"}, "c": {"type": "channel"}}
    space = {"type": "space", "unit": "micrometer"}
    size = {"z": 0.5, "y": 0.25, "x": 0.25}
    scale = {"type": "scale", "scale": [size.get(axis, 1.0) for axis in axes]}
    multiscale = {
        "name": "image",
        "axes": [{"name": axis, **kinds.get(axis, space)} for axis in axes],
        "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
    }
    if new:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    else:
        group.attrs["multiscales"] = [{**multiscale, "version": "0.4"}]


@pytest.mark.parametrize("axes", ["zyx", "tczyx"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_referenced_image_gives_the_same_as_a_copied_one(cells, tmp_path, first_run, version, axes):
    source = tmp_path / "source.ome.zarr"
    write_ome_zarr(source, cells.image[0], axes, version)
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    config = settings(tmp_path, {"input": {"path": str(source)}}, blocks=BLOCKS, pyramid={"smallest": 32})
    stages = None if (axes, version) == ("zyx", "0.4") else WITHOUT_REPORT
    run(config, stages)
    assert np.array_equal(labels(config), labels(first_run))
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == before
    assert done(config, stages) == {}

    image = zarr.open_group(str(layout(config).result), mode="r")
    assert np.array_equal(image["0"][...].reshape(cells.image[0].shape), cells.image[0])
    assert image["1"].ndim == image["0"].ndim
    own = [path for path in layout(config).result.rglob("*") if path.is_file() and inside(path, layout(config).result)]
    held = [path for path in own if path.relative_to(layout(config).result).parts[0] == "0"]
    assert [path.name for path in held] in ([], ["zarr.json"]), "no voxel of level 0 is copied"
    coarse = zarr.open_array(str(layout(first_run).image(1)), mode="r")
    assert np.array_equal(image["1"][...].reshape(coarse.shape), coarse[...])


def inside(path: Path, folder: Path) -> bool:
    """Whether a file really lies in a folder and not behind a link."""
    return path.resolve().is_relative_to(folder.resolve())


def test_a_referenced_image_can_be_copied(cells, tmp_path):
    """And the other way round, in the same place."""
    source = tmp_path / "source.ome.zarr"
    write_ome_zarr(source, cells.image[0], "zyx", "0.5")
    config = settings(tmp_path, {"input": {"path": str(source)}}, blocks=BLOCKS, pyramid={"smallest": 32})
    for reference in (True, False, True):
        run(changed(config, ingest={"reference": reference}))
        group = zarr.open_group(str(layout(config).result), mode="r")
        assert [array.ndim for _, array in sorted(group.arrays())] == ([3, 3] if reference else [5, 5])
        assert (layout(config).image()).is_symlink() == reference
        assert np.array_equal(group["0"][...].reshape(cells.image[0].shape), cells.image[0])


def test_an_array_that_cannot_be_linked_is_copied(cells, tmp_path):
    """Zarr v3 knows no Fortran order, and an image without z has no place among volumes."""
    source = tmp_path / "source.ome.zarr"
    write_ome_zarr(source, cells.image[0], "zyx", "0.4")
    shutil.rmtree(source / "0")
    zarr.open_group(str(source), mode="r+").create_array(
        "0", shape=cells.image[0].shape, dtype="uint8", chunks=(16, 32, 32), order="F"
    )[...] = cells.image[0]
    config = settings(tmp_path, {"input": {"path": str(source)}}, blocks=BLOCKS)
    run(config)
    copied = zarr.open_array(str(layout(config).image()), mode="r")
    assert not layout(config).image().is_symlink()
    assert np.array_equal(copied[0, 0], cells.image[0])
