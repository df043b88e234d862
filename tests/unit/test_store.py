"""bigseg's own arrays: blocks written by many at once, read back in any box."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from graph_checks import grids
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid, shard_shape
from bigseg.volumes.store import ArraySpec, VolumeArray, ensure_array


def spec_of(folder: Path, grid: Grid, chunk=None, times=1, channels=None, dtype="uint16"):
    chunk = chunk or grid.block_shape
    leading = (times,) if channels is None else (times, channels)
    return ArraySpec(
        path=folder / "array",
        shape=(*leading, *grid.shape),
        axes="tzyx" if channels is None else "tczyx",
        dtype=dtype,
        shard_shape=shard_shape(grid.shape, grid.block_shape, chunk),
        chunk_shape=chunk,
        lock=folder / "locks" / "array.lock",
        status=folder / "status" / "stage",
        step="blocks",
    )


def voxels(shape, seed=0, dtype="uint16"):
    return np.random.default_rng(seed).integers(1, 2**15, shape).astype(dtype)


def whole(grid):
    return Box((0, 0, 0), grid.shape)


def write_blocks(spec, grid, blocks, content, t=0):
    """What a job does: open the array and write blocks; a function, so that another process can run it."""
    store = ensure_array(spec)
    for index in blocks:
        box = grid.box(index)
        store.write(t, 0, box, content[box.slices])


@st.composite
def chunked_grids(draw):
    """Grids whose blocks are whole numbers of chunks; an axis that is a single block may end in the middle of one."""
    shape, block, chunk = [], [], []
    for _ in range(3):
        c, chunks, blocks = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
        cut = draw(st.integers(0, c * chunks - 1))
        n = c * chunks * blocks - cut
        shape.append(n)
        block.append(min(c * chunks, n))
        chunk.append(min(c, n))
    return Grid(tuple(shape), tuple(block)), tuple(chunk)


@given(chunked_grids(), st.sampled_from(["uint8", "uint16", "uint64", "float32"]), st.data())
@settings(max_examples=25, deadline=None)
def test_blocks_written_by_threads_read_back_in_any_box(tmp_path_factory, case, dtype, data):
    grid, chunk = case
    spec = spec_of(tmp_path_factory.mktemp("store"), grid, chunk, times=2, channels=2, dtype=dtype)
    content = voxels((2, 2, *grid.shape), data.draw(st.integers(0, 9)), dtype)
    jobs = [(t, c, i) for t in range(2) for c in range(2) for i in range(grid.number_of_blocks)]
    empty = set(data.draw(st.lists(st.sampled_from(jobs), max_size=3)))
    for t, c, i in empty:
        content[(t, c, *grid.box(i).slices)] = 0
    store = ensure_array(spec)

    def work(job):
        t, c, i = job
        store.write(t, c, grid.box(i), content[(t, c, *grid.box(i).slices)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, data.draw(st.permutations(jobs))))
    again = VolumeArray(spec.path, "tczyx")
    assert again.array.dtype == dtype
    for job in jobs:
        assert again.stored(job[0], job[1], grid.box(job[2]))
    for _ in range(4):
        t, c = data.draw(st.integers(0, 1)), data.draw(st.integers(0, 1))
        begin = tuple(data.draw(st.integers(0, n - 1)) for n in grid.shape)
        box = Box(begin, tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(begin, grid.shape, strict=True)))
        np.testing.assert_array_equal(again.read(t, c, box), content[(t, c, *box.slices)])


def test_processes_that_begin_together_do_not_disturb_each_other(tmp_path):
    """Each makes sure of the array for its own time point, so it is made and lengthened under their hands."""
    grid = Grid((9, 20, 14), (3, 10, 7))
    content = voxels((4, *grid.shape))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=context) as pool:
        jobs = [
            pool.submit(write_blocks, spec_of(tmp_path, grid, (3, 5, 7), t + 1), grid, blocks, content[t], t)
            for blocks in (range(0, 12, 2), range(1, 12, 2))
            for t in (3, 0, 2, 1)
        ]
        for job in jobs:
            job.result()
    store = VolumeArray(tmp_path / "array", "tzyx")
    assert store.array.shape == content.shape
    for t in range(4):
        np.testing.assert_array_equal(store.read(t, 0, whole(grid)), content[t])


def test_an_array_is_made_by_one_at_a_time(tmp_path):
    grid = Grid((4, 4, 4), (4, 4, 4))
    spec = spec_of(tmp_path, grid)
    spec.lock.parent.mkdir()
    with ThreadPoolExecutor(1) as pool:
        with spec.lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            job = pool.submit(ensure_array, spec)
            with pytest.raises(TimeoutError):
                job.result(0.3)
        assert job.result(30).array.shape == spec.shape


def test_a_longer_time_axis_keeps_what_is_there_and_a_shorter_one_asks_for_nothing(tmp_path):
    grid = Grid((4, 4, 4), (2, 4, 4))
    content = voxels(grid.shape)
    write_blocks(spec_of(tmp_path, grid, times=1), grid, range(2), content)
    longer = ensure_array(spec_of(tmp_path, grid, times=3))
    assert longer.array.shape == (3, 4, 4, 4)
    assert not longer.stored(2, 0, whole(grid))
    assert not longer.holds(2)
    longer.write(2, 0, grid.box(1), content[grid.box(1).slices])
    assert ensure_array(spec_of(tmp_path, grid, times=2)).array.shape == (3, 4, 4, 4)
    np.testing.assert_array_equal(longer.read(0, 0, whole(grid)), content)
    np.testing.assert_array_equal(longer.read(2, 0, grid.box(1)), content[grid.box(1).slices])


@pytest.mark.parametrize(
    "change",
    [
        {"shard_shape": (4, 4, 4)},
        {"chunk_shape": (1, 2, 2)},
        {"shape": (1, 4, 4, 5)},
        {"dtype": "uint8"},
    ],
)
def test_an_array_of_another_shape_or_type_is_replaced(tmp_path, change):
    grid = Grid((4, 4, 4), (2, 4, 4))
    spec = spec_of(tmp_path, grid, (2, 2, 2))
    write_blocks(spec, grid, range(2), voxels(grid.shape))
    changed = replace(spec, **change)
    store = ensure_array(changed)
    assert (store.array.shape, store.array.dtype) == (changed.shape, np.dtype(changed.dtype))
    assert store.array.shards == (1, *changed.shard_shape)
    assert store.array.chunks == (1, *changed.chunk_shape)
    assert not any(store.stored(0, 0, grid.box(i)) for i in range(2))


@pytest.mark.parametrize(
    ("axes", "leading"), [("tczyx", (1, 2)), ("zyx", ()), ("czyx", (1,))], ids=["more", "fewer", "as many"]
)
def test_an_array_with_other_axes_is_replaced(tmp_path, axes, leading):
    """E.g. a level of the image, whose level 0 was the user's own array without t and c."""
    grid = Grid((4, 4, 4), (2, 4, 4))
    spec = spec_of(tmp_path, grid)
    write_blocks(spec, grid, range(2), voxels(grid.shape))
    store = ensure_array(replace(spec, axes=axes, shape=(*leading, *grid.shape)))
    assert store.array.shape == (*leading, *grid.shape)
    assert store.array.metadata.dimension_names == tuple(axes)
    assert not any(store.stored(0, 0, grid.box(i)) for i in range(2))
    store.write(0, 0, grid.box(1), voxels(grid.box(1).shape, 1))
    np.testing.assert_array_equal(store.read(0, 0, grid.box(1)), voxels(grid.box(1).shape, 1))


def test_a_block_of_zeros_is_stored_so_that_a_missing_one_is_noticed(tmp_path):
    grid = Grid((5, 4, 4), (2, 4, 4))  # the last block is cut by the edge of the volume
    content = voxels(grid.shape)
    write_blocks(spec_of(tmp_path, grid), grid, range(3), content)
    for index in (0, 2):
        content[grid.box(index).slices] = 0
    write_blocks(spec_of(tmp_path, grid), grid, (0, 2), content)
    store = VolumeArray(tmp_path / "array", "tzyx")
    assert store.stored(0, 0, whole(grid))
    np.testing.assert_array_equal(store.read(0, 0, whole(grid)), content)
    for index in range(3):
        shard = tmp_path / "array" / "c" / "0" / str(index) / "0" / "0"
        kept = shard.read_bytes()
        shard.unlink()
        with pytest.raises(UserError, match=f"c/0/{index}/0/0: is gone"):
            store.read(0, 0, whole(grid))
        with pytest.raises(UserError, match="is gone"):
            store.read(0, 0, grid.box(index))
        shard.write_bytes(kept)


@given(chunked_grids())
@settings(max_examples=15, deadline=None)
def test_other_tools_read_blocks_of_zeros(tmp_path_factory, case):
    """Zarr's own codec pipeline takes their files for what they are."""
    grid, chunk = case
    spec = spec_of(tmp_path_factory.mktemp("store"), grid, chunk)
    content = voxels(grid.shape)
    content[grid.box(0).slices] = 0
    write_blocks(spec, grid, range(grid.number_of_blocks), content)
    with zarr.config.set({"codec_pipeline.path": "zarr.core.codec_pipeline.BatchedCodecPipeline"}):
        np.testing.assert_array_equal(zarr.open_array(str(spec.path), mode="r")[0], content)


@pytest.mark.parametrize("volume", [(4, 4, 5), (4, 4), (8, 4, 4)])
def test_a_store_of_another_shape_is_not_read(tmp_path, volume):
    grid = Grid((4, 4, 4), (2, 4, 4))
    write_blocks(spec_of(tmp_path, grid), grid, range(2), voxels(grid.shape))
    VolumeArray(tmp_path / "array", "tzyx", (4, 4, 4))
    with pytest.raises(UserError, match="has shape"):
        VolumeArray(tmp_path / "array", "tzyx", volume)
    with pytest.raises(UserError, match="has shape"):
        VolumeArray(tmp_path / "array", "tczyx")


def test_a_block_is_one_file(tmp_path):
    grid = Grid((5, 6, 7), (2, 6, 4))
    write_blocks(spec_of(tmp_path, grid, (1, 4, 2)), grid, range(6), voxels(grid.shape))
    assert len([path for path in (tmp_path / "array" / "c").rglob("*") if path.is_file()]) == 6


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_shard_is_an_error_and_no_garbage(tmp_path, kept):
    grid = Grid((8, 8, 16), (8, 8, 8))
    content = voxels(grid.shape)
    spec = spec_of(tmp_path, grid, (4, 4, 4))
    write_blocks(spec, grid, range(2), content)
    shard = spec.path / "c" / "0" / "0" / "0" / "1"
    shard.write_bytes(shard.read_bytes()[: int(kept * shard.stat().st_size)])
    store = VolumeArray(spec.path, "tzyx")
    for box in (grid.box(1), Box((3, 3, 3), (5, 5, 13))):
        with pytest.raises(UserError, match="cannot be read"):
            store.read(0, 0, box)
    np.testing.assert_array_equal(store.read(0, 0, grid.box(0)), content[grid.box(0).slices])


@pytest.mark.parametrize("metadata", ["", "{}", "[]", "null", '{"zarr_format": 3, "node_type": "array"}'])
def test_damaged_metadata_are_a_user_error_and_written_anew_by_the_next_writer(tmp_path, metadata):
    grid = Grid((4, 4, 4), (2, 4, 4))
    spec = spec_of(tmp_path, grid, times=2)
    content = voxels((2, *grid.shape))
    for t in range(2):
        write_blocks(spec, grid, range(2), content[t], t)
    before = (spec.path / "zarr.json").read_bytes()
    (spec.path / "zarr.json").write_text(metadata)
    with pytest.raises(UserError, match="not a readable Zarr array"):
        VolumeArray(spec.path, "tzyx")
    store = ensure_array(spec_of(tmp_path, grid, times=1))  # the writer knows its own time point only
    for t in range(2):
        np.testing.assert_array_equal(store.read(t, 0, whole(grid)), content[t])
    assert (spec.path / "zarr.json").read_bytes() == before


def test_a_missing_array_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        VolumeArray(tmp_path / "nowhere", "tzyx")


def test_leftovers_of_a_killed_replacement_do_not_come_back(tmp_path):
    grid = Grid((4, 4, 4), (4, 4, 4))
    spec = spec_of(tmp_path, grid)
    write_blocks(spec, grid, [0], voxels(grid.shape))
    (spec.path / "zarr.json").unlink()
    assert not ensure_array(spec).stored(0, 0, whole(grid))


def test_a_link_to_the_users_array_is_replaced_and_the_array_left_alone(tmp_path):
    """The image was referenced before and is copied now; an array of bigseg's own kind would even fit."""
    grid = Grid((4, 4, 4), (4, 4, 4))
    theirs = replace(spec_of(tmp_path, grid), path=tmp_path / "theirs")
    write_blocks(theirs, grid, [0], voxels(grid.shape))
    spec = spec_of(tmp_path, grid)
    spec.path.symlink_to(theirs.path, target_is_directory=True)
    ensure_array(spec).write(0, 0, grid.box(0), np.zeros(grid.shape, np.uint16))
    assert not spec.path.is_symlink()
    np.testing.assert_array_equal(zarr.open_array(str(theirs.path), mode="r")[0], voxels(grid.shape))


def test_a_folder_that_cannot_be_written_is_a_user_error(tmp_path):
    grid = Grid((4, 4, 4), (4, 4, 4))
    (tmp_path / "locks").touch()
    with pytest.raises(UserError, match="cannot be written"):
        ensure_array(spec_of(tmp_path, grid))


@given(grids(longest=5))
@settings(max_examples=10, deadline=None)
def test_other_tools_see_the_same_voxels(tmp_path_factory, grid):
    """Zarr's own codec pipeline reads what the Rust one wrote."""
    spec = spec_of(tmp_path_factory.mktemp("store"), grid)
    write_blocks(spec, grid, range(grid.number_of_blocks), voxels(grid.shape))
    with zarr.config.set({"codec_pipeline.path": "zarr.core.codec_pipeline.BatchedCodecPipeline"}):
        array = zarr.open_array(str(spec.path), mode="r")
        np.testing.assert_array_equal(array[0], voxels(grid.shape))
        assert array.metadata.dimension_names == tuple("tzyx")


def test_replacing_an_array_takes_back_the_markers_of_all_its_time_points(tmp_path):
    grid = Grid((4, 4, 4), (2, 4, 4))
    spec = spec_of(tmp_path, grid, times=2)
    ensure_array(spec)
    vouching = [spec.status / when / "blocks-000000-000001.json" for when in ("t0000", "t0001")]
    others = [spec.status / "t0000" / "statistics.json", tmp_path / "status" / "other" / "t0000" / "blocks-0-1.json"]
    for path in (*vouching, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    ensure_array(spec)
    assert all(path.exists() for path in (*vouching, *others))
    ensure_array(spec_of(tmp_path, Grid((4, 4, 4), (4, 4, 4)), times=2))
    assert not any(path.exists() for path in vouching)
    assert all(path.exists() for path in others)


def test_without_locks_an_array_is_made_all_the_same(tmp_path, monkeypatch):
    def refuse(file, operation):
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    spec = spec_of(tmp_path, Grid((4, 4, 4), (4, 4, 4)))
    number = errno.ENOLCK
    assert ensure_array(spec).array.shape == spec.shape
    number = errno.EIO
    with pytest.raises(OSError, match="no locks"):
        ensure_array(spec)
