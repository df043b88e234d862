"""Random programs of tracking, and brute force for small ones."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import strategies as st

from bigseg.geometry.movie import Junction, Window, decider, junction_ranges, window_ranges
from bigseg.kernels.tracking.model import Choice, Events, Pair, Solution
from bigseg.kernels.tracking.windows import solve_junction, solve_window


def random_pair(generator: np.random.Generator, n: int, m: int, ties: bool = False) -> Pair:
    """Any candidate events between ``n`` and ``m`` detections."""
    links = np.argwhere(generator.random((n, m)) < 0.6)
    triples = [(i, j, k) for i in range(n) for j, k in itertools.combinations(range(m), 2) if generator.random() < 0.3]
    divisions = np.array(triples, np.int64).reshape(-1, 3)

    def draw(size: int) -> np.ndarray:
        return generator.integers(1, 4, size) / 2 if ties else generator.uniform(0, 2, size)

    return Pair(links, draw(len(links)), divisions, 1.5 * draw(len(divisions)), draw(n), draw(m), 1.0)


def random_choice(generator: np.random.Generator, n: int, ties: bool = False) -> Choice | None:
    """Detections that may be left out, some of which exclude each other; or all must be taken."""
    if generator.random() < 0.3:
        return None
    sets = [sorted(generator.permutation(n)[:2].tolist()) for _ in range(int(generator.integers(0, 3))) if n > 1]
    conflict = np.repeat(np.arange(len(sets)), 2)
    member = np.array(sets, np.int64).reshape(-1)
    cost = -generator.uniform(0, 4, n)
    return Choice(np.round(cost) if ties else cost, conflict, member)


@st.composite
def problems(
    draw: st.DrawFn, largest: int = 3, times: int = 3, chosen: bool = True
) -> tuple[list[Pair], list[Choice | None]]:
    """Pairs and choices of a short movie."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    ties = draw(st.booleans())
    sizes = generator.integers(0, largest + 1, int(generator.integers(2, times + 1))).tolist()
    pairs = [random_pair(generator, n, m, ties) for n, m in itertools.pairwise(sizes)]
    return pairs, [random_choice(generator, n, ties) if chosen else None for n in sizes]


def allowed(choice: Choice | None, size: int) -> list[np.ndarray]:
    """All sets of detections that may be taken at one time point."""
    if choice is None:
        return [np.ones(size, bool)]
    sets = [np.array(bits, bool) for bits in itertools.product((False, True), repeat=size)]
    groups = [choice.member[choice.conflict == number] for number in np.unique(choice.conflict)]
    return [taken for taken in sets if all(taken[group].sum() <= 1 for group in groups)]


def cheapest_pair(pair: Pair, before: np.ndarray, after: np.ndarray) -> float:
    """Least cost of a pair if it is decided what is taken: each source in turn takes every event that is left."""
    events: dict[int, list[tuple[float, tuple[int, ...]]]] = {}
    for (i, j), cost in zip(pair.links.tolist(), pair.link_cost, strict=True):
        events.setdefault(i, []).append((cost, (j,)))
    for (i, j, k), cost in zip(pair.divisions.tolist(), pair.division_cost, strict=True):
        events.setdefault(i, []).append((cost, (j, k)))

    def best(i: int, free: frozenset[int]) -> float:
        if i == len(before):
            return float(sum(pair.appearance[j] for j in free))
        if not before[i]:
            return best(i + 1, free)
        found = pair.disappearance[i] + best(i + 1, free)
        for cost, targets in events.get(i, []):
            if free.issuperset(targets):
                found = min(found, cost + best(i + 1, free.difference(targets)))
        return float(found)

    return best(0, frozenset(np.flatnonzero(after).tolist()))


def cheapest(pairs: list[Pair], choices: list[Choice | None]) -> float:
    """Least cost of a movie, by dynamic programming over what is taken at each time point."""
    sizes = [len(pairs[0].disappearance), *(len(pair.appearance) for pair in pairs)]
    costs = [np.zeros(n) if choice is None else choice.cost for choice, n in zip(choices, sizes, strict=True)]
    states = [(taken, float(costs[0][taken].sum())) for taken in allowed(choices[0], sizes[0])]
    if choices[0] is None:
        states = [(states[0][0], 0.0)]
    for time, pair in enumerate(pairs, 1):
        after = []
        for taken in allowed(choices[time], sizes[time]):
            own = 0.0 if choices[time] is None else float(costs[time][taken].sum())
            after.append((taken, own + min(value + cheapest_pair(pair, before, taken) for before, value in states)))
        states = after
    return min(value for _, value in states)


def check_feasible(pairs: list[Pair], choices: list[Choice | None], solution: Solution) -> None:
    """Every detection that is taken has one past and one future, none that is left out has any."""
    for time, (choice, selected) in enumerate(zip(choices, solution.selected, strict=True)):
        if choice is None:
            assert selected.all()
        elif len(choice.conflict):
            assert np.bincount(choice.conflict, selected[choice.member]).max() <= 1
        for place, which in ((time, "from"), (time - 1, "to")):
            if 0 <= place < len(pairs):
                used = _ends(solution.events[place], which)
                assert len(np.unique(used)) == len(used), "a detection is in two events"
                assert selected[used].all(), "a detection that is left out is in an event"
    for pair, events in zip(pairs, solution.events, strict=True):
        assert {tuple(row) for row in events.links.tolist()} <= {tuple(row) for row in pair.links.tolist()}
        assert {tuple(row) for row in events.divisions.tolist()} <= {tuple(row) for row in pair.divisions.tolist()}


def _ends(events: Events, which: str) -> np.ndarray:
    if which == "from":
        return np.concatenate([events.links[:, 0], events.divisions[:, 0]])
    return np.concatenate([events.links[:, 1], events.divisions[:, 1:].ravel()])


def windowed(pairs: list[Pair], choices: list[Choice | None], window: int, context: int, reach: int) -> Solution:
    """A movie in windows, one after the other."""
    windows, junctions = window_ranges(len(choices), window, context), junction_ranges(len(choices), window, reach)
    parts = [solve_window(w, pairs[w.first : w.last - 1], choices[w.first : w.last]) for w in windows]
    taken = [selected for part in parts for selected in part.selected]
    joints = [
        solve_junction(j, pairs[j.first : j.last - 1], taken[j.first], taken[j.last - 1], choices[j.first : j.last])
        for j in junctions
    ]
    return compose(windows, parts, junctions, joints)


def compose(
    windows: list[Window], parts: list[Solution], junctions: list[Junction], joints: list[Solution]
) -> Solution:
    """The solution of the movie from those of all windows and junctions."""
    selected, events = [], []
    for position in range(windows[-1].end):
        part, number = decider(position, windows, junctions)
        solution = (joints if isinstance(part, Junction) else parts)[number]
        at = position - part.kept.start
        selected.append(solution.selected[at])
        if position:
            assert at, "the pair across a junction is not decided by it"
            events.append(solution.events[at - 1])
    return Solution(tuple(selected), tuple(events))
