"""Arrays of another OME-Zarr, linked as Zarr v3."""

from __future__ import annotations

import json
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr

from bigseg.errors import UserError
from bigseg.volumes.header import OmeZarrLevel
from bigseg.volumes.reference import link_array

SHAPE, CHUNKS = (2, 5, 9, 11), (1, 3, 4, 11)
PIPELINES = ["zarr.core.codec_pipeline.BatchedCodecPipeline", "zarrs.ZarrsCodecPipeline"]
COMPRESSORS = {
    "none": None,
    "blosc-zstd": numcodecs.Blosc("zstd", 3, numcodecs.Blosc.SHUFFLE),
    "blosc-lz4": numcodecs.Blosc("lz4", 5, numcodecs.Blosc.BITSHUFFLE),
    "blosc-auto": numcodecs.Blosc("lz4", 5, numcodecs.Blosc.AUTOSHUFFLE),
    "blosc-noshuffle": numcodecs.Blosc("zlib", 5, numcodecs.Blosc.NOSHUFFLE),
    "gzip": numcodecs.GZip(4),
    "zstd": numcodecs.Zstd(3),
}


def content(dtype="uint16"):
    """Voxels, whose last chunk along y is all fill value and so not stored."""
    array = np.random.default_rng(0).integers(0, 200, SHAPE).astype(dtype)
    array[:, :, 8:] = 0
    return array


def v2_array(path: Path, array, separator="/", compressor=None, fill_value=0, order="C", **options):
    zarr.create_array(
        str(path),
        shape=array.shape,
        dtype=array.dtype,
        chunks=CHUNKS,
        compressors=compressor,
        zarr_format=2,
        fill_value=fill_value,
        order=order,
        chunk_key_encoding={"name": "v2", "separator": separator},
        config={"write_empty_chunks": False},
        **options,
    )[...] = array
    return OmeZarrLevel(path=str(path), zarr_format=2, axes="tzyx")


def assert_reads_as_v3(place: Path, expected):
    """Through the parent group, as a reader of OME-Zarr 0.5 does, with both codec pipelines."""
    zarr.create_group(str(place.parent), zarr_format=3, overwrite=False)
    for pipeline in PIPELINES:
        with zarr.config.set({"codec_pipeline.path": pipeline}):
            array = zarr.open_group(str(place.parent), mode="r", zarr_format=3)[place.name]
            assert array.metadata.zarr_format == 3
            assert array.dtype == expected.dtype
            np.testing.assert_array_equal(array[...], expected)


@pytest.mark.parametrize("separator", ["/", "."])
@pytest.mark.parametrize("compressor", COMPRESSORS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_v2_array_reads_the_same_through_v3(tmp_path, separator, compressor, dtype):
    level = v2_array(tmp_path / "theirs", content(dtype), separator, COMPRESSORS[compressor])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "theirs").rglob("*")}
    link_array(level, tmp_path / "ours" / "0")
    assert_reads_as_v3(tmp_path / "ours" / "0", content(dtype))
    array = zarr.open_array(str(tmp_path / "ours" / "0"), mode="r")
    assert array.metadata.dimension_names == tuple("tzyx")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "theirs").rglob("*")} == before


@pytest.mark.parametrize("dtype", ["int16", "uint64", "float32", "float64", ">u2", ">f4"])
def test_types_and_byte_orders(tmp_path, dtype):
    level = v2_array(tmp_path / "theirs", content(dtype), compressor=numcodecs.Zstd(1))
    link_array(level, tmp_path / "ours" / "0")
    assert_reads_as_v3(tmp_path / "ours" / "0", content(np.dtype(dtype).newbyteorder("=")))


@pytest.mark.parametrize(
    ("dtype", "fill"), [("uint16", 7), ("float32", 0.5), ("float32", float("nan")), ("int16", None)]
)
def test_chunks_that_are_not_stored_have_the_fill_value(tmp_path, dtype, fill):
    array = content(dtype)
    array[:, :, 8:] = 0 if fill is None else fill
    link_array(v2_array(tmp_path / "theirs", array, fill_value=fill), tmp_path / "ours" / "0")
    assert_reads_as_v3(tmp_path / "ours" / "0", array)


def test_a_v3_array_is_linked_as_it_is(tmp_path):
    zarr.create_array(str(tmp_path / "theirs"), data=content(), chunks=CHUNKS, zarr_format=3)
    link_array(OmeZarrLevel(path=str(tmp_path / "theirs"), zarr_format=3, axes="tzyx"), tmp_path / "ours" / "0")
    assert (tmp_path / "ours" / "0").is_symlink()
    assert_reads_as_v3(tmp_path / "ours" / "0", content())


@pytest.mark.parametrize("before", ["nothing", "link", "folder", "broken link"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_was_there_is_replaced_but_never_the_users_data(tmp_path, before, zarr_format):
    place, old = tmp_path / "ours" / "0", tmp_path / "old"
    place.parent.mkdir()
    v2_array(old, content())
    if before == "link":
        place.symlink_to(old, target_is_directory=True)
    elif before == "broken link":
        place.symlink_to(tmp_path / "gone", target_is_directory=True)
    elif before == "folder":
        link_array(OmeZarrLevel(path=str(old), zarr_format=2, axes="tzyx"), place)
    level = v2_array(tmp_path / "theirs", content())
    if zarr_format == 3:
        zarr.create_array(str(tmp_path / "third"), data=content(), chunks=CHUNKS, zarr_format=3)
        level = OmeZarrLevel(path=str(tmp_path / "third"), zarr_format=3, axes="tzyx")
    link_array(level, place)
    link_array(level, place)
    assert_reads_as_v3(place, content())
    np.testing.assert_array_equal(zarr.open_array(str(old), mode="r")[...], content())


@pytest.mark.parametrize(
    "change",
    [
        {"order": "F"},
        {"filters": [{"id": "delta", "dtype": "<u2"}]},
        {"compressor": {"id": "zlib", "level": 1}},
        {"compressor": {"id": "lz4", "acceleration": 1}},
        {"dtype": "|S4"},
        {"dtype": "<M8[ns]"},
        {"dtype": [["a", "<u2"], ["b", "<f4"]]},
    ],
    ids=str,
)
def test_what_v3_cannot_describe_is_a_user_error(tmp_path, change):
    level = v2_array(tmp_path / "theirs", content())
    path = tmp_path / "theirs" / ".zarray"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match="cannot be described") as caught:
        link_array(level, tmp_path / "ours" / "0")
    assert "ingest.reference" in caught.value.remedy


def test_a_missing_array_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="cannot link"):
        link_array(OmeZarrLevel(path=str(tmp_path / "gone"), zarr_format=2, axes="tzyx"), tmp_path / "ours" / "0")
