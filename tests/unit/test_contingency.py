"""Contingency tables against counting pair by pair, on any cut into blocks."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigseg.geometry.grid import Grid
from bigseg.kernels.contingency import Contingency, count_pairs, merge, relabel

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=7)
HUGE = st.sampled_from([0, 1, (5 << 32) | 1, 2**53 + 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1])


def as_counter(table: Contingency) -> Counter[tuple[int, int]]:
    rows = zip(table.result.tolist(), table.truth.tolist(), table.count.tolist(), strict=True)
    return Counter({(r, t): n for r, t, n in rows})


def by_hand(result: np.ndarray, truth: np.ndarray) -> Counter[tuple[int, int]]:
    return Counter(zip(result.ravel().tolist(), truth.ravel().tolist(), strict=True))


def check_form(table: Contingency) -> None:
    """Types, and the order: ascending by (result, truth), each pair once."""
    assert {table.result.dtype, table.truth.dtype, table.count.dtype} == {np.dtype(np.uint64)}
    pairs = list(zip(table.result.tolist(), table.truth.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    assert (table.count > 0).all()


def equal(a: Contingency, b: Contingency) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("result", "truth", "count"))


@st.composite
def volumes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A result of huge sparse ids and a truth of small ones."""
    shape = draw(SHAPES)
    result = draw(hnp.arrays(np.uint64, shape, elements=HUGE))
    truth = draw(
        hnp.arrays(draw(st.sampled_from([np.uint8, np.int16, np.int64, np.uint64])), shape, elements=st.integers(0, 4))
    )
    return result, truth


@given(volumes())
def test_count_pairs_counts_every_voxel(pair):
    table = count_pairs(*pair)
    check_form(table)
    assert as_counter(table) == by_hand(*pair)
    assert table.number_of_voxels == pair[0].size
    assert table.number_of_pairs == len(by_hand(*pair))


@given(volumes(), st.tuples(*[st.integers(1, 8)] * 3), st.randoms(use_true_random=False))
def test_blocks_add_up_to_the_whole(pair, block_shape, random):
    result, truth = pair
    grid = Grid(result.shape, block_shape)
    boxes = [grid.box(i).slices for i in range(grid.number_of_blocks)]
    random.shuffle(boxes)
    table = merge(count_pairs(result[box], truth[box]) for box in boxes)
    check_form(table)
    assert equal(table, count_pairs(result, truth))


def test_strided_views_are_counted_as_they_look():
    result = np.arange(60, dtype=np.uint64).reshape(3, 4, 5)
    truth = np.asfortranarray(result % 7)
    assert as_counter(count_pairs(result[::2, :, ::-1], truth[::2, :, ::-1])) == by_hand(result[::2], truth[::2])


def test_merge_sorts_in_between_and_stays_exact(monkeypatch):
    monkeypatch.setattr("bigseg.kernels.contingency._SMALLEST_BUFFER", 8)
    rng = np.random.default_rng(0)
    parts = [(rng.integers(0, 30, 50, np.uint64), rng.integers(0, 30, 50, np.uint64)) for _ in range(60)]
    expected = sum((by_hand(*part) for part in parts), Counter())
    table = merge(count_pairs(*part) for part in parts)
    check_form(table)
    assert as_counter(table) == expected


def test_counts_beyond_the_precision_of_floating_point_are_exact():
    def part(count: int) -> Contingency:
        return Contingency(np.array([9], np.uint64), np.array([3], np.uint64), np.array([count], np.uint64))

    assert as_counter(merge([part(2**60), part(1), part(2)])) == {(9, 3): 2**60 + 3}


def test_memory_of_a_merge_does_not_grow_with_the_number_of_parts():
    def parts(number: int):
        for i in range(number):
            labels = np.arange(2000, dtype=np.uint64) + np.uint64(i % 7)
            yield Contingency(labels, labels, np.ones(2000, np.uint64))

    def peak(number: int) -> int:
        tracemalloc.start()
        merge(parts(number))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(1200) < 1.3 * peak(120)


def test_nothing_gives_an_empty_table():
    for table in (merge([]), count_pairs(np.empty((0, 3, 3), np.uint8), np.empty((0, 3, 3), np.uint8))):
        check_form(table)
        assert table.number_of_pairs == table.number_of_voxels == 0


def test_refusals():
    labels = np.ones((2, 2, 2), np.int32)
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2\), the truth \(2, 2\)"):
        count_pairs(labels, labels[0])
    with pytest.raises(ValueError, match="the truth has type float64"):
        count_pairs(labels, labels * 1.0)
    with pytest.raises(ValueError, match="the result holds the negative label -3"):
        count_pairs(np.where(np.arange(8).reshape(2, 2, 2) == 5, -3, labels), labels)


def test_relabel_counts_what_the_renamed_volume_counts():
    random = np.random.default_rng(3)
    result, truth = random.integers(0, 9, (4, 5, 6), np.uint64), random.integers(0, 4, (4, 5, 6), np.uint64)
    ids, names = np.arange(1, 9, dtype=np.uint64), np.array([1, 1, 3, 1, 3, 6, 6, 8], np.uint64)
    found = relabel(count_pairs(result, truth), ids, names)
    expected = count_pairs(np.r_[np.uint64(0), names][result], truth)
    for column in ("result", "truth", "count"):
        assert np.array_equal(getattr(found, column), getattr(expected, column))
    with pytest.raises(KeyError):
        relabel(count_pairs(result, truth), ids[1:], names[1:])
