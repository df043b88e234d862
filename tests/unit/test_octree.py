"""The octree over blocks: against coordinates counted one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.geometry.grid import Grid
from bigseg.geometry.octree import ONE_JOB, Octree, levels_for

SIZES = st.tuples(*[st.integers(1, 6)] * 3)


def places(tree: Octree, level: int) -> list[tuple[int, int, int]]:
    return list(itertools.product(*map(range, tree.per_axis(level))))


@given(SIZES, st.integers(0, 3))
@settings(deadline=None)
def test_every_superblock_has_one_parent_and_the_blocks_below_it(size, level):
    tree = Octree(size)
    assert tree.number(level) == len(places(tree, level))
    for block, place in enumerate(places(tree, 0)):
        assert places(tree, level)[tree.ancestor(level, block)] == tuple(c >> level for c in place)
    if level:
        children = [child for index in range(tree.number(level)) for child in tree.children(level, index)]
        assert sorted(children) == list(range(tree.number(level - 1)))
        for block in range(tree.number(0)):
            assert tree.ancestor(level - 1, block) in tree.children(level, tree.ancestor(level, block))


@given(SIZES, st.integers(0, 3), st.data())
@settings(deadline=None)
def test_neighbourhood_is_all_within_one_step(size, level, data):
    tree = Octree(size)
    index = data.draw(st.integers(0, tree.number(level) - 1))
    family = tree.children(level, index) if level and data.draw(st.booleans()) else [index]
    at = max(level - 1, 0) if family != [index] else level
    known = places(tree, at)
    expected = [
        i
        for i, place in enumerate(known)
        if any(max(abs(a - b) for a, b in zip(place, known[one], strict=True)) <= 1 for one in family)
    ]
    assert tree.neighbourhood(at, family) == expected


@given(SIZES, st.data())
@settings(deadline=None)
def test_below_are_the_owners_of_a_blocks_contacts(size, data):
    """A contact is owned by the block of its lower voxel: that of the block itself or of one below along one axis."""
    tree, grid = Octree(size), Grid(size, (1, 1, 1))
    block = data.draw(st.integers(0, tree.number(0) - 1))
    place = np.array(grid.coordinate(block))
    owners = {block}
    for axis in range(3):
        lower = place - np.eye(3, dtype=int)[axis]
        if lower.min() >= 0:
            owners.add(next(b for b in range(grid.number_of_blocks) if grid.coordinate(b) == tuple(lower)))
    assert tree.below(0, block) == sorted(owners)


@pytest.mark.parametrize(
    ("shape", "blocks", "levels"),
    [
        ((512, 512, 512), (8, 8, 8), 0),
        ((513, 512, 512), (3, 2, 2), 2),
        ((513, 512, 512), (2, 2, 2), 1),
        ((2048, 2048, 2048), (8, 8, 8), 3),
        ((2048, 2048, 2048), (9, 9, 9), 4),
        ((10, 60000, 60000), (1, 200, 200), 8),
        ((10000, 10000, 10000), (40, 40, 40), 6),
    ],
)
def test_levels_follow_from_the_volume(shape, blocks, levels):
    assert levels_for(shape, blocks) == levels
    tree = Octree(blocks)
    if levels:
        assert tree.number(levels - 1) <= 8
        assert levels == 1 or tree.number(levels - 2) > 8
    else:
        assert np.prod(shape, dtype=float) <= ONE_JOB
