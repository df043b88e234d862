from __future__ import annotations

import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from volumes_checks import canonical, check, check_box, error_of, header_of, image, opened

from bigseg.geometry.box import Box


def write(path: Path, **datasets: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in datasets.items():
            file.create_dataset(name, data=array, chunks=True, compression="gzip")
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "int32", "uint64", "float16", "float32", ">f8", "bool"])
def test_types(tmp_path: Path, dtype: str) -> None:
    array = image((7, 19, 23), dtype)
    with opened(write(tmp_path / "a.h5", raw=array)) as source:
        check(source, canonical(array, "zyx"))


@pytest.mark.parametrize("chunks", [None, (3, 8, 5)])
def test_chunk_shape(tmp_path: Path, chunks: tuple[int, ...] | None) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=image((7, 19, 23)), chunks=chunks)
    assert header_of(tmp_path / "a.h5").chunk_shape == chunks
    expected = None if chunks is None else (5, 3, 8)
    assert header_of(tmp_path / "a.h5", axes="yxz").chunk_shape == expected


@pytest.mark.parametrize("axes", ["yx", "zyx", "xyz", "tyx", "czyx", "zyxc", "tzyx", "tczyx", "xyzct", "tzcyx"])
def test_axes_of_the_configuration(tmp_path: Path, axes: str) -> None:
    array = image([{"t": 2, "c": 3, "z": 5, "y": 11, "x": 13}[axis] for axis in axes])
    with opened(write(tmp_path / "a.h5", raw=array), axes=axes) as source:
        check(source, canonical(array, axes))


@pytest.mark.parametrize("axes", ["zyx", "xyz", "tzyxc", "txyzc", "yxc"])
def test_ilastik_axistags(tmp_path: Path, axes: str) -> None:
    array = image([{"t": 2, "c": 3, "z": 5, "y": 11, "x": 13}[axis] for axis in axes])
    path = write(tmp_path / "a.h5", exported_data=array)
    tags = {"axes": [{"key": axis, "typeFlags": 2, "resolution": 0, "description": ""} for axis in axes]}
    with h5py.File(path, "a") as file:
        file["exported_data"].attrs["axistags"] = json.dumps(tags)
    with opened(path) as source:
        check(source, canonical(array, axes))
    with h5py.File(path, "a") as file:
        file["exported_data"].attrs["axistags"] = "no JSON"
    if len(axes) == 3:
        assert header_of(path).shape == (1, 1, *array.shape)


def test_plantseg_voxel_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", raw=image((3, 8, 9)))
    assert header_of(path).voxel_size_um is None
    with h5py.File(path, "a") as file:
        file["raw"].attrs["element_size_um"] = [0.5, 0.2, 0.1]
    assert header_of(path).voxel_size_um == (0.5, 0.2, 0.1)
    assert header_of(path, voxel_size_um=[1.0, 2.0, 3.0]).voxel_size_um == (1, 2, 3)
    with h5py.File(path, "a") as file:
        file["raw"].attrs["element_size_um"] = [0.5, 0.0, np.nan]
    assert header_of(path).voxel_size_um is None


def test_choice_of_the_data_set(tmp_path: Path) -> None:
    one, two = image((3, 8, 9), seed=1), image((4, 8, 9), seed=2)
    path = write(tmp_path / "a.h5", only=one)
    with h5py.File(path, "a") as file:
        file["names"] = ["a", "b"]
    with opened(path) as source:
        check(source, canonical(one, "zyx"))
    write(path, raw=one, label=two)
    with opened(path) as source:
        check(source, canonical(one, "zyx"))
    with opened(path, key="/label") as source:
        check(source, canonical(two, "zyx"))
    write(path, **{"volumes/a": one, "volumes/b": two})
    error = error_of(path)
    assert "a.h5" in error.problem
    assert "`key: volumes/a` (shape (3, 8, 9))" in error.remedy
    with opened(path, key="volumes/b") as source:
        check(source, canonical(two, "zyx"))


@pytest.mark.parametrize("name", ["a.h5", "B.HDF5", "c.hdf", "d.ilp", "file.dat"])
def test_key_in_the_path(tmp_path: Path, name: str) -> None:
    array = image((3, 8, 9))
    path = write(tmp_path / name, **{"in/side": array, "other": array})
    if name != "file.dat":
        with opened(f"{path}:in/side") as source:
            check(source, canonical(array, "zyx"))
        with opened(f"{path}:/in/side", key="in/side") as source:
            check(source, canonical(array, "zyx"))
        assert "two data sets" in error_of(f"{path}:in/side", key="other").problem
    with opened(path, key="in/side") as source:
        check(source, canonical(array, "zyx"))


def test_user_block(tmp_path: Path) -> None:
    array = image((3, 8, 9))
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["raw"] = array
    with opened(tmp_path / "a.mat") as source:
        check(source, canonical(array, "zyx"))


def test_wrong_key(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", **{"raw": image((3, 8, 9)), "g/label": image((3, 8, 9))})
    for spec in ({"key": "rwa"}, {"key": "g"}):
        error = error_of(path, **spec)
        assert "a.h5" in error.problem
        assert "`key: raw` (shape (3, 8, 9))" in error.remedy
        assert "g/label" in error.remedy
    assert "does not exist" in error_of(f"{tmp_path / 'b.h5'}:raw").problem
    with h5py.File(tmp_path / "none.h5", "w"):
        pass
    assert "no data set" in error_of(tmp_path / "none.h5").remedy


def test_wrong_axes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", raw=image((2, 3, 8, 9)))
    error = error_of(path)
    assert "a.h5" in error.problem
    assert "(2, 3, 8, 9)" in error.problem
    assert "tzyx" in error.remedy
    assert "czyx" in error.remedy
    assert "names 3 axes" in error_of(path, axes="zyx").problem
    with opened(write(path, raw=image((1, 3, 8, 9)))) as source:
        assert source.header.shape == (1, 1, 3, 8, 9)
    for shape in ((9,), (1, 1, 2, 3, 8, 9)):
        assert "a.h5" in error_of(write(path, raw=image(shape)), key="raw").problem


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7])
def test_truncated(tmp_path: Path, share: float) -> None:
    path = write(tmp_path / "cut.h5", raw=image((32, 64, 64)))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "cut.h5" in error_of(path).problem


def test_damaged_chunk(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.h5", raw=image((32, 64, 64)))
    with h5py.File(path) as file:
        info = file["raw"].id.get_chunk_info(1)
    with path.open("r+b") as raw:
        raw.seek(info.byte_offset)
        raw.write(b"\xff" * info.size)
    assert "bad.h5: cannot read raw at t=0" in error_of(path).problem


def test_unreadable_content(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("text")
    assert "named as HDF5" in error_of(tmp_path / "a.h5").problem
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["complex"] = np.zeros((3, 8, 9), np.complex64)
        file["text"] = np.array([["a", "b"]], dtype=object)
        file["empty"] = np.zeros((0, 8, 9), np.uint8)
        file["null"] = h5py.Empty("u1")
        file["record"] = np.zeros((3, 4), dtype=[("a", "u1"), ("b", "f4")])
    for key in ("complex", "text", "record"):
        assert "cannot be segmented" in error_of(tmp_path / "b.h5", key=key).problem
    for key in ("empty", "null"):
        assert "empty" in error_of(tmp_path / "b.h5", key=key).problem


def test_lazy(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", (4000, 2000, 2000), "u1", chunks=(64, 64, 64))  # 16 GB, nothing written
    tracemalloc.start()
    try:
        with opened(path) as source:
            assert source._file is None  # type: ignore[attr-defined]
            assert source.read(0, 0, Box((3990, 100, 100), (4000, 200, 200))).max() == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_threads_and_reopening(tmp_path: Path) -> None:
    array = image((24, 32, 40))
    source = opened(write(tmp_path / "a.h5", raw=array))
    boxes = [Box((z, 0, 0), (z + 4, 32, 40)) for z in range(20)]
    for _ in range(2):
        with source, ThreadPoolExecutor(8) as pool:
            for box, voxels in zip(boxes, pool.map(lambda box: source.read(0, 0, box), boxes), strict=True):
                np.testing.assert_array_equal(voxels, array[box.slices])


@pytest.fixture(scope="module")
def permuted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    array = image((13, 2, 11, 17, 3))
    return write(tmp_path_factory.mktemp("h5") / "a.h5", raw=array), array


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_boxes(permuted: tuple[Path, np.ndarray], data: st.DataObject) -> None:
    path, array = permuted
    expected = canonical(array, "xcyzt")
    pairs = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in expected.shape[2:]]
    z, y, x = pairs
    t, c = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 1))
    with opened(path, axes="xcyzt") as source:
        check_box(source, expected, t, c, Box((z[0], y[0], x[0]), (z[1], y[1], x[1])))
