"""The seam report: counts against brute force, figures against their definitions, a planted seam and none."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from seam_checks import count, figures, rows, slowly

from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid
from bigseg.kernels.seam_errors import count_errors, matches
from bigseg.kernels.seam_summary import BESIDE, expected_surface, nearest_faces, summarise
from bigseg.kernels.seams import SeamSum, count_seams, is_control
from bigseg.kernels.synthetic.tissue import Tissue
from bigseg.reporting.seam_words import verdict

SHAPES = st.tuples(*[st.integers(1, 7)] * 3)
IDS = st.sampled_from([0, 1, 2, 3, (1 << 64) - 1, 1 << 40])


@st.composite
def volumes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, Grid, tuple[int, int, int], int]:
    """Labels, a truth, blocks, the shape in which they are read, a distance; remainders and single blocks included."""
    shape, block = draw(SHAPES), draw(SHAPES)
    read = tuple(max(part, -(-n // 3)) for part, n in zip(draw(SHAPES), shape, strict=True))  # 27 boxes at most
    labels, truth = (draw(arrays.arrays(np.uint64, shape, elements=IDS)) for _ in range(2))
    return labels, truth, Grid(shape, block), read, draw(st.integers(1, 4))


@given(volumes())
@settings(max_examples=80, deadline=None)
def test_any_blocks_give_what_brute_force_gives(case):
    labels, truth, grid, read, distance = case
    found, expected = count(labels, truth, grid, distance, read), slowly(labels, truth, grid, distance)
    assert rows(found.surface, ["axis", "plane"], "surface") == dict(+expected.surface)
    assert rows(found.contacts, ["first", "second"], "area") == dict(expected.area)
    on_faces = {pair: len(places) for pair, places in expected.on_faces.items()}
    counted = rows(found.contacts, ["first", "second"], "on_faces")
    assert {pair: n for pair, n in counted.items() if n} == on_faces
    for axis, name in enumerate("zyx"):
        sums = rows(found.contacts, ["first", "second"], f"sum_{name}")
        assert {p: sums[p] for p in on_faces} == {p: sum(v[axis] for v in expected.on_faces[p]) for p in on_faces}
    assert rows(found.pairs, ["distance", "result", "truth"], "count") == dict(expected.pairs)


@given(volumes())
@settings(max_examples=40, deadline=None)
def test_the_figures_do_not_depend_on_how_a_volume_is_read(case):
    labels, truth, grid, read, distance = case
    whole, parts = (count(labels, truth, grid, distance, shape) for shape in (None, read))
    found = summarise(grid, distance, 1, [(0, parts)])
    assert found == summarise(grid, distance, 1, [(0, whole)])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [axis["axis"] for axis in found["axes"]] == [
        name for name, n, block in zip("zyx", grid.shape, grid.block_shape, strict=True) if block < n
    ]
    assert found["surface"] >= found["all_axes"]["surface_on_faces"]
    assert sum(found["errors"]["voxels"]) == np.count_nonzero(truth)
    assert verdict(found)


@given(volumes())
@settings(max_examples=40, deadline=None)
def test_errors_by_distance_against_brute_force(case):
    labels, truth, grid, _, distance = case
    shared = {}
    for key in zip(labels.ravel().tolist(), truth.ravel().tolist(), strict=True):
        if 0 not in key:
            shared[key] = shared.get(key, 0) + 1

    def best(own: int, label: int) -> int:
        """Of most voxels, and of these the smallest."""
        return min((-n, key[1 - own]) for key, n in shared.items() if key[own] == label)[1]

    right = {(o, t) for o, t in shared if best(0, o) == t and best(1, t) == o}
    voxels, errors = np.zeros(distance + 1, int), np.zeros(distance + 1, int)
    for (near, o, t), n in slowly(labels, truth, grid, distance).pairs.items():
        if t:
            voxels[near - 1] += n  # farther ones have 0, and so the last place
            errors[near - 1] += n * ((o, t) not in right)
    tables = count(labels, truth, grid, distance)
    assert {tuple(map(int, row)) for row in matches(tables.pairs).itertuples(index=False)} == right
    found = count_errors(tables.pairs, distance)
    assert found[0].tolist() == voxels.tolist()
    assert found[1].tolist() == errors.tolist()


@given(
    arrays.arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 1000)),
    st.integers(1, 14),
)
def test_the_expected_surface(surface, block):
    expected, near = expected_surface(surface, block)
    last = len(surface)
    for plane in range(1, last + 1):
        shifts = range(1, BESIDE + 1)
        pairs = [(plane - k, plane + k) for k in shifts if plane - k >= 1 and plane + k <= last]
        clear = [pair for pair in pairs if all(p % block for p in pair)]
        values = [surface[p - 1] for pair in clear for p in pair]
        if values:
            assert math.isclose(expected[plane - 1], np.mean(values))
        else:
            assert math.isnan(expected[plane - 1])
        assert near[plane - 1] == any((plane + k) % block == 0 for k in range(-BESIDE, BESIDE + 1))


@given(st.integers(2, 40), st.integers(1, 39))
def test_nearest_faces_and_control_planes(length, block):
    faces = [plane for plane in range(1, length) if plane % block == 0]
    controls = [plane for plane in range(1, length) if is_control(plane, length, block)]
    assert not set(controls) & set(faces)
    assert len(controls) == (len(faces) if block > 1 else 0)
    if faces:
        found, offsets = nearest_faces(length, block)
        for plane, face, offset in zip(range(1, length), found, offsets, strict=True):
            assert face in faces
            assert plane == face + offset
            assert abs(offset) == min(abs(plane - f) for f in faces)


def test_parts_are_added_as_they_come():
    """Ids that ascend from box to box, more rows than are collected before they are added up."""
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 1 << 40, (24, 48, 48)).astype(np.uint64)
    grid = Grid(labels.shape, (8, 16, 16))
    assert len(count(labels, labels, grid, 2).contacts) > 1 << 16
    whole, parts = count(labels, labels, grid, 2), count(labels, labels, grid, 2, (8, 16, 16))
    for name in ("surface", "contacts", "pairs"):
        assert getattr(whole, name).equals(getattr(parts, name))


def test_nothing_counted():
    empty = SeamSum().total()
    assert (len(empty.surface), len(empty.contacts), empty.pairs) == (0, 0, None)


@cache
def tissue(seed: int) -> np.ndarray:
    """Uncut cells (z, y, x), about 30 voxels wide, that fill the volume."""
    model = Tissue(shape=(96, 160, 160), voxel_size_um=(0.35, 0.25, 0.25), seed=seed, outline=False)
    return model.labels(Box((0, 0, 0), model.shape)).astype(np.uint64)


def halved(labels: np.ndarray, axis: int, face: int) -> np.ndarray:
    """Every third object is another one beyond a plane."""
    cut = labels.copy()
    beyond = tuple(slice(face, None) if a == axis else slice(None) for a in range(3))
    cut[beyond][cut[beyond] % 3 == 0] += np.uint64(1 << 32)
    return cut


GRID = Grid((96, 160, 160), (32, 64, 64))


@pytest.mark.parametrize("seed", range(4))
def test_uncut_tissue_shows_no_seam(seed):
    found = figures(tissue(seed), tissue(seed), GRID)
    together = found["all_axes"]
    assert abs(together["excess_share"]) < 3 * together["excess_error"] < 0.004
    assert found["cuts"] + found["cuts_by_chance"] <= 2
    assert found["errors"]["near"] == found["errors"]["far"] == 0
    assert "do not show" in verdict(found)


@pytest.mark.parametrize(("axis", "face"), [(0, 32), (1, 64), (2, 128)])
def test_a_planted_seam_is_found(axis, face):
    whole, cut = tissue(0), halved(tissue(0), axis, face)
    found, before = figures(cut, whole, GRID), figures(whole, whole, GRID)
    halves = {label for label in np.unique(cut) if label >= 1 << 32}
    areas = {}
    for label in halves:
        here = [np.take(cut, face - 1 + side, axis) for side in range(2)]
        areas[int(label)] = int(((here[1] == label) & (here[0] == label - (1 << 32))).sum())
    large = {label for label, area in areas.items() if area >= 64}
    assert 3 < len(large) <= found["cuts"] <= len(large) + 2, "a half may meet another object at the face by chance"
    assert found["cuts_by_chance"] <= 2
    added = sum(areas.values())
    assert found["surface"] - before["surface"] == added
    assert found["all_axes"]["surface_on_faces"] - before["all_axes"]["surface_on_faces"] == added
    by_axis = {figure["axis"]: figure for figure in found["axes"]}
    name = "zyx"[axis]
    assert by_axis[name]["ratio"] - 1 > 5 * by_axis[name]["ratio_error"]
    assert found["errors"]["near"] > 2 * found["errors"]["far"]
    assert verdict(found).startswith("The blocks show: ")

    worst = found["worst_cuts"][0]
    assert worst["objects"][1] == worst["objects"][0] + (1 << 32)
    assert worst["area"] == max(areas.values())
    assert worst["share_on_faces"] == 1
    assert worst["position"][axis] == face - 1
    assert cut[tuple(worst["position"])] == worst["objects"][0]
    sizes = [entry["area"] * entry["share_on_faces"] for entry in found["worst_cuts"]]
    assert sizes == sorted(sizes, reverse=True)


def test_a_cut_along_a_plane_that_is_no_face_is_none():
    found = figures(halved(tissue(0), 1, 75), None, GRID)
    assert found["cuts"] <= 1
    assert found["errors"] is None
    assert not verdict(found).startswith("The blocks show")


def test_a_cut_in_two_planes_at_once():
    """A corner of four blocks cuts a quarter off: its contact lies on two faces, and is one cut."""
    labels = np.ones((8, 32, 32), np.uint64)
    labels[:, 16:, 16:] = 2
    found = figures(labels, None, Grid(labels.shape, (8, 16, 16)))
    assert (found["cuts"], found["worst_cuts"][0]["area"]) == (1, 256)


@pytest.mark.parametrize(("minimum", "cuts"), [(20, 1), (21, 0)])
def test_in_a_single_plane_a_cut_is_a_line(minimum, cuts):
    labels = np.ones((1, 20, 40), np.uint16)
    labels[:, :, 20:] = 2
    grid = Grid(labels.shape, (1, 20, 20))
    assert figures(labels, None, grid, minimum_cut=minimum)["cuts"] == cuts


def test_objects_that_end_at_a_face_against_background_are_surface():
    labels = np.ones((8, 8, 32), np.uint8)
    labels[:, :, 16:] = 0
    found = figures(labels, None, Grid(labels.shape, (8, 8, 16)))
    assert found["all_axes"]["surface_on_faces"] == found["surface"] == 64
    assert found["all_axes"]["ratio"] is None
    assert found["all_axes"]["excess_share"] == 1
    assert found["cuts"] == 0
    json.dumps(found, allow_nan=False)


def test_empty_and_whole_volumes():
    empty = np.zeros((6, 6, 6), np.uint64)
    found = figures(empty, empty, Grid(empty.shape, (3, 3, 3)))
    assert (found["surface"], found["cuts"], found["errors"]["near"]) == (0, 0, None)
    assert "nothing to tell" in verdict(found)
    found = figures(empty, None, Grid(empty.shape, empty.shape))
    assert found["axes"] == []
    assert "single block" in verdict(found)


def test_blocks_of_one_voxel_have_nothing_beside_their_faces():
    labels = np.arange(27, dtype=np.uint64).reshape(3, 3, 3)
    found = figures(labels, None, Grid(labels.shape, (1, 1, 1)))
    assert found["all_axes"]["ratio"] is None
    assert found["cuts_by_chance"] == 0


def test_time_points_add_up_and_the_worst_cuts_tell_theirs():
    whole, cut = tissue(0), halved(tissue(0), 1, 64)
    found = summarise(GRID, 8, 8, [(3, count(whole, whole, GRID)), (7, count(cut, whole, GRID))])
    alone = [figures(labels, whole, GRID) for labels in (whole, cut)]
    assert found["time_points"] == 2
    for key in ("surface", "cuts", "cuts_by_chance"):
        assert found[key] == alone[0][key] + alone[1][key]
    assert found["worst_cuts"][0]["time"] == 7
    both = zip(alone[0]["errors"]["errors"], alone[1]["errors"]["errors"], strict=True)
    assert found["errors"]["errors"] == [a + b for a, b in both]


BOX = Box((0, 0, 0), (2, 2, 2))


@pytest.mark.parametrize(
    ("labels", "truth", "message"),
    [
        (np.zeros((2, 2, 2), np.uint8), None, "needs"),
        (np.zeros((3, 2, 2), np.float32), None, "not an integer"),
        (np.full((3, 2, 2), -1), None, "negative label -1"),
        (np.zeros((3, 2, 2), np.uint8), np.zeros((3, 2, 2), np.uint8), "the truth"),
        (np.zeros((3, 2, 2), np.uint8), np.full((2, 2, 2), -5), "negative label -5"),
    ],
    ids=["shape", "type", "negative", "truth's shape", "negative truth"],
)
def test_what_cannot_be_counted(labels, truth, message):
    with pytest.raises(ValueError, match=message):
        count_seams(labels, truth, BOX, Grid((4, 2, 2), (2, 2, 2)), 1)
