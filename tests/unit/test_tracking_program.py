"""The choice among candidate events: against brute force, branch and bound of the whole, the matching of SciPy."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import block_diag
from scipy.optimize import Bounds, LinearConstraint, linear_sum_assignment, milp
from scipy.sparse import csc_array
from tracking_problems import allowed, cheapest, check_feasible, problems, random_choice, random_pair

from bigseg.kernels.tracking import binary_program
from bigseg.kernels.tracking.binary_program import TimeLimitError, minimise
from bigseg.kernels.tracking.greedy import solve_greedy
from bigseg.kernels.tracking.model import Pair
from bigseg.kernels.tracking.program import energy, solve


@given(problems())
@settings(max_examples=100, deadline=None)
def test_least_cost_by_brute_force(problem):
    pairs, choices = problem
    solution = solve(pairs, choices)
    check_feasible(pairs, choices, solution)
    assert energy(pairs, choices, solution) == pytest.approx(cheapest(pairs, choices))


@given(problems(), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_what_is_fixed_at_the_ends_stays(problem, seed):
    pairs, choices = problem
    generator = np.random.default_rng(seed)
    sizes = (len(pairs[0].disappearance), len(pairs[-1].appearance))
    ends = [
        options[generator.integers(len(options))]
        for options in (allowed(choice, size) for choice, size in zip((choices[0], choices[-1]), sizes, strict=True))
    ]
    solution = solve(pairs, choices, *ends)
    check_feasible(pairs, choices, solution)
    np.testing.assert_array_equal(solution.selected[0], ends[0])
    np.testing.assert_array_equal(solution.selected[-1], ends[1])
    assert energy(pairs, choices, solution) >= energy(pairs, choices, solve(pairs, choices)) - 1e-9


@given(st.integers(0, 2**32), st.integers(5, 40), st.integers(5, 40), st.sampled_from([0, 10_000]))
@settings(max_examples=100, deadline=None)
def test_any_binary_program_is_solved_exactly(seed, n, m, large):
    """Far from integral: sets of three to five columns, so that relaxations are broken and variables are held.

    Both ways to solve the relaxation, for programs that are ``large`` and for small ones.
    """
    generator = np.random.default_rng(seed)
    matrix = np.zeros((m, n))
    for row in matrix:
        row[generator.permutation(n)[: generator.integers(3, 6)]] = 1
    cost = -generator.integers(1, 9, n).astype(float) if seed % 2 else -generator.uniform(0, 1, n)
    lower, upper = np.zeros(n), (generator.random(n) < 0.9).astype(float)
    with patch.object(binary_program, "_LARGE", large):
        found = minimise(cost, csc_array(matrix), np.ones(m), lower, upper, np.zeros(n, np.int64))
    whole = milp(
        cost, integrality=np.ones(n), bounds=Bounds(lower, upper), constraints=LinearConstraint(matrix, -np.inf, 1)
    )
    assert (matrix @ found <= 1).all()
    assert (found <= upper).all()
    assert cost[found].sum() == pytest.approx(whole.fun, abs=1e-6)


def chain(generator: np.random.Generator, n: int, chords: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that exclude each other, along a path; a chord closes a cycle, of which relaxations take halves."""
    pairs = {(i, i + 1) for i in range(n - 1)} | {(i, i + 2) for i in generator.integers(0, n - 3, chords).tolist()}
    matrix = np.zeros((len(pairs), n))
    for row, pair in zip(matrix, sorted(pairs), strict=True):
        row[list(pair)] = 1
    return matrix, -generator.integers(3, 6, n).astype(float)


def minimise_near(matrix: np.ndarray, cost: np.ndarray, tolerance: float) -> tuple[float, list[float | None]]:
    """How much dearer than the best a solution is, by branch and bound of the whole; and what solving near came to."""
    near, seen = binary_program._solve_near, []

    def watched(*arguments):
        seen.append(near(*arguments))
        return seen[-1]

    n, rows = len(cost), csc_array(matrix)
    with (
        patch.object(binary_program, "_WHOLE", 20),
        patch.object(binary_program, "_NEAR", 1),
        patch.object(binary_program, "TOLERANCE", tolerance),
        patch.object(binary_program, "_solve_near", watched),
    ):
        taken = minimise(cost, rows, np.ones(len(matrix)), np.zeros(n), np.ones(n), np.zeros(n, np.int64))
    assert (matrix @ taken <= 1).all()
    best = milp(
        cost,
        integrality=np.ones(n),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(rows, -np.inf, 1),
        options={"mip_rel_gap": 0.0},
    )
    return float(cost @ taken - best.fun) / abs(best.fun), seen


def test_large_components_are_solved_near_what_is_fractional_to_the_tolerance():
    """Each beside a small one that is far from integral: what that costs must not be forgotten over it."""
    accepted, refused = 0, 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        large = [chain(generator, 200, 3) for _ in range(3)]
        small = np.zeros((30, 30))
        for row in small:
            row[generator.permutation(30)[: generator.integers(3, 6)]] = 1
        matrix = block_diag(*(made for made, _ in large), small)
        cost = np.concatenate([*(made / 50 for _, made in large), -generator.uniform(0, 1, 30)])
        for tolerance in (0.0, 1e-4, 1e-2):
            above, seen = minimise_near(matrix, cost, tolerance)
            assert -1e-9 <= above <= 1.01 * tolerance + 1e-7, (seed, tolerance)
            accepted += sum(gap is not None for gap in seen)
            refused += sum(gap is None for gap in seen)
    assert accepted > 3
    assert refused > 3


def test_links_alone_are_the_best_matching():
    generator = np.random.default_rng(5)
    n = 60
    cost = generator.uniform(0, 1.9, (n, n))
    pair = Pair(
        np.argwhere(np.ones((n, n), bool)), cost.ravel(), np.empty((0, 3), np.int64), np.empty(0), *np.ones((2, n)), 1.0
    )
    expected = cost[linear_sum_assignment(cost)].sum()
    for solution in (solve([pair]), solve_greedy([pair])):
        assert energy([pair], None, solution) == pytest.approx(expected)
        assert len(solution.events[0].links) == n


@given(problems(largest=5, chosen=False))
@settings(max_examples=100, deadline=None)
def test_greedy_is_feasible_and_no_better_than_the_program(problem):
    pairs, choices = problem
    greedy = solve_greedy(pairs)
    check_feasible(pairs, choices, greedy)
    assert energy(pairs, None, greedy) >= energy(pairs, None, solve(pairs)) - 1e-9


def test_greedy_lets_a_division_take_up_what_appears():
    pair = Pair(
        np.array([[0, 0], [0, 1]]), np.array([0.8, 0.9]), np.array([[0, 0, 1]]), np.array([0.5]), *np.ones((2, 2)), 1.0
    )
    events = solve_greedy([pair]).events[0]
    assert events.divisions.tolist() == [[0, 0, 1]]
    assert not len(events.links)


def test_a_pair_is_solved_as_if_it_were_alone_ties_included():
    generator = np.random.default_rng(0)
    pairs = [random_pair(generator, 12, 12, ties=True) for _ in range(4)]
    together = solve(pairs)
    for place, pair in enumerate(pairs):
        alone = solve([pair])
        np.testing.assert_array_equal(alone.events[0].links, together.events[place].links)
        np.testing.assert_array_equal(alone.events[0].divisions, together.events[place].divisions)


def test_time_limit_is_an_error_that_says_so():
    generator = np.random.default_rng(0)
    pairs = [random_pair(generator, 60, 60) for _ in range(3)]
    choices = [random_choice(generator, 60) for _ in range(4)]
    with pytest.raises(TimeLimitError, match=r"events .* not decided in 0\.001 seconds"):
        solve(pairs, choices, time_limit=0.001)


def test_contradictions_are_refused():
    generator = np.random.default_rng(0)
    pairs = [random_pair(generator, 2, 3), random_pair(generator, 2, 2)]
    with pytest.raises(ValueError, match="3 detections in one pair, 2 in the next"):
        solve(pairs)
    with pytest.raises(ValueError, match="no choice"):
        solve(pairs[:1], first=np.array([True, False]))
    with pytest.raises(ValueError, match="there is no pair"):
        solve([])
