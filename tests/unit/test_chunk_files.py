"""Time points of a Zarr array of which nothing is on disk, compared with what zarr itself finds there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bigseg.config.samples import Input
from bigseg.errors import UserError
from bigseg.volumes import chunk_files as module
from bigseg.volumes.chunk_files import times_without_chunks
from bigseg.volumes.source import open_source

KINDS = [(2, "."), (2, "/"), (3, "."), (3, "/"), (3, "v2."), (3, "v2/"), (3, "shards")]


def create(path: Path, kind: tuple[int, str], axes: str, lengths: dict[str, int], chunks: dict[str, int]) -> zarr.Array:
    zarr_format, separator = kind
    names = {"v2.": ("v2", "."), "v2/": ("v2", "/"), "shards": ("default", "/")}
    name, separator = names.get(separator, ("v2" if zarr_format == 2 else "default", separator))
    chunk = tuple(chunks[axis] for axis in axes)
    sharded = kind[1] == "shards"
    return zarr.create_array(
        str(path),
        shape=tuple(lengths[axis] for axis in axes),
        chunks=tuple(1 for _ in axes) if sharded else chunk,
        shards=chunk if sharded else None,
        dtype="uint8",
        zarr_format=zarr_format,
        chunk_key_encoding={"name": name, "separator": separator},
        fill_value=0,
    )


def files_of(path: Path, axes: str) -> module.ChunkFiles:
    with open_source(Input(path=str(path), axes=axes)) as source:
        assert source.header.chunk_files is not None
        return source.header.chunk_files


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_array(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("array") / "a.zarr"
    axes = data.draw(st.sampled_from(["tczyx", "tzyx", "zyxt", "ctzyx", "zyx"]))
    lengths = {axis: data.draw(st.integers(1, 5)) for axis in axes}
    chunks = {axis: data.draw(st.integers(1, lengths[axis])) for axis in axes}
    array = create(path, data.draw(st.sampled_from(KINDS)), axes, lengths, chunks)
    seed = data.draw(st.integers(0, 1000))
    values = np.random.default_rng(seed).random(array.shape) < data.draw(st.sampled_from([0.01, 0.05, 0.3]))
    array[...] = values.astype(np.uint8)
    times = range(lengths.get("t", 1))
    # a chunk is there if any of its voxels is not the fill value
    seen = np.moveaxis(values, axes.index("t"), 0) if "t" in axes else values[None]
    size = chunks.get("t", 1)
    expected = [t for t in times if not seen[t // size * size : (t // size + 1) * size].any()]
    assert times_without_chunks(files_of(path, axes), times) == expected
    assert times_without_chunks(files_of(path, axes), []) == []


@pytest.mark.parametrize("kind", KINDS)
def test_one_look_is_enough_where_all_is_there(tmp_path, kind, monkeypatch):
    lengths, chunks = {"t": 4, "z": 6, "y": 6, "x": 6}, {"t": 1, "z": 2, "y": 2, "x": 3}
    create(tmp_path / "a.zarr", kind, "tzyx", lengths, chunks)[...] = 1
    files = files_of(tmp_path / "a.zarr", "tzyx")
    monkeypatch.setattr(os, "scandir", lambda folder: pytest.fail("a folder was listed"))
    assert times_without_chunks(files, range(4)) == []


def test_files_of_others_are_no_chunks(tmp_path):
    path = tmp_path / "a.zarr"
    create(path, (3, "/"), "tzyx", {"t": 2, "z": 2, "y": 2, "x": 2}, {"t": 1, "z": 1, "y": 1, "x": 1})[1] = 1
    (path / "c" / "0" / "1").mkdir(parents=True)  # no chunk in it
    (path / "c" / ".DS_Store").write_bytes(b"")
    (path / "c" / "0" / "notes.txt").write_bytes(b"")
    assert times_without_chunks(files_of(path, "tzyx"), range(2)) == [0]


def test_a_folder_that_cannot_be_listed(tmp_path):
    path = tmp_path / "a.zarr"
    create(path, (3, "/"), "tzyx", {"t": 1, "z": 1, "y": 1, "x": 1}, {"t": 1, "z": 1, "y": 1, "x": 1})
    files = files_of(path, "tzyx")
    with pytest.raises(UserError, match=r"gone cannot be listed: No such file"):
        times_without_chunks(files.model_copy(update={"folder": str(tmp_path / "gone")}), [0])
