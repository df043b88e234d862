"""What a batch needs: worked out for boxes of blocks at once, and compared with its blocks one by one."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.config import validate_config
from bigseg.geometry.grid import Grid
from bigseg.geometry.octree import Octree
from bigseg.layout import Layout
from bigseg.networks.description import ModelDescription
from bigseg.planning.sample import SamplePlan
from bigseg.stages import find_step, steps_of
from bigseg.volumes.header import VolumeHeader

SIZES = st.tuples(*[st.integers(1, 5)] * 3)
OFFSETS = [[-1, 0, 0], [0, 2, -1]]


@st.composite
def plans(draw):
    """A configuration and a sample of it, of any method, with blocks of any shape."""
    blocks, block_shape = draw(SIZES), draw(st.tuples(*[st.integers(2, 4)] * 3))
    shape = tuple(n * b - draw(st.integers(0, b - 1)) for n, b in zip(blocks, block_shape, strict=True))
    method = draw(st.sampled_from(["gasp", "multicut", "lifted_multicut", "mutex_watershed"]))
    maps = draw(st.sampled_from([("nuclei",), ("affinities",), ("nuclei", "affinities")]))
    sample = {"input": {"path": "image"}, "truth": {"path": "truth"}}
    if method in ("lifted_multicut", "mutex_watershed"):
        sample |= {role: {"path": role} for role in maps}
        if "affinities" in maps:
            sample["affinities"]["offsets"] = OFFSETS
    network = draw(st.booleans())
    config = validate_config(
        {
            "samples": {"s": sample},
            "partition": {"method": method, "levels": draw(st.integers(0, 3))},
            "supervoxels": {
                "halo": draw(st.lists(st.integers(0, 5), min_size=3, max_size=3)),
                "crest": {"weight": draw(st.sampled_from([0.0, 40.0]))},
            },
            "predict": {"method": "network", "model": "m"} if network else {"sigma": draw(st.sampled_from([0.0, 0.5]))},
            "pyramid": {"smallest": 4},
        },
        "test",
    )
    reach = tuple(tuple(draw(st.lists(st.integers(0, 4), min_size=2, max_size=2))) for _ in range(3))
    model = ModelDescription(
        origin="m",
        source="onnx",
        backend="onnx",
        digest="",
        files=(),
        dims=3,
        in_channels=1,
        out_channels=1,
        outputs=("boundary",),
        divisibility=(2, 2, 2),
        before=reach,
        after=reach,
        by_construction=True,
        statistics=draw(st.booleans()),
        bytes_per_voxel=100.0,
    )
    return config, SamplePlan(
        name="s",
        sample=config.samples["s"],
        header=VolumeHeader(shape=(1, 1, *shape), dtype="uint8", voxel_size_um=None),
        grid=Grid(shape, block_shape),
        chunk_shape=block_shape,
        batches=7,
        times=(0,),
        voxel_size_um=(1.0, 1.0, 1.0),
        layout=Layout(Path("results"), Path("work"), "s"),
        model=model if network else None,
    )


def gathered(needs):
    """Pieces by what else a need says."""
    found = defaultdict(set)
    for need in needs:
        found[need.step, need.total, need.in_key, need.time].update(need.pieces)
    return {key: pieces for key, pieces in found.items() if pieces}


@given(plans(), st.data())
@settings(max_examples=40, deadline=None)
def test_a_run_of_pieces_needs_what_each_of_them_needs(case, data):
    config, plan = case
    for name in [*steps_of(config, plan), "evaluate.overlaps"]:
        kind = find_step(name)
        step = kind(kind.resolve(config, plan), plan.layout, 0)
        first = data.draw(st.integers(0, step.number_of_pieces - 1), label=name)
        run = range(first, data.draw(st.integers(first + 1, step.number_of_pieces), label=name))
        one_by_one = gathered(need for piece in run for need in step.needs(piece))
        assert gathered(step.needs_of_run(run)) == one_by_one, name
        for (needed, total, _, _), pieces in one_by_one.items():
            assert pieces <= set(range(total)), needed


@given(SIZES, st.data())
@settings(deadline=None)
def test_boxes_of_a_run_tile_it(size, data):
    grid = Grid(size, (1, 1, 1))
    first = data.draw(st.integers(0, grid.number_of_blocks))
    run = range(first, data.draw(st.integers(first, grid.number_of_blocks)))
    boxes = list(grid.boxes(run))
    assert list(itertools.chain(*map(grid.touching, boxes))) == list(run)
    assert len(boxes) <= 5


@given(SIZES, st.data())
@settings(deadline=None)
def test_later_and_earlier_blocks_against_all_pairs(size, data):
    tree = Octree(size)
    grid = tree.grid(0)
    begin = tuple(data.draw(st.integers(0, n - 1)) for n in size)
    box = grid.box_at(begin).grow((0, 0, 0), tuple(data.draw(st.integers(0, n)) for n in size), size)
    around = {block: grid.neighbourhood(block, (1, 1, 1), (1, 1, 1)) for block in grid.touching(box)}
    later = sorted({other for block, near in around.items() for other in near if other >= block})
    assert tree.later_within(box) == later
    assert tree.earlier_within(box) == sorted({o for block, near in around.items() for o in near if o <= block})


@pytest.mark.parametrize("level", [0, 1, 2])
def test_ancestors_of_a_box_are_those_of_its_blocks(level):
    tree = Octree((3, 5, 4))
    box = tree.grid(0).box_at((1, 2, 1)).grow((0, 1, 0), (1, 1, 2), (3, 5, 4))
    blocks = tree.grid(0).touching(box)
    assert tree.ancestors(level, box) == sorted({tree.ancestor(level, block) for block in blocks})
