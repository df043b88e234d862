from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from bigseg.config.samples import Input
from bigseg.errors import UserError
from bigseg.volumes.signature import source_files, source_signature


def spec(path: Path | str, **options: object) -> Input:
    return Input.model_validate({"path": str(path), **options})


@pytest.fixture
def volume() -> np.ndarray:
    return np.zeros((3, 8, 9), np.uint8)


def test_one_file(tmp_path: Path, volume: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", volume, photometric="minisblack")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = volume
    assert source_files(spec(tmp_path / "a.tif")) == [tmp_path / "a.tif"]
    assert source_files(spec(tmp_path / "a.h5", key="raw")) == [tmp_path / "a.h5"]
    assert source_files(spec(f"{tmp_path}/a.h5:raw")) == [tmp_path / "a.h5"]


def test_files_of_patterns(tmp_path: Path, volume: np.ndarray) -> None:
    expected = [tmp_path / f"s{number}.tif" for number in range(11)]
    for path in expected:
        tifffile.imwrite(path, volume, photometric="minisblack")
    for path in (tmp_path, tmp_path / "s*.tif", tmp_path / "s{t}.tif"):
        assert source_files(spec(path)) == expected


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_declares_metadata_only(tmp_path: Path, zarr_format: int) -> None:
    root = tmp_path / "a.zarr"
    group = zarr.open_group(str(root), mode="w", zarr_format=zarr_format)
    group.create_array("0", shape=(8, 8, 8), chunks=(4, 4, 4), dtype="u1")[:] = 1
    group.create_array("other", shape=(8, 8, 8), dtype="u1")
    image = {"multiscales": [{"datasets": [{"path": "0"}], "axes": []}]}
    group.attrs.update({"ome": image} if zarr_format == 3 else image)
    top, level = ([".zgroup", ".zattrs"], [".zarray"]) if zarr_format == 2 else (["zarr.json"], ["zarr.json"])
    expected = {root / name for name in top} | {root / "0" / name for name in level}
    assert {file for file in source_files(spec(root)) if file.name != ".zattrs" or file.parent == root} == expected
    assert root / "0" / level[0] in source_files(spec(root, key="0"))
    assert source_files(spec(root, key="other"))[0].parent == root / "other"
    with pytest.raises(UserError, match="no array or group"):
        source_files(spec(root, key="wrong"))


def test_signature_changes_with_the_files(tmp_path: Path, volume: np.ndarray) -> None:
    for number in range(3):
        tifffile.imwrite(tmp_path / f"s{number}.tif", volume, photometric="minisblack")
    seen = [source_signature(spec(tmp_path))]
    assert source_signature(spec(tmp_path)) == seen[0]
    os.utime(tmp_path / "s1.tif", ns=(1, 1))
    seen.append(source_signature(spec(tmp_path)))
    with (tmp_path / "s1.tif").open("ab") as file:
        file.write(b"\0")
    os.utime(tmp_path / "s1.tif", ns=(1, 1))
    seen.append(source_signature(spec(tmp_path)))
    (tmp_path / "s2.tif").unlink()
    seen.append(source_signature(spec(tmp_path)))
    (tmp_path / "s1.tif").rename(tmp_path / "s4.tif")
    seen.append(source_signature(spec(tmp_path)))
    assert len(set(seen)) == 5
    assert all(len(signature) == 16 for signature in seen)


def test_missing_suggests_close_names(tmp_path: Path) -> None:
    (tmp_path / "Embryo_01.tif").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        source_signature(spec(tmp_path / "embyro_01.tif"))
    assert "embyro_01.tif does not exist" in caught.value.problem
    assert "Embryo_01.tif" in caught.value.remedy
    with pytest.raises(UserError) as caught:
        source_files(spec(tmp_path / "folder" / "a.tif"))
    assert str(tmp_path / "folder") in caught.value.remedy
    with pytest.raises(UserError) as caught:
        source_files(spec(tmp_path / "zzz"))
    assert "correct the path" in caught.value.remedy


def test_other_formats(tmp_path: Path) -> None:
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE")
    with pytest.raises(UserError, match=r"a\.czi is none of the formats") as caught:
        source_files(spec(tmp_path / "a.czi"))
    assert "OME-TIFF" in caught.value.remedy


def test_user_folder(tmp_path: Path, volume: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    tifffile.imwrite(tmp_path / "a.tif", volume, photometric="minisblack")
    assert source_files(spec("~/a.tif")) == [tmp_path / "a.tif"]


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("bigseg.volumes.signature", ["numpy", "pydantic", "tifffile", "zarr", "h5py"]),
        ("bigseg.volumes.source", ["tifffile", "zarr", "h5py"]),
    ],
)
def test_imports_are_light(module: str, heavy: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
