from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from volumes_checks import canonical, check, error_of, header_of, image, opened

from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.volumes import tiff_files
from bigseg.volumes.patterns import find_files

PLAIN = {"photometric": "minisblack"}


def write(path: Path, array: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, **(PLAIN | options))


def planes(folder: Path, array: np.ndarray, name: str = "s_{}.tif", **options: object) -> None:
    for number, plane in enumerate(array):
        write(folder / name.format(number), plane, **options)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_folder_of_planes_is_z(tmp_path: Path, compression: str | None) -> None:
    array = image((12, 20, 30))
    planes(tmp_path / "slices", array, compression=compression)
    (tmp_path / "slices" / "notes.txt").write_text("not read")
    (tmp_path / "slices" / "._s_1.tif").write_bytes(b"left by macOS")
    for path in (tmp_path / "slices", f"{tmp_path}/slices/", f"{tmp_path}/slices/s_*.tif"):
        with opened(path) as source:
            check(source, canonical(array, "zyx"))
            assert source.header.chunk_shape == (None if compression is None else (1, 20, 30))
            assert source.header.voxel_size_um is None


@pytest.mark.parametrize("axis", ["t", "c", "z"])
def test_files_along(tmp_path: Path, axis: str) -> None:
    array = image((4, 20, 30))
    planes(tmp_path / "a", array)
    with opened(tmp_path / "a", files_along=axis) as source:
        check(source, canonical(array, axis + "yx"))
    with opened(tmp_path / "a", axes=axis + "yx") as source:
        check(source, canonical(array, axis + "yx"))
    with opened(tmp_path / "a", files_along=axis, axes="xy") as source:
        check(source, canonical(array, axis + "xy"))


def test_folder_of_volumes_is_t(tmp_path: Path) -> None:
    array = image((11, 3, 20, 30))
    planes(tmp_path / "a", array)
    with opened(tmp_path / "a") as source:
        check(source, canonical(array, "tzyx"))
    with opened(tmp_path / "a", axes="tzyx") as source:
        check(source, canonical(array, "tzyx"))
    with opened(tmp_path / "a", files_along="c") as source:
        check(source, canonical(array, "czyx"))
    with opened(tmp_path / "a", files_along="z") as source:
        check(source, canonical(array.reshape(33, 20, 30), "zyx"))


def test_time_lapse_in_pieces(tmp_path: Path) -> None:
    array = image((6, 2, 20, 30))
    for piece in range(3):
        part = array[2 * piece : 2 * piece + 2]
        write(tmp_path / f"p{piece}.tif", part, imagej=True, metadata={"axes": "TZYX"})
    with opened(f"{tmp_path}/p*.tif") as source:
        check(source, canonical(array, "tzyx"))


@pytest.mark.parametrize(
    ("pattern", "axes"),
    [
        ("e_t{t}_c{c}.tif", "tc"),
        ("t{t}/c{c}/z{z}.tif", "tcz"),
        ("{z}.tif", "z"),
        ("c{c}_t{t}_{z}.TIFF", "tcz"),
        ("x[1]/a{t}.tif", "t"),
        ("?un*/{t}.tif", "t"),
    ],
)
def test_placeholders(tmp_path: Path, pattern: str, axes: str) -> None:
    counts = {"t": 11, "c": 2, "z": 3}
    per_file = (20, 30) if "z" in axes else (3, 20, 30)
    array = image([counts[axis] for axis in axes] + list(per_file), "uint8")
    for index in np.ndindex(*(counts[axis] for axis in axes)):
        name = pattern.replace("?un*", "run_4")
        for axis, number in zip(axes, index, strict=True):
            name = name.replace(f"{{{axis}}}", str(number + 5))
        write(tmp_path / name, array[index])
    whole = axes + ("yx" if "z" in axes else "zyx")
    for options in ({}, {"axes": whole}):
        with opened(tmp_path / pattern, **options) as source:
            check(source, canonical(array, whole))


def test_natural_order(tmp_path: Path) -> None:
    for name in ("S10.tif", "s9.tif", "s1.tif", "s010b.tif", "s2.tif"):
        write(tmp_path / name, image((8, 8)))
    names = [path.name for path in find_files(str(tmp_path)).files]
    assert names == ["s1.tif", "s2.tif", "s9.tif", "S10.tif", "s010b.tif"]


def test_missing_indices_are_named(tmp_path: Path) -> None:
    for t in (8, 9, 12, 14):
        write(tmp_path / f"e{t:03d}.tif", image((2, 8, 8)))
    assert header_of(tmp_path / "e{t}.tif").missing_times == {t - 8: f"no file for (t={t})" for t in (10, 11, 13)}, (
        "time points may be left out"
    )
    for z in (1, 2, 4, 5, 7, 900):
        write(tmp_path / f"s{z}.tif", image((8, 8)))
    assert "z=3, 6, 8, " in error_of(tmp_path / "s{z}.tif").problem
    assert "and 884 more" in error_of(tmp_path / "s{z}.tif").problem
    for z in (1, 3):
        write(tmp_path / f"z{z}.tif", image((8, 8)))
    assert "z=2 is missing" in error_of(tmp_path / "z{z}.tif").problem
    for c in (0, 2):
        write(tmp_path / f"c{c}.tif", image((2, 8, 8)))
    assert header_of(tmp_path / "c{c}.tif").shape == (1, 2, 2, 8, 8)


def test_incomplete_grid(tmp_path: Path) -> None:
    for t, c in [(0, 0), (0, 1), (1, 0)]:
        write(tmp_path / f"t{t}c{c}.tif", image((2, 8, 8)))
    assert header_of(tmp_path / "t{t}c{c}.tif").missing_times == {1: "no file for (t=1, c=1)"}
    with opened(tmp_path / "t{t}c{c}.tif") as source:
        assert source.read(0, 1, Box((0, 0, 0), (2, 8, 8))).shape == (2, 8, 8)
        with pytest.raises(UserError, match=r"no file for \(t=1, c=1\)"):
            source.read(1, 1, Box((0, 0, 0), (2, 8, 8)))
    for z, c in [(0, 0), (0, 1), (1, 0)]:
        write(tmp_path / f"z{z}c{c}.tif", image((8, 8)))
    assert "(c=1, z=1)" in error_of(tmp_path / "z{z}c{c}.tif").problem


def test_pattern_errors(tmp_path: Path) -> None:
    write(tmp_path / "e1.tif", image((2, 8, 8)))
    write(tmp_path / "e01.tif", image((2, 8, 8)))
    assert "both are t=1" in error_of(tmp_path / "e{t}.tif").problem
    assert "{p}" in error_of(tmp_path / "e{p}.tif").problem
    error = error_of(tmp_path / "f{t}.tif")
    assert "no file matches" in error.problem
    assert "e1.tif" in error.remedy
    assert "does not exist" in error_of(tmp_path / "none" / "*.tif").problem
    (tmp_path / "e.txt").write_text("text")
    assert "e.txt" in error_of(tmp_path / "e*").problem
    (tmp_path / "nothing").mkdir()
    assert "holds no TIFF file" in error_of(tmp_path / "nothing").problem
    assert "counts z, but each file has 2 along z" in error_of(tmp_path / "e0{z}.tif").problem


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_files_must_agree(tmp_path: Path, compression: str | None, many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if many:
        monkeypatch.setattr(tiff_files, "_CHECK_ALL_UP_TO", 3)
    array = image((12, 20, 30))
    planes(tmp_path / "a", array, compression=compression)
    write(tmp_path / "a" / "s_5.tif", image((20, 31)), compression=compression)
    error = error_of(tmp_path / "a")  # at the latest when it is read
    assert "s_5.tif has shape (20, 31)" in error.problem
    write(tmp_path / "a" / "s_5.tif", image((20, 30), "uint8"), compression=compression)
    assert "uint8" in error_of(tmp_path / "a").problem
    if compression is None:
        with pytest.raises(UserError, match="s_5"):
            opened(tmp_path / "a")


def test_damaged_file_among_many(tmp_path: Path) -> None:
    planes(tmp_path / "a", image((5, 20, 30)))
    (tmp_path / "a" / "s_3.tif").write_bytes(b"II*\0")
    assert "s_3.tif" in error_of(tmp_path / "a").problem


def test_voxel_size_and_channels(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "spacing": 2.0, "unit": "micron"}
    for t in range(2):
        write(tmp_path / f"t{t}.tif", image((3, 8, 9)), imagej=True, resolution=(4.0, 4.0), metadata=metadata)
    assert header_of(tmp_path / "t{t}.tif").voxel_size_um == (2, 0.25, 0.25)
    assert header_of(tmp_path / "t{t}.tif", voxel_size_um=[3.0, 2.0, 1.0]).voxel_size_um == (3, 2, 1)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_threads_with_few_open_files(tmp_path: Path, compression: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_files, "_OPEN_FILES", 2)
    array = image((24, 20, 30))
    planes(tmp_path / "a", array, compression=compression)
    boxes = [Box((z, 3, 4), (z + 5, 17, 29)) for z in (*range(19), *range(19))]
    with opened(tmp_path / "a") as source:
        with ThreadPoolExecutor(8) as pool:
            for box, voxels in zip(boxes, pool.map(lambda box: source.read(0, 0, box), boxes), strict=True):
                np.testing.assert_array_equal(voxels, array[box.slices])
        assert len(source._lent) <= 2  # type: ignore[attr-defined]


def test_outside_is_an_error(tmp_path: Path) -> None:
    planes(tmp_path / "a", image((5, 20, 30)))
    with opened(tmp_path / "a") as source, pytest.raises(IndexError, match="outside"):
        source.read(0, 0, Box((4, 0, 0), (6, 5, 5)))
