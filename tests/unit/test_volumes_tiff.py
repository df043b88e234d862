from __future__ import annotations

import re
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from volumes_checks import canonical, check, check_box, error_of, header_of, image, opened

from bigseg.geometry.box import Box
from bigseg.volumes.cache import ByteCache
from bigseg.volumes.tiff import TiffImage

PLAIN = {"photometric": "minisblack"}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metadata": None},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"byteorder": ">", "compression": "zlib"},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"compression": "zlib", "rowsperstrip": 7},
        {"compression": "lzma"},
        {"compression": "zlib", "metadata": None},
        {"tile": (16, 32)},
        {"tile": (16, 32), "compression": "zlib"},
        {"tile": (16, 16), "compression": "zlib", "bigtiff": True, "byteorder": ">"},
        {"volumetric": True, "tile": (16, 16, 16), "compression": "zlib"},
        {"ome": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}, "compression": "zlib", "tile": (16, 16)},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"imagej": True, "metadata": {"axes": "ZYX"}, "compression": "zlib"},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_stack(tmp_path: Path, options: dict[str, object], dtype: str) -> None:
    array = image((19, 37, 53), dtype)
    path = tmp_path / "stack.TIF"
    if dtype == "float32":
        options = {name: value for name, value in options.items() if name != "predictor"}  # needs imagecodecs
    tifffile.imwrite(path, array, **(PLAIN | options))
    with opened(path) as source:
        check(source, canonical(array, "zyx"))
        plain = "compression" not in options and "tile" not in options
        assert (source.header.chunk_shape is None) == plain


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint32", "int32", "uint64", "int64", "float16", "float64", "bool"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_types(tmp_path: Path, dtype: str, compression: str | None) -> None:
    array = image((3, 16, 24), dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression, **PLAIN)
    with opened(tmp_path / "a.tif") as source:
        check(source, canonical(array, "zyx"))


def test_compressed_chunk_shape(tmp_path: Path) -> None:
    array = image((2, 5, 40, 50))
    tifffile.imwrite(tmp_path / "strips.tif", array, compression="zlib", rowsperstrip=8, **PLAIN)
    tifffile.imwrite(tmp_path / "tiles.tif", array, tile=(16, 32), **PLAIN)
    assert header_of(tmp_path / "strips.tif", axes="tzyx").chunk_shape == (1, 8, 50)
    assert header_of(tmp_path / "tiles.tif", axes="tzyx").chunk_shape == (1, 16, 32)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("axes", ["TZCYX", "TCYX", "ZCYX", "TZYX", "TYX", "CYX", "ZYX", "YX"])
def test_imagej_hyperstack(tmp_path: Path, axes: str, compression: str | None) -> None:
    array = image([{"T": 3, "C": 2, "Z": 4, "Y": 15, "X": 21}[axis] for axis in axes])
    path = tmp_path / "hyper.tif"
    tifffile.imwrite(path, array, imagej=True, metadata={"axes": axes}, compression=compression)
    with opened(path) as source:
        check(source, canonical(array, axes.lower()))
        assert source.header.voxel_size_um is None


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("axes", ["TCZYX", "TZCYX", "CTZYX", "ZYX", "TYX"])
def test_ome_tiff(tmp_path: Path, axes: str, compression: str | None) -> None:
    array = image([{"T": 3, "C": 2, "Z": 4, "Y": 15, "X": 21}[axis] for axis in axes])
    path = tmp_path / "image.ome.tif"
    metadata = {
        "axes": axes,
        "PhysicalSizeX": 0.1,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 200.0,
        "PhysicalSizeYUnit": "nm",
        "PhysicalSizeZ": 0.003,
        "PhysicalSizeZUnit": "mm",
    }
    if "C" in axes:
        metadata["Channel"] = {"Name": ["membrane", "405"]}
    tifffile.imwrite(path, array, metadata=metadata, compression=compression, **PLAIN)
    with opened(path) as source:
        check(source, canonical(array, axes.lower()))
        assert source.header.voxel_size_um == pytest.approx((3, 0.2, 0.1))
        assert source.header.channels == (("membrane", "405") if "C" in axes else ())


def test_ome_pyramid_reads_full_resolution(tmp_path: Path) -> None:
    array = image((4, 64, 64))
    with tifffile.TiffWriter(tmp_path / "p.ome.tif") as writer:
        writer.write(array, subifds=1, tile=(16, 16), metadata={"axes": "ZYX"}, **PLAIN)
        writer.write(array[:, ::2, ::2], subfiletype=1, tile=(16, 16), **PLAIN)
    with opened(tmp_path / "p.ome.tif") as source:
        check(source, canonical(array, "zyx"))


def test_ome_tiff_of_several_files(tmp_path: Path) -> None:
    array = image((2, 3, 16, 20))
    xml = tifffile.OmeXml()
    xml.addimage("uint16", array.shape, (6, 1, 1, 16, 20, 1), axes="CZYX")
    text = xml.tostring()
    uuids = ["urn:uuid:0", "urn:uuid:1"]
    planes = "".join(
        f'<TiffData IFD="{z}" FirstC="{c}" FirstZ="{z}" FirstT="0" PlaneCount="1">'
        f'<UUID FileName="c{c}.ome.tif">{uuids[c]}</UUID></TiffData>'
        for c in range(2)
        for z in range(3)
    )
    begin, end = text.index("<TiffData"), text.index("</Pixels>")
    text = text[:begin] + planes + text[end:]
    for c in range(2):
        own = re.sub(r'UUID="[^"]*"', f'UUID="{uuids[c]}"', text, count=1)
        tifffile.imwrite(
            tmp_path / f"c{c}.ome.tif", array[c], description=own, metadata=None, compression="zlib", **PLAIN
        )
    with opened(tmp_path / "c0.ome.tif") as source:
        check(source, canonical(array, "czyx"))


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_rgb_samples_are_channels(tmp_path: Path, planar: str, compression: str | None) -> None:
    array = image((4, 20, 30, 3) if planar == "contig" else (4, 3, 20, 30), "uint8")
    path = tmp_path / "rgb.tif"
    tifffile.imwrite(path, array, photometric="rgb", planarconfig=planar, compression=compression)
    with opened(path) as source:
        check(source, canonical(array, "zyxc" if planar == "contig" else "zcyx"))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("axes", ["xyz", "yxz", "zxy", "tyx", "xyc"])
def test_permuted_axes(tmp_path: Path, axes: str, compression: str | None) -> None:
    array = image((5, 13, 17))
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression, **PLAIN)
    with opened(tmp_path / "a.tif", axes=axes) as source:
        check(source, canonical(array, axes))


def test_axes_may_name_what_imagej_squeezes(tmp_path: Path) -> None:
    array = image((5, 1, 13, 17))
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "TZYX"})
    with opened(tmp_path / "a.tif", axes="tzyx") as source:
        check(source, canonical(array, "tzyx"))


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("micron", 1),
        ("um", 1),
        ("\\u00B5m", 1),
        ("nm", 1e-3),
        ("mm", 1e3),
        ("microns", 1),
        ("pixel", None),
        (None, None),
    ],
)
def test_imagej_voxel_size(tmp_path: Path, unit: str | None, factor: float | None) -> None:
    metadata = {"axes": "ZYX", "spacing": 2.5} | ({"unit": unit} if unit else {})
    tifffile.imwrite(tmp_path / "a.tif", image((3, 8, 9)), imagej=True, resolution=(4.0, 5.0), metadata=metadata)
    expected = None if factor is None else pytest.approx((2.5 * factor, 0.2 * factor, 0.25 * factor))
    assert header_of(tmp_path / "a.tif").voxel_size_um == expected
    assert header_of(tmp_path / "a.tif", voxel_size_um=[3.0, 2.0, 1.0]).voxel_size_um == (3, 2, 1)


def test_voxel_size_without_spacing(tmp_path: Path) -> None:
    options = {"imagej": True, "resolution": (4.0, 4.0)}
    tifffile.imwrite(tmp_path / "stack.tif", image((3, 8, 9)), metadata={"axes": "ZYX", "unit": "um"}, **options)
    tifffile.imwrite(tmp_path / "plane.tif", image((3, 8, 9)), metadata={"axes": "TYX", "unit": "um"}, **options)
    assert header_of(tmp_path / "stack.tif").voxel_size_um is None
    assert header_of(tmp_path / "plane.tif").voxel_size_um == (1.0, 0.25, 0.25)


@pytest.fixture(scope="module")
def lazy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    array = image((24, 96, 80), "uint16")
    path = tmp_path_factory.mktemp("lazy") / "a.tif"
    tifffile.imwrite(path, array, compression="zlib", tile=(32, 32), **PLAIN)
    return path, array


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_boxes(lazy: tuple[Path, np.ndarray], data: st.DataObject) -> None:
    path, array = lazy
    pairs = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in array.shape]
    z, y, x = pairs
    with opened(path) as source:
        box = Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))
        check_box(source, canonical(array, "zyx"), 0, 0, box)


def test_decodes_only_what_the_box_touches(lazy: tuple[Path, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = lazy
    decoded: list[tuple[int, int]] = []
    original = TiffImage._decode

    def counting(self: TiffImage, number: int, segment: int) -> np.ndarray:
        decoded.append((number, segment))
        return original(self, number, segment)

    monkeypatch.setattr(TiffImage, "_decode", counting)
    with opened(path) as source:
        assert decoded == []
        source.read(0, 0, Box((3, 33, 33), (5, 64, 64)))
        assert decoded == [(3, 4), (4, 4)]
        source.read(0, 0, Box((4, 40, 40), (5, 41, 41)))
        assert len(decoded) == 2, "the second read comes from the cache"


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_memory_is_bounded_by_the_box(tmp_path: Path, compression: str | None) -> None:
    array = np.zeros((100, 256, 256), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression, **PLAIN)
    nbytes = array.nbytes
    del array
    tracemalloc.start()
    try:
        with opened(tmp_path / "a.tif") as source:
            source.read(0, 0, Box((40, 0, 0), (44, 256, 256)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < nbytes / 4


def test_threads_read_the_same(lazy: tuple[Path, np.ndarray]) -> None:
    path, array = lazy
    boxes = [Box((z, y, 0), (z + 4, y + 40, 80)) for z in range(0, 20, 2) for y in (0, 20, 56)]
    with opened(path) as source, ThreadPoolExecutor(8) as pool:
        for box, voxels in zip(boxes, pool.map(lambda box: source.read(0, 0, box), boxes), strict=True):
            np.testing.assert_array_equal(voxels, array[box.slices])


def test_cache_is_bounded_and_loads_once() -> None:
    cache = ByteCache(capacity=1000)
    loads: list[int] = []
    gate = threading.Barrier(4)

    def load(key: int) -> np.ndarray:
        loads.append(key)
        return np.zeros(400, np.uint8)

    def ask(_: int) -> None:
        gate.wait()
        cache.get(0, lambda: load(0))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))
    assert loads == [0]
    for key in (1, 2, 3, 3, 2):
        cache.get(key, lambda key=key: load(key))
    assert loads == [0, 1, 2, 3]
    assert cache._bytes == 800
    with pytest.raises(ValueError, match="broken"):
        cache.get(9, lambda: (_ for _ in ()).throw(ValueError("broken")))
    assert cache.get(9, lambda: np.ones(2000)).size == 2000
    assert cache._bytes == 0


def test_outside_is_an_error(lazy: tuple[Path, np.ndarray]) -> None:
    with opened(lazy[0]) as source:
        for t, c, end in [(1, 0, 5), (0, 1, 5), (-1, 0, 5), (0, 0, 99)]:
            with pytest.raises(IndexError, match="outside"):
                source.read(t, c, Box((0, 0, 0), (end, 5, 5)))


def test_axes_errors(tmp_path: Path) -> None:
    path = tmp_path / "four.tif"
    tifffile.imwrite(path, image((3, 4, 16, 20)), **PLAIN)
    error = error_of(path)
    assert "four.tif" in error.problem
    assert "(3, 4, 16, 20)" in error.problem
    assert "czyx" in error.remedy
    assert "tzyx" in error.remedy
    error = error_of(path, axes="zyx")
    assert "names 3 axes" in error.problem
    assert "(3, 4, 16, 20)" in error.problem
    tifffile.imwrite(path, image((2, 3, 4, 16, 20)), **PLAIN)
    with opened(path) as source:
        assert source.header.shape == (2, 3, 4, 16, 20)


def test_several_images(tmp_path: Path) -> None:
    path = tmp_path / "two.tif"
    first, second = image((3, 20, 30)), image((4, 22, 31))
    with tifffile.TiffWriter(path) as writer:
        writer.write(first, **PLAIN)
        writer.write(second, **PLAIN)
    assert "2 images" in error_of(path).problem
    assert "7" in error_of(path, key="7").problem
    with opened(path, key="1") as source:
        check(source, canonical(second, "zyx"))
    with tifffile.TiffWriter(path) as writer:
        writer.write(first, **PLAIN)
        writer.write(first[0, :8, :8], **PLAIN)
    with opened(path) as source:
        check(source, canonical(first, "zyx"))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("rows", [5, 64])
def test_plain_pages_that_are_not_contiguous_are_mapped(
    tmp_path: Path, byteorder: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = image((7, 40, 50))
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, byteorder=byteorder) as writer:
        for plane in array:
            writer.write(plane, metadata=None, rowsperstrip=rows, contiguous=False, description="z", **PLAIN)
    monkeypatch.setattr(TiffImage, "_decode", None)
    with tifffile.TiffFile(path) as tif:
        assert tif.series[0].dataoffset is None
    with opened(path) as source:
        check(source, canonical(array, "zyx"))
        assert source.header.chunk_shape is None
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    error_of(path)
