"""Boundaries on the crest of the image: the kernel against brute force, and the stage in blocks."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from network_checks import package
from pipeline_checks import Settings, changed, done, labels, run, scores, settings

from bigseg.geometry.box import Box
from bigseg.kernels.crest import LEAST_DOUBT, draw_on_crest
from bigseg.kernels.synthetic.tissue import Tissue
from bigseg.planning.workflow import Workflow
from bigseg.volumes.store import VolumeArray

CREST = {"weight": 40.0, "radius": 2.0, "sigma": 1.0}


# --- the kernel -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [40.0, -40.0])
@pytest.mark.parametrize("crest", [14, 16, 18])
def test_a_wall_is_drawn_where_the_image_has_it(crest, weight):
    """The map is a plateau five voxels wide; the image has its crest on one of these."""
    shape = (6, 12, 32)
    x = np.broadcast_to(np.arange(shape[2]), shape)
    boundary = (abs(x - 16) <= 2).astype(np.float32)
    image = np.exp(-((x - crest) ** 2) / 2).astype(np.float32)
    before = np.where(x < 16, 1, 2).astype(np.uint32)
    drawn = draw_on_crest(
        before,
        boundary,
        image if weight > 0 else 1 - image,
        weight=weight,
        radius=4.0,
        sigma=0.0,
        sampling=(1, 1, 1),
    )
    assert (drawn[x < crest] == 1).all()
    assert (drawn[x > crest] == 2).all()


def test_a_wall_farther_away_than_the_radius_is_not_followed():
    shape = (4, 8, 40)
    x = np.broadcast_to(np.arange(shape[2]), shape)
    boundary = (abs(x - 16) <= 1).astype(np.float32)
    image = (x == 30).astype(np.float32)
    before = np.where(x < 16, 1, 2).astype(np.uint32)
    drawn = draw_on_crest(before, boundary, image, weight=40.0, radius=3.0, sigma=1.0, sampling=(1, 1, 1))
    assert (drawn[x < 13] == 1).all()
    assert (drawn[x > 18] == 2).all()


@st.composite
def problems(draw):
    """Labels connected by faces, in a mask, and heights that all differ."""
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random(shape) < draw(st.sampled_from([0.8, 1.0]))
    regions = rng.integers(1, draw(st.integers(1, 4)) + 1, tuple(-(-n // 3) for n in shape))
    coarse = np.kron(regions, np.ones((3, 3, 3), int))[tuple(slice(n) for n in shape)]
    labels, count = np.zeros(shape, np.uint32), 0
    for region in range(1, int(regions.max()) + 1):
        pieces, number = scipy.ndimage.label((coarse == region) & mask)
        labels[pieces > 0] = pieces[pieces > 0] + count
        count += number
    boundary = rng.random(shape).astype(np.float32)
    image = rng.random(shape).astype(np.float32)
    sampling = draw(st.sampled_from([(1.0, 1.0, 1.0), (2.5, 1.0, 1.0)]))
    return labels, boundary, image, draw(st.sampled_from([1.0, 1.5, 2.0])), sampling, mask


@given(problems())
@hypothesis_settings(max_examples=200, deadline=None)
def test_near_boundaries_it_is_a_watershed_of_the_sum_and_elsewhere_nothing_changes(problem):
    """Of a watershed each voxel has a label from which a path to it climbs no higher than from any other."""
    labels, boundary, image, radius, sampling, mask = problem
    drawn = draw_on_crest(labels, boundary, image, weight=10.0, radius=radius, sigma=0.0, sampling=sampling, mask=mask)
    assert drawn.dtype == np.uint32
    assert set(np.unique(drawn)) == set(np.unique(labels))
    assert ((drawn > 0) == mask).all()

    edge = np.zeros(labels.shape, bool)
    for axis in range(3):
        for step in (1, -1):
            other = np.roll(labels, step, axis)
            at_end = [slice(None)] * 3
            at_end[axis] = slice(0, 1) if step == 1 else slice(-1, None)
            other[tuple(at_end)] = 0
            edge |= (labels != other) & (labels > 0) & (other > 0)
    if not edge.any():
        assert (drawn == labels).all()
        return
    near = scipy.ndimage.distance_transform_edt(~edge, sampling=sampling) < radius
    seeds = np.where(near, 0, labels)
    for label in set(np.unique(labels)) - set(np.unique(seeds)):
        seeds[labels == label] = label
    assert (drawn[seeds > 0] == seeds[seeds > 0]).all()
    odds = np.clip(boundary.astype(np.float64), LEAST_DOUBT, 1 - LEAST_DOUBT)
    height = np.log(odds / (1 - odds)) + 10 * image
    lowest = np.stack([lowest_passes(height, seeds == label, mask) for label in np.unique(seeds[seeds > 0])])
    rank = np.searchsorted(np.unique(seeds[seeds > 0]), drawn)
    own = np.take_along_axis(lowest, np.where(mask, rank, 0)[None], axis=0)[0]
    levels = np.ptp(height) / 1000  # the library cuts heights into levels
    assert (own <= lowest.min(axis=0) + levels)[mask & (seeds == 0)].all()


def lowest_passes(height: np.ndarray, seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Brute force: how high a path from the seeds, at their own height, to each voxel has to climb at least."""
    found = np.where(seeds, height, np.inf)
    while True:
        before = np.pad(found, 1, constant_values=np.inf)
        around = [np.roll(before, step, axis)[1:-1, 1:-1, 1:-1] for axis in range(3) for step in (1, -1)]
        after = np.where(seeds, height, np.where(mask, np.maximum(height, np.min(around, axis=0)), np.inf))
        if (after == found).all():
            return found
        found = after


def test_of_one_label_there_is_no_boundary():
    labels = np.ones((4, 5, 6), np.uint32)
    noise = np.random.default_rng(0).random(labels.shape).astype(np.float32)
    drawn = draw_on_crest(labels, noise, noise, weight=40.0, radius=2.0, sigma=1.0, sampling=(1, 1, 1))
    assert (drawn == 1).all()


# --- the stage ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tissue(tmp_path_factory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("tissue") / "tissue.h5"
    made = Tissue((24, 64, 64))
    image, truth = made.render(Box((0, 0, 0), made.shape))
    with h5py.File(path, "w") as file:
        file["raw"], file["label"] = image, truth
        file["raw"].attrs["element_size_um"] = made.voxel_size_um
    return {"input": {"path": str(path), "key": "raw"}, "truth": {"path": str(path), "key": "label"}}


SEGMENTED = ("ingest", "predict", "supervoxels", "graph", "partition", "segment", "evaluate")


def test_blocks_do_not_matter(tissue, tmp_path):
    found = []
    for number, shape in enumerate(([24, 64, 64], [24, 40, 32], [8, 32, 64])):
        config = settings(tmp_path / str(number), tissue, blocks={"block_shape": shape}, supervoxels={"crest": CREST})
        run(config, SEGMENTED)
        found.append([scores(config)[key] for key in ("adapted_rand_error", "voi_split", "voi_merge")])
    assert np.ptp(np.array(found), axis=0).max() < 0.01, found


def test_its_keys_run_the_supervoxels_again_and_draw_other_boundaries(tissue, tmp_path):
    config = settings(tmp_path, tissue, blocks={"block_shape": [24, 32, 32]})
    run(config, SEGMENTED)
    plain = labels(config)
    drawn = changed(config, supervoxels={"crest": CREST})
    counts = done(drawn, SEGMENTED)
    assert counts["supervoxels.blocks"] == 4
    assert not {"ingest.blocks", "predict.blocks"} & counts.keys()
    moved = (labels(drawn) != plain).mean()
    assert 0 < moved < 0.3
    assert done(changed(config, supervoxels={"crest": {**CREST, "weight": 0.0}}), SEGMENTED)
    assert (labels(config) == plain).all()


def test_planes_do_not_see_each_other_if_told_so(tissue, tmp_path):
    """The same plane many times: so all get the same supervoxels, as many as one plane has."""
    with h5py.File(tissue["input"]["path"]) as file, h5py.File(tmp_path / "planes.h5", "w") as planes:
        planes["raw"] = np.repeat(file["raw"][12:13], 3, axis=0)
        planes["raw"].attrs["element_size_um"] = file["raw"].attrs["element_size_um"]
    config = settings(
        tmp_path,
        {"input": {"path": str(tmp_path / "planes.h5"), "key": "raw"}},
        predict={"sigma": 0.0},
        supervoxels={"dimension": "stacked_2d", "crest": CREST},
    )
    run(config, SEGMENTED[:3])
    found = VolumeArray(Workflow(config, "test").plans["a"].layout.supervoxels, "tzyx").read(
        0, 0, Box((0, 0, 0), (3, 64, 64))
    )
    first, *others = [np.unique(plane, return_inverse=True)[1].reshape(plane.shape) for plane in found]
    assert first.max() > 4
    assert all((plane == first).all() for plane in others)


def weight_used(config: Settings) -> float | None:
    found = Workflow(config, "test").step("supervoxels.blocks", "a", 0).parameters.get("crest")
    return None if found is None else found["weight"]


def test_a_model_tells_its_weight(tissue, tmp_path):
    package(tmp_path / "model", crest_weight=25.0)
    config = settings(tmp_path, tissue, predict={"method": "network", "model": str(tmp_path / "model")})
    assert weight_used(config) == 25
    assert weight_used(changed(config, supervoxels={"crest": {"weight": 0.0}})) is None
    assert weight_used(changed(config, supervoxels={"crest": {"weight": -8.0}})) == -8


def test_where_nearly_all_is_of_one_value_there_is_no_crest(tissue, tmp_path):
    with h5py.File(tissue["input"]["path"]) as file, h5py.File(tmp_path / "dark.h5", "w") as dark:
        dark["raw"] = np.where(np.arange(file["raw"].size).reshape(file["raw"].shape) < 50, file["raw"], 0)
        dark["raw"].attrs["element_size_um"] = file["raw"].attrs["element_size_um"]
    package(tmp_path / "model", layer_order="bcr")
    config = settings(
        tmp_path,
        {"input": {"path": str(tmp_path / "dark.h5"), "key": "raw"}},
        predict={"method": "network", "model": str(tmp_path / "model"), "normalise": "none"},
        supervoxels={"crest": CREST},
    )
    assert done(config, SEGMENTED[:3])["supervoxels.blocks"] == 1
    assert weight_used(changed(config, supervoxels={"crest": {"weight": "auto"}})) is None  # the model tells none
