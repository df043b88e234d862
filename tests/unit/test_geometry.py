"""Boxes, grids and batches, against brute force over voxels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.errors import UserError
from bigseg.geometry.batches import batch_name, batches_of, make_batches, parse_batch, tile
from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid, shard_shape, supervoxel_id_range
from bigseg.geometry.levels import pyramid_levels

TRIPLES = st.tuples(*[st.integers(0, 6)] * 3)


@st.composite
def grids(draw):
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    return Grid(shape, tuple(draw(st.integers(1, n + 1)) for n in shape))


@st.composite
def grids_with_box(draw):
    grid = draw(grids())
    begin = tuple(draw(st.integers(0, n)) for n in grid.shape)
    return grid, Box(begin, tuple(draw(st.integers(a, n)) for a, n in zip(begin, grid.shape, strict=True)))


def block_of_voxel(grid):
    """The block of each voxel, by painting; -1 where no block is."""
    painted = np.full(grid.shape, -1)
    for index in range(grid.number_of_blocks):
        assert (painted[grid.box(index).slices] == -1).all()
        painted[grid.box(index).slices] = index
    return painted


@given(grids())
@settings(deadline=None)
def test_inner_boxes_tile_the_volume_exactly_once(grid):
    assert (block_of_voxel(grid) >= 0).all()
    assert sum(grid.box(i).size for i in range(grid.number_of_blocks)) == np.prod(grid.shape)
    for index in range(grid.number_of_blocks):
        assert min(grid.box(index).shape) > 0
        assert np.ravel_multi_index(grid.coordinate(index), grid.blocks_per_axis) == index


@given(grids())
@settings(max_examples=20, deadline=None)
def test_there_is_no_block_outside_the_grid(grid):
    for index in (-1, grid.number_of_blocks):
        with pytest.raises(IndexError, match=str(index)):
            grid.box(index)


@given(grids_with_box(), TRIPLES, TRIPLES)
@settings(deadline=None)
def test_grow_adds_the_voxels_within_reach_and_never_leaves_the_volume(case, before, after):
    grid, box = case
    grown = box.grow(before, after, grid.shape)
    for axis in range(3):
        reach = range(box.begin[axis] - before[axis], box.end[axis] + after[axis])
        expected = [i for i in range(grid.shape[axis]) if i in reach]
        assert list(range(grown.begin[axis], grown.end[axis])) == expected


@given(grids_with_box(), TRIPLES)
@settings(deadline=None)
def test_a_box_in_the_coordinates_of_its_surroundings_holds_the_same_voxels(case, halo):
    grid, box = case
    volume = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    outer = box.grow(halo, halo, grid.shape)
    np.testing.assert_array_equal(volume[outer.slices][box.inside(outer).slices], volume[box.slices])
    assert volume[box.slices].shape == box.shape
    assert volume[box.slices].size == box.size


@given(grids_with_box())
@settings(deadline=None)
def test_touching_finds_the_blocks_that_share_a_voxel(case):
    grid, box = case
    assert grid.touching(box) == np.unique(block_of_voxel(grid)[box.slices]).tolist()


@given(grids(), TRIPLES, TRIPLES, st.data())
@settings(deadline=None)
def test_neighbourhood_is_what_the_halo_touches(grid, before, after, data):
    index = data.draw(st.integers(0, grid.number_of_blocks - 1))
    halo = grid.box(index).grow(before, after, grid.shape)
    found = grid.neighbourhood(index, before, after)
    assert found == np.unique(block_of_voxel(grid)[halo.slices]).tolist()
    assert index in found


@given(st.integers(0, 2**31))
def test_ids_of_blocks_are_disjoint_and_fit_uint64(block):
    first, past = supervoxel_id_range(block)
    assert past - first == 2**32
    assert past == supervoxel_id_range(block + 1)[0]
    assert past <= 2**64


@given(grids(), st.tuples(*[st.integers(1, 3)] * 3))
def test_a_shard_is_a_block_of_whole_chunks_and_covers_single_blocks(grid, chunk):
    block = tuple(b if b == n else b * c for b, n, c in zip(grid.block_shape, grid.shape, chunk, strict=True))
    for s, n, b, c in zip(shard_shape(grid.shape, block, chunk), grid.shape, block, chunk, strict=True):
        assert s % c == 0
        assert s == b if b < n else n <= s < n + c


@given(
    st.tuples(*[st.integers(1, 3000)] * 3),
    st.tuples(*[st.sampled_from([0.1, 0.25, 0.3, 1.0, 5.0])] * 3),
    st.integers(1, 400),
)
def test_levels_halve_towards_cubes_until_they_are_small(volume, voxel_size, smallest):
    levels = pyramid_levels(volume, voxel_size, smallest)
    assert (levels[0].shape, levels[0].factor, levels[0].scale) == (volume, (1, 1, 1), (1, 1, 1))
    assert max(levels[-1].shape) <= smallest or len(levels) == 1
    for finer, level in itertools.pairwise(levels):
        assert max(finer.shape) > smallest
        spacing = [s * k for s, k in zip(voxel_size, finer.scale, strict=True)]
        used = [s for s, n in zip(spacing, finer.shape, strict=True) if n > 1]
        for axis in range(3):
            assert level.shape[axis] == -(-finer.shape[axis] // level.factor[axis])
            assert level.scale[axis] == finer.scale[axis] * level.factor[axis]
            halved = finer.shape[axis] > 1 and spacing[axis] < 1.5 * min(used)
            assert level.factor[axis] == (2 if halved else 1)


@given(st.integers(1, 500), st.integers(1, 600))
def test_batches_partition_the_pieces_evenly_and_round_trip_by_name(pieces, batches):
    cut = make_batches(pieces, batches)
    assert [piece for batch in cut for piece in batch] == list(range(pieces))
    assert len(cut) == min(pieces, batches)
    lengths = [len(batch) for batch in cut]
    assert max(lengths) - min(lengths) <= 1
    assert [parse_batch(batch_name(batch), pieces) for batch in cut] == cut


@given(st.integers(1, 60), st.integers(1, 20), st.data())
@settings(deadline=None)
def test_batches_of_finds_the_batches_that_hold_a_piece(pieces, batches, data):
    cut = make_batches(pieces, batches)
    wanted = data.draw(st.lists(st.integers(0, pieces - 1)))
    assert batches_of(wanted, cut) == [i for i, batch in enumerate(cut) if set(batch) & set(wanted)]


@pytest.mark.parametrize(
    "name", ["", "-", "5", "3-", "-3", "a-b", "1-2-3", "1 - 2", "0-10", "10-10", "4-3", "²-³", "-1-2"]
)
def test_a_batch_that_is_no_range_of_blocks_is_refused(name):
    with pytest.raises(UserError, match="--blocks"):
        parse_batch(name, 10)


@given(st.integers(1, 6), st.sets(st.tuples(st.integers(0, 6), st.integers(1, 6)), max_size=12))
def test_tile_finds_batches_that_tile_the_pieces_if_there_are_any(pieces, drawn):
    batches = [range(start, start + length) for start, length in drawn]

    def tilings(at: int) -> bool:
        return at == pieces or any(b.start == at and b.stop <= pieces and tilings(b.stop) for b in batches)

    found = tile(batches, pieces)
    assert (found is not None) == tilings(0)
    if found is not None:
        assert set(found) <= set(batches)
        assert [piece for batch in found for piece in batch] == list(range(pieces))
