"""Where supervoxels go on beyond a face, against loops over voxels."""

from __future__ import annotations

import itertools

import numpy as np
from graph_checks import all_edges, crop_with_halo, grids, split_by_blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.kernels.faces import contacts_inside, continuing, lower_bit, upper_bit
from bigseg.kernels.region_graph import block_edges

SMALL = st.integers(1, 5)


@given(st.tuples(SMALL, SMALL, SMALL), st.integers(0, 2**32), st.data())
@settings(max_examples=60, deadline=None)
def test_continuing_marks_the_voxels_at_faces_whose_supervoxel_goes_on(shape, seed, data):
    labels = np.random.default_rng(seed).integers(0, 3, shape)
    inner = tuple(slice(a := data.draw(st.integers(0, n - 1)), data.draw(st.integers(a + 1, n))) for n in shape)
    expected = np.zeros([s.stop - s.start for s in inner], np.uint8)
    for voxel in itertools.product(*(range(s.start, s.stop) for s in inner)):
        for axis, (step, bit) in itertools.product(range(3), ((-1, 1), (1, 2))):
            beyond = tuple(p + step * (a == axis) for a, p in enumerate(voxel))
            leaves = not inner[axis].start <= beyond[axis] < inner[axis].stop
            if leaves and 0 <= beyond[axis] < shape[axis] and labels[voxel] == labels[beyond] != 0:
                expected[tuple(p - s.start for p, s in zip(voxel, inner, strict=True))] |= bit << 2 * axis
    found = continuing(labels, inner)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


@given(st.tuples(SMALL, SMALL, SMALL), st.tuples(*[st.booleans()] * 3), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_contacts_inside_are_those_across_upper_faces_that_both_sides_agree_on(inner_shape, goes_on, seed):
    generator = np.random.default_rng(seed)
    shape = tuple(n + more for n, more in zip(inner_shape, goes_on, strict=True))
    own = np.zeros(shape, bool)
    own[tuple(slice(n) for n in inner_shape)] = True
    labels = generator.integers(0, 3, shape) + np.where(own, 0, 10)
    labels = np.where(labels % 10 == 0, 0, labels).astype(np.uint64)
    continues = generator.integers(0, 64, shape).astype(np.uint8)
    boundary = generator.integers(0, 256, shape).astype(np.uint8)
    expected = {}
    for voxel in itertools.product(*(range(n) for n in inner_shape)):
        for axis in range(3):
            beyond = tuple(p + (a == axis) for a, p in enumerate(voxel))
            if beyond[axis] != inner_shape[axis] or not goes_on[axis]:
                continue
            agreed = continues[voxel] & upper_bit(axis) and continues[beyond] & lower_bit(axis)
            pair = tuple(sorted((int(labels[voxel]), int(labels[beyond]))))
            if agreed and pair[0] != 0:
                value = (int(boundary[voxel]) + int(boundary[beyond])) / 2
                expected[pair] = expected.get(pair, 0) + value
    u, v, sums = contacts_inside(labels, boundary, continues, inner_shape)
    assert list(zip(zip(u.tolist(), v.tolist(), strict=True), sums.tolist(), strict=True)) == sorted(expected.items())


@given(grids(), st.integers(1, 6), st.integers(0, 2), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_where_blocks_agree_only_contacts_between_supervoxels_count(grid, number, halo, seed):
    """Each block's labels are crops of one labelling, so the halos agree perfectly."""
    generator = np.random.default_rng(seed)
    whole = generator.integers(0, number + 1, grid.shape)
    boundary = generator.integers(1, 256, grid.shape).astype(np.uint8)
    labels = split_by_blocks(whole, grid)
    continues = np.zeros(grid.shape, np.uint8)
    for index in range(grid.number_of_blocks):
        outer, box = crop_with_halo(grid, index, halo + 1)
        continues[box.slices] = continuing(whole[outer.slices], box.inside(outer).slices)
    parts = []
    for index in range(grid.number_of_blocks):
        box = grid.box(index)
        seen = box.grow((0, 0, 0), (1, 1, 1), grid.shape).slices
        parts.append(block_edges(labels[seen], boundary[seen], continues[seen], box.shape))
    edges = all_edges(parts)
    to_whole = dict(zip(labels.ravel().tolist(), whole.ravel().tolist(), strict=True))
    same = np.array([to_whole[u] == to_whole[v] for u, v in zip(edges.u.tolist(), edges.v.tolist(), strict=True)], bool)
    assert (edges.probability[same] == 0).all()
    np.testing.assert_allclose(edges.probability[~same], edges.mean[~same], rtol=1e-12)
