"""Scores against elf.evaluation, scikit-image and cases computed by hand."""

from __future__ import annotations

import math
import warnings

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from elf.evaluation import (
    matching,
    mean_segmentation_accuracy,
    rand_index,
    symmetric_best_dice_score,
    variation_of_information,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from skimage.metrics import adapted_rand_error

from bigseg.geometry.grid import Grid
from bigseg.kernels.contingency import Contingency, count_pairs, merge
from bigseg.kernels.scores import Scores, combine, scores, tally

KEYS = [
    "voi_split",
    "voi_merge",
    "adapted_rand_error",
    "sbd",
    "ap50",
    "map",
    "precision",
    "recall",
    "n_result",
    "n_truth",
]
THRESHOLDS = [k / 20 for k in range(10, 20)]
"""elf's default, np.arange, gives 0.6000000000000001 and so refuses a pair with an IoU of exactly 3 / 5."""


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def score(result: np.ndarray, truth: np.ndarray, *, ignore_zero: bool = True) -> Scores:
    found = scores(count_pairs(np.asarray(result), np.asarray(truth)), ignore_zero=ignore_zero)
    assert list(found) == KEYS
    for key, value in found.items():
        assert type(value) is (int if key.startswith("n_") else float)
        assert math.isfinite(value)
    return found


@st.composite
def label_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A truth, and a result that is random or the truth with some voxels and some labels changed."""
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6))
    labels = st.integers(0, draw(st.integers(1, 6)))
    truth = draw(hnp.arrays(np.uint32, shape, elements=labels))
    result = draw(hnp.arrays(np.uint32, shape, elements=labels))
    if draw(st.booleans()):
        changed = draw(hnp.arrays(bool, shape, elements=st.sampled_from([False, False, False, True])))
        mapping = np.array(draw(st.lists(st.integers(0, 6), min_size=7, max_size=7)), np.uint32)
        result = np.where(changed, result, mapping[truth])
    return result, truth


def sum_of_squares(labels: np.ndarray) -> int:
    return int((np.unique(labels, return_counts=True)[1].astype(int) ** 2).sum())


@given(label_pairs(), st.booleans())
def test_voi_is_that_of_elf(pair, ignore_zero):
    result, truth = pair
    assume(not ignore_zero or truth.any())
    found = score(result, truth, ignore_zero=ignore_zero)
    expected = variation_of_information(result, truth, ignore_gt=[0] if ignore_zero else None)
    assert (found["voi_split"], found["voi_merge"]) == pytest.approx(expected, abs=1e-12)
    assert min(found["voi_split"], found["voi_merge"]) >= 0


@given(label_pairs(), st.booleans())
def test_adapted_rand_error_is_that_of_scikit_image_and_elf(pair, ignore_zero):
    result, truth = pair
    kept = truth > 0 if ignore_zero else np.full(truth.shape, True)
    together = sum_of_squares(result[kept]) + sum_of_squares(truth[kept])
    assume(together > 2 * kept.sum())
    found = score(result, truth, ignore_zero=ignore_zero)["adapted_rand_error"]
    with warnings.catch_warnings():  # scikit-image also computes precision and recall, of which one may be 0 / 0
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = adapted_rand_error(truth, result, ignore_labels=(0,) if ignore_zero else ())[0]
    assert found == pytest.approx(expected, abs=1e-12)
    # elf pairs each voxel with itself, too: the numerators are the same, the denominators differ by 2 n.
    by_elf = rand_index(result, truth, ignore_gt=[0] if ignore_zero else None)[0]
    assert found * (together - 2 * kept.sum()) == pytest.approx(by_elf * together, abs=1e-9)


@given(label_pairs())
@settings(max_examples=200)
def test_object_scores_are_those_of_elf(pair):
    result, truth = pair
    assume(result.any() or truth.any())
    found = score(result, truth)
    at_half = matching(result, truth, threshold=0.5)
    assert found["precision"] == pytest.approx(at_half["precision"])
    assert found["recall"] == pytest.approx(at_half["recall"])
    assert found["ap50"] == pytest.approx(at_half["segmentation_accuracy"])
    assert found["map"] == pytest.approx(mean_segmentation_accuracy(result, truth, thresholds=THRESHOLDS))
    assert found["sbd"] == pytest.approx(symmetric_best_dice_score(result, truth), abs=1e-7)
    assert (found["n_result"], found["n_truth"]) == (len(set(result.flat) - {0}), len(set(truth.flat) - {0}))


def cells(seed: int, shape: tuple[int, int, int], number: int) -> np.ndarray:
    """Voronoi cells 1 … ``number`` with background outside a ball."""
    rng = np.random.default_rng(seed)
    voxels = np.stack(np.indices(shape), axis=-1).astype(float)
    centres = rng.uniform(0, shape, (number, 3))
    labels = 1 + np.argmin(((voxels[..., None, :] - centres) ** 2).sum(-1), axis=-1)
    outside = ((voxels - np.array(shape) / 2) ** 2).sum(-1) > (0.5 * max(shape)) ** 2
    return np.where(outside, 0, labels).astype(np.uint32)


def test_cells_cut_and_joined_score_as_elf_says():
    truth = cells(0, (20, 24, 28), 40)
    result = np.roll(truth, 1, axis=2)
    result[result == 3] = 4
    result[:, :12][result[:, :12] == 7] = 90
    result[result == 9] = 0
    found = score(result, truth)
    assert (found["voi_split"], found["voi_merge"]) == pytest.approx(
        variation_of_information(result, truth, ignore_gt=[0])
    )
    assert found["adapted_rand_error"] == pytest.approx(adapted_rand_error(truth, result)[0])
    assert found["adapted_rand_error"] == pytest.approx(rand_index(result, truth, ignore_gt=[0])[0], rel=0.02)
    assert found["map"] == pytest.approx(mean_segmentation_accuracy(result, truth, thresholds=THRESHOLDS))
    assert found["sbd"] == pytest.approx(symmetric_best_dice_score(result, truth), abs=1e-7)
    assert 0.1 < found["map"] < found["ap50"] < 0.95


@given(label_pairs(), st.tuples(*[st.integers(1, 7)] * 3), st.booleans())
def test_any_blocks_give_the_very_same_numbers(pair, block_shape, ignore_zero):
    result, truth = pair
    grid = Grid(truth.shape, block_shape)
    boxes = [grid.box(i).slices for i in reversed(range(grid.number_of_blocks))]
    table = merge(count_pairs(result[box], truth[box]) for box in boxes)
    assert scores(table, ignore_zero=ignore_zero) == score(result, truth, ignore_zero=ignore_zero)


@given(label_pairs(), st.integers(1, 2**63))
def test_the_values_of_the_labels_do_not_matter(pair, step):
    result, truth = pair
    huge = np.where(result > 0, np.uint64(2**64 - 1) - result.astype(np.uint64) * np.uint64(step % 2**60 + 1), 0)
    expected = score(result, truth)
    assert score(huge.astype(np.uint64), truth) == pytest.approx(expected, abs=1e-12)
    swapped = score(truth, huge.astype(np.uint64))
    assert swapped["sbd"] == pytest.approx(expected["sbd"], abs=1e-12)
    assert (swapped["map"], swapped["precision"]) == (expected["map"], expected["recall"])


def test_a_copy_is_perfect_to_the_last_bit():
    truth = cells(1, (9, 20, 30), 25)
    found = score(truth.astype(np.uint64) << np.uint64(40), truth)
    assert found == dict.fromkeys(KEYS, 1.0) | {
        "voi_split": 0.0,
        "voi_merge": 0.0,
        "adapted_rand_error": 0.0,
        "n_result": 25,
        "n_truth": 25,
    }


def test_a_cut_counts_as_split_and_a_join_as_merge():
    whole, halves = np.full((4, 4, 4), 7), np.repeat([1, 2], 32).reshape(4, 4, 4)
    cut, joined = score(halves, whole), score(whole, halves)
    assert (cut["voi_split"], cut["voi_merge"]) == (1.0, 0.0)
    assert (joined["voi_split"], joined["voi_merge"]) == (0.0, 1.0)


def test_two_halves_are_one_match_at_exactly_one_half():
    halves, whole = np.repeat([1, 2], 8), np.full(16, 5)
    found = score(halves, whole)
    assert (found["precision"], found["recall"], found["ap50"]) == (0.5, 1.0, 0.5)
    found = score(whole, halves)
    assert (found["precision"], found["recall"], found["ap50"]) == (1.0, 0.5, 0.5)


@pytest.mark.parametrize("k", range(10, 20))
def test_a_pair_right_at_a_threshold_is_a_match(k):
    """IoU = k / 20 exactly, which no binary fraction is for most k: matched up to k, one voxel less and it is not."""
    truth = np.ones(20, int)
    result = np.where(np.arange(20) < k, 1, 0)
    assert score(result, truth)["map"] == pytest.approx((k - 9) / 10)
    result[0] = 0
    assert score(result, truth)["map"] == pytest.approx((k - 10) / 10)


def test_zero_in_the_truth_counts_for_objects_always_and_for_voi_only_if_asked():
    truth, result = np.array([1, 1, 0, 0]), np.array([1, 1, 1, 1])
    left_out, counted = score(result, truth), score(result, truth, ignore_zero=False)
    assert (left_out["voi_merge"], left_out["adapted_rand_error"]) == (0.0, 0.0)
    assert counted["voi_merge"] == 1.0
    assert counted["adapted_rand_error"] > 0
    for found in (left_out, counted):
        assert found["sbd"] == pytest.approx(2 / 3)
        assert (found["ap50"], found["map"]) == (1.0, 0.1)


def test_zero_in_the_result_is_one_segment_but_no_object():
    truth, result = np.array([1, 1, 2, 2]), np.array([0, 0, 0, 0])
    found = score(result, truth)
    assert (found["voi_split"], found["voi_merge"], found["n_result"]) == (0.0, 1.0, 0)
    assert found["adapted_rand_error"] == pytest.approx(adapted_rand_error(truth, result)[0])


AGREE = {"voi_split": 0.0, "voi_merge": 0.0, "adapted_rand_error": 0.0}


@pytest.mark.parametrize(
    ("result", "truth", "objects", "expected"),
    [
        pytest.param([0, 0], [0, 0], 1.0, AGREE | {"n_result": 0, "n_truth": 0}, id="no objects"),
        pytest.param([], [], 1.0, AGREE | {"n_result": 0, "n_truth": 0}, id="no voxels"),
        pytest.param([3, 4], [0, 0], 0.0, AGREE | {"n_result": 2, "n_truth": 0}, id="no truth object"),
        pytest.param([0, 0], [3, 3], 0.0, AGREE | {"n_result": 0, "n_truth": 1}, id="no result object"),
        pytest.param([3, 0], [0, 3], 0.0, AGREE | {"n_result": 1, "n_truth": 1}, id="objects that do not meet"),
        pytest.param([5, 6, 7], [1, 2, 3], 1.0, AGREE | {"n_result": 3, "n_truth": 3}, id="single voxels"),
    ],
)
def test_degenerate_cases(result, truth, objects, expected):
    object_scores = dict.fromkeys(["sbd", "ap50", "map", "precision", "recall"], objects)
    assert score(np.array(result, int), np.array(truth, int)) == expected | object_scores


@given(st.lists(label_pairs(), min_size=1, max_size=3), st.booleans())
def test_time_points_score_as_one_table_with_labels_of_their_own(pairs, ignore_zero):
    """Against one table in which the labels of the time points are made distinct, the background's included."""
    tables = [count_pairs(*pair) for pair in pairs]
    found = scores(*tables, ignore_zero=ignore_zero)
    assert found == combine(tally(table, ignore_zero=ignore_zero) for table in tables)
    shift = np.uint64(100)
    apart = [
        Contingency(
            np.where(table.result > 0, table.result + shift * np.uint64(t), 0),
            np.where(table.truth > 0, table.truth + shift * np.uint64(t), 0),
            table.count,
        )
        for t, table in enumerate(tables)
    ]
    expected = scores(merge(apart))
    for key in ("sbd", "ap50", "map", "precision", "recall", "n_result", "n_truth"):
        assert found[key] == pytest.approx(expected[key], abs=1e-12)
    background_apart = [
        Contingency(table.result + shift * np.uint64(t + 1), table.truth + shift * np.uint64(t + 1), table.count)
        for t, table in enumerate(tables)
    ]
    if ignore_zero:
        kept = [table.truth % shift > 0 for table in background_apart]
        background_apart = [
            Contingency(table.result[k], table.truth[k], table.count[k])
            for table, k in zip(background_apart, kept, strict=True)
        ]
    expected = scores(merge(background_apart))
    for key in ("voi_split", "voi_merge", "adapted_rand_error"):
        assert found[key] == pytest.approx(expected[key], abs=1e-12)


def test_counts_of_a_petavoxel_do_not_overflow():
    sizes = np.array([10**15, 10**15], np.uint64)
    labels = np.array([1, 2], np.uint64)
    joined = Contingency(np.array([9, 9], np.uint64), labels, sizes)
    found = scores(joined)
    assert (found["voi_merge"], found["voi_split"], found["ap50"]) == (1.0, 0.0, 0.5)
    assert found["adapted_rand_error"] == pytest.approx(1 / 3)
