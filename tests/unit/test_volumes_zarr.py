from __future__ import annotations

import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
import zarrs  # noqa: F401  its codec pipeline is used by name
from hypothesis import given, settings
from hypothesis import strategies as st
from volumes_checks import canonical, check, check_box, error_of, header_of, image, opened

from bigseg.geometry.box import Box

SIZES = {"t": 2, "c": 3, "z": 5, "y": 24, "x": 20}
TYPES = {"t": "time", "c": "channel"}
PIPELINES = ["zarr.core.codec_pipeline.BatchedCodecPipeline", "zarrs.ZarrsCodecPipeline"]


@pytest.fixture(params=PIPELINES, autouse=True, ids=["zarr", "zarrs"])
def _pipeline(request: pytest.FixtureRequest) -> Any:
    with zarr.config.set({"codec_pipeline.path": request.param}):
        yield


def store(path: Path, array: np.ndarray, zarr_format: int = 3, **options: Any) -> Path:
    options = {"chunks": tuple(min(8, n) for n in array.shape)} | options
    zarr.create_array(store=str(path), data=array, zarr_format=zarr_format, overwrite=True, **options)
    return path


def ome_zarr(
    path: Path, axes: str, version: str, unit: str | None = "micrometer", scale: float = 0.5, group_scale: float = 1.0
) -> np.ndarray:
    """An OME-Zarr of two levels; the voxel size is scale * group_scale * (z 4, y 2, x 1) units."""
    array = image([SIZES[axis] for axis in axes])
    zarr_format = 3 if version == "0.5" else 2
    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    for level in (0, 1):
        data = array[..., :: 2**level]
        group.create_array(str(level), data=data, chunks=tuple(min(4, n) for n in data.shape))
    names = [
        {"name": axis, "type": TYPES.get(axis, "space")} | ({"unit": unit} if unit and axis in "zyx" else {})
        for axis in axes
    ]
    factors = [{"z": 4.0, "y": 2.0, "x": 1.0}.get(axis, 1.0) for axis in axes]

    def transformation(factor: float, level: int) -> list[dict[str, Any]]:
        scales = [f * factor if a in "zyx" else 1.0 for f, a in zip(factors, axes, strict=True)]
        scales[-1] *= 2**level
        return [{"type": "scale", "scale": scales}]

    image_ = {
        "axes": names,
        "datasets": [
            {"path": str(level), "coordinateTransformations": transformation(scale, level)} for level in (0, 1)
        ],
        "name": "test",
    }
    if group_scale != 1:
        scales = [group_scale if axis in "zyx" else 1.0 for axis in axes]
        image_["coordinateTransformations"] = [{"type": "scale", "scale": scales}]
    content = {"multiscales": [image_]}
    if "c" in axes:
        content["omero"] = {"channels": [{"label": name} for name in ("membrane", "nuclei", "third")]}  # type: ignore[assignment]
    group.attrs.update({"ome": {"version": "0.5", **content}} if version == "0.5" else content)
    return array


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "int64", "float32", ">f8", "bool"])
def test_types(tmp_path: Path, dtype: str, zarr_format: int) -> None:
    array = image((5, 19, 23), dtype)
    with opened(store(tmp_path / "a.zarr", array, zarr_format)) as source:
        check(source, canonical(array, "zyx"), boxes=5)
        assert source.header.chunk_shape == (5, 8, 8)
        assert source.header.ome_zarr is None


def test_fortran_order_and_separator(tmp_path: Path) -> None:
    array = image((5, 19, 23))
    path = store(tmp_path / "a.zarr", array, 2, order="F", chunk_key_encoding={"name": "v2", "separator": "/"})
    with opened(path) as source:
        check(source, canonical(array, "zyx"), boxes=5)


def test_sharded_gives_inner_chunks(tmp_path: Path) -> None:
    array = image((16, 32, 32))
    path = store(tmp_path / "a.zarr", array, chunks=(4, 8, 16), shards=(16, 32, 32))
    with opened(path, axes="xyz") as source:
        check(source, canonical(array, "xyz"), boxes=5)
        assert source.header.chunk_shape == (16, 8, 4)


def test_chunks_that_are_not_there(tmp_path: Path) -> None:
    zarr.create_array(store=str(tmp_path / "a.zarr"), shape=(8, 8, 8), chunks=(4, 4, 4), dtype="u2", fill_value=7)
    with opened(tmp_path / "a.zarr") as source:
        check(source, np.full((1, 1, 8, 8, 8), 7, np.uint16), boxes=2)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["tczyx", "czyx", "tzyx", "zyx", "yx", "cyx", "tzcyx"])
def test_ome_zarr(tmp_path: Path, axes: str, version: str) -> None:
    path = tmp_path / "image.ome.zarr"
    array = ome_zarr(path, axes, version)
    with opened(path) as source:
        check(source, canonical(array, axes), boxes=3)
        header = source.header
    assert header.voxel_size_um == ((2.0, 1.0, 0.5) if "z" in axes else (1.0, 1.0, 0.5))
    assert header.channels == (("membrane", "nuclei", "third") if "c" in axes else ())
    assert header.chunk_shape == ((4, 4, 4) if "z" in axes else (1, 4, 4))
    if axes == "tzcyx":
        assert header.ome_zarr is None
    else:
        assert header.ome_zarr is not None
        assert header.ome_zarr.path == str((path / "0").resolve())
        assert header.ome_zarr.zarr_format == (3 if version == "0.5" else 2)
        assert header.ome_zarr.axes == axes


@pytest.mark.parametrize(
    ("unit", "factor"), [("micrometer", 1), ("nanometer", 1e-3), ("millimeter", 1e3), (None, None)]
)
def test_ome_zarr_units_and_both_scales(tmp_path: Path, unit: str | None, factor: float | None) -> None:
    ome_zarr(tmp_path / "a.zarr", "zyx", "0.5", unit, group_scale=10)
    expected = None if factor is None else pytest.approx((20 * factor, 10 * factor, 5 * factor))
    assert header_of(tmp_path / "a.zarr").voxel_size_um == expected
    assert header_of(tmp_path / "a.zarr", voxel_size_um=[1.0, 2.0, 3.0]).voxel_size_um == (1, 2, 3)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_level_by_key(tmp_path: Path, version: str) -> None:
    array = ome_zarr(tmp_path / "a.zarr", "zyx", version)
    for spec in ({"path": tmp_path / "a.zarr", "key": "0"}, {"path": tmp_path / "a.zarr/0"}):
        with opened(**spec) as source:  # type: ignore[arg-type]
            check(source, canonical(array, "zyx"), boxes=2)
            assert source.header.ome_zarr is not None
            assert source.header.voxel_size_um == (2, 1, 0.5)
    with opened(tmp_path / "a.zarr", key="1") as source:
        check(source, canonical(array[..., ::2], "zyx"), boxes=2)
        assert source.header.ome_zarr is None
        assert source.header.voxel_size_um == (2, 1, 1)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_in_an_ome_zarr(tmp_path: Path, version: str) -> None:
    ome_zarr(tmp_path / "a.zarr", "czyx", version)
    labels = tmp_path / "a.zarr" / "labels"
    zarr.open_group(str(labels), mode="w", zarr_format=3 if version == "0.5" else 2)
    array = ome_zarr(labels / "segmentation", "zyx", version)
    for spec in ({"path": tmp_path / "a.zarr", "key": "labels/segmentation"}, {"path": labels}):
        with opened(**spec) as source:  # type: ignore[arg-type]
            check(source, canonical(array, "zyx"), boxes=2)
            assert source.header.ome_zarr is not None
            assert source.header.ome_zarr.path == str((labels / "segmentation" / "0").resolve())


def test_axes_by_dimension_names(tmp_path: Path) -> None:
    array = image((2, 5, 11, 13))
    with opened(store(tmp_path / "a.zarr", array, dimension_names=["T", "Z", "Y", "X"])) as source:
        check(source, canonical(array, "tzyx"), boxes=2)
    with opened(store(tmp_path / "b.zarr", array[0], dimension_names=["depth", "Y", "X"])) as source:
        check(source, canonical(array[0], "zyx"), boxes=2)
    store(tmp_path / "c.zarr", array, 2, attributes={"_ARRAY_DIMENSIONS": ["c", "x", "y", "z"]})
    with opened(tmp_path / "c.zarr") as source:
        check(source, canonical(array, "cxyz"), boxes=2)


def test_axes_of_the_configuration_go_first(tmp_path: Path) -> None:
    array = ome_zarr(tmp_path / "a.zarr", "czyx", "0.5")
    with opened(tmp_path / "a.zarr", axes="tzyx") as source:
        check(source, canonical(array, "tzyx"), boxes=2)
        assert source.header.ome_zarr is not None
        assert source.header.ome_zarr.axes == "tzyx"
        assert source.header.channels == ()


def test_choice_of_the_array(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    one, two = image((3, 8, 9), seed=1), image((4, 8, 9), seed=2)
    zarr.open_group(str(path), mode="w")
    store(path / "only", one, attributes={"element_size_um": [3.0, 2.0, 1.0]})
    with opened(path) as source:
        check(source, canonical(one, "zyx"), boxes=2)
        assert source.header.voxel_size_um == (3, 2, 1)
    store(path / "raw", two)
    with opened(path) as source:
        check(source, canonical(two, "zyx"), boxes=2)
    error = error_of(path, key="rwa")
    assert "a.zarr" in error.problem
    assert "`key: only` (shape (3, 8, 9))" in error.remedy
    (path / "raw").rename(path / "third")
    error = error_of(path)
    assert "2 arrays" in error.problem
    assert "`key: third` (shape (4, 8, 9))" in error.remedy
    zarr.open_group(str(path), mode="w")
    array = ome_zarr(path / "0", "zyx", "0.5")  # as bioformats2raw lays it out
    with opened(path) as source:
        check(source, canonical(array, "zyx"), boxes=2)
    ome_zarr(path / "1", "zyx", "0.5")
    assert "`key: 1` (OME-Zarr image)" in error_of(path).remedy


def test_errors(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", image((2, 3, 8, 9)))
    error = error_of(path)
    assert "a.zarr" in error.problem
    assert "tzyx" in error.remedy
    assert "names 3 axes" in error_of(path, axes="zyx").problem
    assert "a.zarr" in error_of(path / "zarr.json").remedy
    (path / "zarr.json").write_text("{no json")
    assert "zarr.json" in error_of(path).problem
    (path / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "array", "shape": [3]}))
    assert "a.zarr" in error_of(path).problem
    (tmp_path / "b.ome.zarr").mkdir()
    assert "no Zarr metadata" in error_of(tmp_path / "b.ome.zarr").problem
    (tmp_path / "c.n5").mkdir()
    assert "N5" in error_of(tmp_path / "c.n5").problem
    zarr.open_group(str(tmp_path / "d.zarr"), mode="w")
    assert "no array" in error_of(tmp_path / "d.zarr").remedy
    zarr.create_array(store=str(tmp_path / "e.zarr"), shape=(0, 8, 8), dtype="u1")
    assert "empty" in error_of(tmp_path / "e.zarr").problem
    zarr.create_array(store=str(tmp_path / "f.zarr"), shape=(2, 8, 8), dtype="c8", zarr_format=2)
    assert "complex64" in error_of(tmp_path / "f.zarr").problem


def test_damaged_ome_zarr(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    ome_zarr(path, "zyx", "0.5")
    (path / "0").rename(path / "elsewhere")
    assert "full resolution" in error_of(path).problem
    ome_zarr(path, "zyx", "0.5")
    metadata = json.loads((path / "zarr.json").read_text())
    metadata["attributes"]["ome"]["multiscales"][0]["axes"][0] = {"name": "angle"}
    (path / "zarr.json").write_text(json.dumps(metadata))
    assert "angle" in error_of(path).problem


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_damaged_chunk(tmp_path: Path, zarr_format: int) -> None:
    path = store(tmp_path / "a.zarr", image((8, 32, 32)), zarr_format)
    chunks = [
        file for file in path.rglob("*") if file.is_file() and file.name not in ("zarr.json", ".zarray", ".zattrs")
    ]
    content = chunks[5].read_bytes()
    chunks[5].write_bytes(content[: len(content) // 2])
    assert "a.zarr: cannot read its chunks at t=0" in error_of(path).problem


def test_lazy(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(store=str(path), shape=(4000, 2000, 2000), chunks=(64, 64, 64), dtype="u1")  # 16 GB
    tracemalloc.start()
    try:
        with opened(path) as source:
            assert source.read(0, 0, Box((3990, 100, 100), (4000, 200, 200))).max() == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30e6


def test_threads(tmp_path: Path) -> None:
    array = image((24, 32, 40))
    boxes = [Box((z, 0, 0), (z + 4, 32, 40)) for z in range(20)]
    with opened(store(tmp_path / "a.zarr", array)) as source, ThreadPoolExecutor(8) as pool:
        for box, voxels in zip(boxes, pool.map(lambda box: source.read(0, 0, box), boxes), strict=True):
            np.testing.assert_array_equal(voxels, array[box.slices])


@pytest.fixture(scope="module")
def permuted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    array = image((13, 2, 11, 17, 3))
    return store(tmp_path_factory.mktemp("zarr") / "a.zarr", array), array


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_random_boxes(permuted: tuple[Path, np.ndarray], data: st.DataObject) -> None:
    path, array = permuted
    expected = canonical(array, "xcyzt")
    pairs = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in expected.shape[2:]]
    z, y, x = pairs
    t, c = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 1))
    with opened(path, axes="xcyzt") as source:
        check_box(source, expected, t, c, Box((z[0], y[0], x[0]), (z[1], y[1], x[1])))
