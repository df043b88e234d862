"""Windows and junctions: always feasible, the whole movie's solution where they must be, unmoved by new time points."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tracking_problems import check_feasible, problems, random_choice, random_pair, windowed

from bigseg.geometry.movie import Junction, decider, junction_ranges, window_ranges
from bigseg.kernels.tracking.program import energy, solve
from bigseg.kernels.tracking.windows import solve_window


@given(problems(largest=4, times=11), st.integers(2, 5), st.data())
@settings(max_examples=30, deadline=None)
def test_always_feasible_and_never_better_than_the_whole(problem, window, data):
    pairs, choices = problem
    context, reach = data.draw(st.integers(0, window)), data.draw(st.integers(1, window // 2))
    solution = windowed(pairs, choices, window, context, reach)
    check_feasible(pairs, choices, solution)
    assert energy(pairs, choices, solution) >= energy(pairs, choices, solve(pairs, choices)) - 1e-6


@given(problems(largest=5, times=9, chosen=False), st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_without_a_choice_windows_are_the_whole_movie_ties_included(problem, window):
    pairs, choices = problem
    whole, parts = solve(pairs), windowed(pairs, choices, window, 0, 1)
    for a, b in zip(whole.events, parts.events, strict=True):
        np.testing.assert_array_equal(a.links, b.links)
        np.testing.assert_array_equal(a.divisions, b.divisions)


def test_energy_of_windows_is_close_to_that_of_the_whole_movie():
    generator = np.random.default_rng(3)
    sizes = [10] * 24
    pairs = [random_pair(generator, n, m) for n, m in itertools.pairwise(sizes)]
    choices = [random_choice(generator, n) for n in sizes]
    whole = energy(pairs, choices, solve(pairs, choices))
    parts = energy(pairs, choices, windowed(pairs, choices, 6, 2, 2))
    assert whole < 0
    assert (parts - whole) / abs(whole) < 0.005


@given(st.integers(1, 60), st.integers(2, 9), st.data())
def test_windows_tile_the_movie_and_do_not_move(times, window, data):
    context = data.draw(st.integers(0, window))
    windows = window_ranges(times, window, context)
    assert [w.begin for w in windows] == [0, *(w.end for w in windows[:-1])]
    assert windows[-1].end == times
    longer = window_ranges(times + 1, window, context)
    assert longer[: len(windows) - 1] == windows[:-1]
    junctions = junction_ranges(times, window, data.draw(st.integers(1, window // 2)))
    assert [j.at for j in junctions] == [w.begin for w in windows[1:]]
    assert all(a.last <= b.first for a, b in itertools.pairwise(junctions))
    assert all(j.first > 0 and j.last < times for j in junctions)


@given(st.integers(1, 60), st.integers(2, 9), st.data())
def test_every_time_point_and_pair_is_decided_once_around_a_junction_by_it(times, window, data):
    windows = window_ranges(times, window, data.draw(st.integers(0, window)))
    junctions = junction_ranges(times, window, data.draw(st.integers(1, window // 2)))
    deciders = [decider(position, windows, junctions) for position in range(times)]
    for position, (part, number) in enumerate(deciders):
        assert part is (junctions if isinstance(part, Junction) else windows)[number]
        assert {max(0, position - 1), position} <= set(part.kept)
    for junction in junctions:
        within = junction.kept[1:]
        assert junction.at in within
        assert all(deciders[position][0] is junction for position in within)


def test_another_number_of_pairs_is_refused():
    with pytest.raises(ValueError, match="0 pairs for time points 0 … 4"):
        solve_window(window_ranges(5, 5, 0)[0], [])
