from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from volumes_checks import canonical, check, error_of, image, opened, read_all

from bigseg.errors import UserError
from bigseg.geometry.box import Box

PLAIN = {"photometric": "minisblack"}


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {},
        {"metadata": None},
        {"metadata": None, "compression": "zlib"},
        {"compression": "zlib"},
        {"compression": "zlib", "imagej": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "compression": "zlib"},
        {"tile": (16, 16)},
    ],
    ids=str,
)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.98])
def test_truncated(tmp_path: Path, options: dict[str, object], share: float) -> None:
    path = tmp_path / "cut.tif"
    array = image((12, 64, 64), "uint8")
    tifffile.imwrite(path, array, **(PLAIN | options))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    error = failure(path)
    if error is None:  # only metadata behind the image are cut off
        assert share > 0.9
        with opened(path) as source:
            check(source, canonical(array, "zyx"))
    else:
        assert str(path) in error.problem
        assert error.remedy


def failure(path: Path) -> UserError | None:
    try:
        read_all(path)
    except UserError as error:
        return error
    return None


def test_damaged_strip(tmp_path: Path) -> None:
    path = tmp_path / "bad.tif"
    tifffile.imwrite(path, image((5, 64, 64), "uint8"), compression="zlib", **PLAIN)
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[3].dataoffsets[0]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 100)
    with opened(path) as source:
        source.read(0, 0, Box((0, 0, 0), (3, 64, 64)))
        with pytest.raises(UserError, match=r"bad\.tif: cannot read page 3"):
            source.read(0, 0, Box((0, 0, 0), (5, 64, 64)))


def test_not_a_tiff(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("hello, this is text")
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "head.tif").write_bytes(b"II*\0")
    (tmp_path / "junk.tif").write_bytes(b"II*\0" + bytes(range(200)))
    for name in ("text", "empty", "head", "junk"):
        assert f"{name}.tif" in error_of(tmp_path / f"{name}.tif").problem


def test_unsupported_type(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((3, 8, 8), np.complex64), **PLAIN)
    assert "complex64" in error_of(tmp_path / "c.tif").problem


@pytest.mark.skipif(5 in tifffile.TIFF.DECOMPRESSORS, reason="imagecodecs is installed: LZW can be read")
def test_lzw_names_the_missing_package(tmp_path: Path) -> None:
    path = tmp_path / "lzw.tif"
    tifffile.imwrite(path, image((3, 16, 16), "uint8"), compression="zlib", **PLAIN)
    with tifffile.TiffFile(path, mode="r+") as tif:
        for page in tif.pages:
            page.aspage().tags["Compression"].overwrite(5)
    error = error_of(path)
    assert "LZW" in error.problem
    assert "imagecodecs" in error.remedy
