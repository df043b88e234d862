"""The choice among candidate events as an integer program: least cost, one past and one future for each detection.

For each detection: incoming events (links, divisions of which it is a daughter, appearance) = taken = outgoing events
(links, divisions of which it is the mother, disappearance). So two objects never become one. Appearance and
disappearance are what is left over: the program has inequalities instead, and an event costs what it saves against its
ends alone.

HiGHS solves it, as SciPy ships it, so there is no other package to install. The program is cut into its connected
parts, which are independent: without :class:`~bigseg.kernels.tracking.model.Choice` no part reaches over two pairs, and
candidates that are never worth it being left out, most parts have a handful of events. Small parts are solved together,
a batch at a time, and each batch in a fixed order of rows and columns, by one thread's sequential algorithm; of several
solutions of the same least cost one is taken that depends on the batch alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array, csc_array, csr_array
from scipy.sparse.csgraph import connected_components

from bigseg.kernels.tracking.model import Choice, Events, Flags, Floats, Indices, Pair, Solution

_BATCH = 5000
"""Columns that are solved together unless one connected part has more."""


class TimeLimitError(RuntimeError):
    """The solver found no proven solution in time."""


def solve(
    pairs: Sequence[Pair],
    choices: Sequence[Choice | None] | None = None,
    first: Flags | None = None,
    last: Flags | None = None,
    *,
    time_limit: float | None = None,
) -> Solution:
    """The solution of least cost for a run of time points.

    Args:
        pairs: those between consecutive time points, at least one.
        choices: for each time point (one more than pairs) which detections may be left out; None takes all.
        first: (n,) bool the detections that are taken at the first time point, if that is decided.
        last: (n,) bool likewise at the last time point.
        time_limit: seconds for each connected part of the program; None waits.

    Returns:
        The solution; it does not depend on threads, and what is not connected by candidate events is independent.

    Raises:
        TimeLimitError: time ran out.
        ValueError: lengths do not fit, or ``first`` or ``last`` take detections that exclude each other or that
            cannot be left out.
    """
    sizes = _sizes(pairs)
    choices = [None] * len(sizes) if choices is None else list(choices)
    if len(choices) != len(sizes):
        raise ValueError(f"{len(choices)} choices for {len(sizes)} time points")
    for place, fixed in ((0, first), (-1, last)):
        if fixed is not None:
            _check_fixed(fixed, choices[place], sizes[place])
    program = _Program(pairs, choices, sizes, first, last)
    taken = _minimise(program, time_limit)
    return program.solution(taken)


def energy(pairs: Sequence[Pair], choices: Sequence[Choice | None] | None, solution: Solution) -> float:
    """What a solution costs: its events, and the detections that are taken where there is a choice.

    Args:
        pairs: as for :func:`solve`.
        choices: as for :func:`solve`.
        solution: any feasible one.

    Raises:
        ValueError: the solution has an event that is no candidate.
    """
    total = 0.0
    for place, (pair, events) in enumerate(zip(pairs, solution.events, strict=True)):
        gone, new = solution.selected[place].copy(), solution.selected[place + 1].copy()
        gone[np.concatenate([events.links[:, 0], events.divisions[:, 0]])] = False
        new[np.concatenate([events.links[:, 1], events.divisions[:, 1:].ravel()])] = False
        total += pair.link_cost[_rows(pair.links, events.links)].sum()
        total += pair.division_cost[_rows(pair.divisions, events.divisions)].sum()
        total += pair.disappearance[gone].sum() + pair.appearance[new].sum()
    for choice, selected in zip(choices or (), solution.selected, strict=False):
        if choice is not None:
            total += choice.cost[selected].sum()
    return float(total)


def _sizes(pairs: Sequence[Pair]) -> list[int]:
    """Detections of each time point."""
    if not pairs:
        raise ValueError("there is no pair of time points")
    sizes = [len(pairs[0].disappearance), *(len(pair.appearance) for pair in pairs)]
    for place, pair in enumerate(pairs):
        if len(pair.disappearance) != sizes[place]:
            raise ValueError(
                f"time point {place} has {sizes[place]} detections in one pair, {len(pair.disappearance)} in the next"
            )
    return sizes


def _check_fixed(fixed: Flags, choice: Choice | None, size: int) -> None:
    if len(fixed) != size:
        raise ValueError(f"{len(fixed)} detections are decided, there are {size}")
    if choice is None:
        if not fixed.all():
            raise ValueError("detections are left out at a time point that has no choice")
    elif len(choice.conflict) and np.bincount(choice.conflict, weights=fixed[choice.member]).max() > 1:
        raise ValueError("detections are taken that exclude each other")


def _rows(table: Indices, wanted: Indices) -> Indices:
    """Rows of an ascending table that equal the wanted ones."""
    if not len(wanted):
        return np.empty(0, np.int64)
    base = int(max(table.max(initial=0), wanted.max())) + 1
    if base ** table.shape[1] >= 2**63:
        raise ValueError(f"{base} detections are too many")
    power = base ** np.arange(table.shape[1] - 1, -1, -1)
    keys, wanted_keys = table @ power, wanted @ power
    rows = np.asarray(np.searchsorted(keys, wanted_keys))
    if (rows == len(keys)).any() or (keys[rows] != wanted_keys).any():
        raise ValueError("the solution has an event that is no candidate")
    return rows


class _Program:
    """Columns: for each time point its detections where there is a choice, then links and divisions of its pair.

    Rows: for each pair, "outgoing ≤ taken" of the earlier time point and "incoming ≤ taken" of the later one; then
    sets that exclude each other.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        choices: Sequence[Choice | None],
        sizes: list[int],
        first: Flags | None,
        last: Flags | None,
    ) -> None:
        self.pairs, self.choices, self.sizes = pairs, choices, sizes
        self.place: list[tuple[int, int, int]] = []
        """For each time point the first column of its detections, of its links, and of its divisions."""
        rows: list[Indices] = []
        columns: list[Indices] = []
        values: list[Floats] = []
        limit: list[Floats] = []
        cost: list[Floats] = []
        pair_of: list[Indices] = []
        number_of_columns = number_of_rows = incoming = 0
        for time, size in enumerate(sizes):
            choice = choices[time]
            states = number_of_columns
            if choice is not None:
                reduced = choice.cost.copy()
                if time:
                    reduced += pairs[time - 1].appearance
                if time < len(pairs):
                    reduced += pairs[time].disappearance
                cost.append(reduced)
                number_of_columns += size
                sets = int(choice.conflict.max(initial=-1)) + 1
                rows.append(number_of_rows + choice.conflict)
                columns.append(states + choice.member)
                values.append(np.ones(len(choice.member)))
                limit.append(np.ones(sets))
                number_of_rows += sets
                if time:  # incoming, whose events have their columns already
                    rows.append(incoming + np.arange(size))
                    columns.append(states + np.arange(size))
                    values.append(-np.ones(size))
            links = number_of_columns
            pair_of.append(np.full(links - states, time))
            if time == len(pairs):
                self.place.append((states, links, links))
                break
            pair = pairs[time]
            divisions = links + len(pair.links)
            self.place.append((states, links, divisions))
            number_of_columns = divisions + len(pair.divisions)
            pair_of.append(np.full(number_of_columns - links, time))
            gone, new = pair.disappearance, pair.appearance
            cost.append(pair.link_cost - gone[pair.links[:, 0]] - new[pair.links[:, 1]])
            cost.append(pair.division_cost - gone[pair.divisions[:, 0]] - new[pair.divisions[:, 1:]].sum(axis=1))
            outgoing, incoming = number_of_rows, number_of_rows + size
            number_of_rows = incoming + sizes[time + 1]
            link, division = np.arange(links, divisions), np.arange(divisions, number_of_columns)
            for start, event, detection in (
                (outgoing, link, pair.links[:, 0]),
                (outgoing, division, pair.divisions[:, 0]),
                (incoming, link, pair.links[:, 1]),
                (incoming, division, pair.divisions[:, 1]),
                (incoming, division, pair.divisions[:, 2]),
            ):
                rows.append(start + detection)
                columns.append(event)
                values.append(np.ones(len(event)))
            if choice is not None:
                rows.append(outgoing + np.arange(size))
                columns.append(states + np.arange(size))
                values.append(-np.ones(size))
            limit.append(np.full(size, 1.0 if choice is None else 0.0))
            limit.append(np.full(sizes[time + 1], 1.0 if choices[time + 1] is None else 0.0))
        shape = (number_of_rows, number_of_columns)
        entries = (np.concatenate(rows), np.concatenate(columns))
        self.matrix = csc_array(coo_array((np.concatenate(values), entries), shape))
        self.limit, self.cost = np.concatenate(limit), np.concatenate([*cost, np.empty(0)])
        self.pair_of = np.concatenate(pair_of)
        self.lower, self.upper = np.zeros(number_of_columns), np.ones(number_of_columns)
        for time, fixed in ((0, first), (len(sizes) - 1, last)):
            if fixed is not None and choices[time] is not None:
                here = slice(self.place[time][0], self.place[time][0] + sizes[time])
                self.lower[here] = self.upper[here] = fixed

    def solution(self, taken: Flags) -> Solution:
        """From columns to events."""
        selected, events = [], []
        for time, (states, links, divisions) in enumerate(self.place):
            size = self.sizes[time]
            selected.append(np.ones(size, bool) if self.choices[time] is None else taken[states : states + size])
            if time < len(self.pairs):
                pair = self.pairs[time]
                end = divisions + len(pair.divisions)
                events.append(Events(pair.links[taken[links:divisions]], pair.divisions[taken[divisions:end]]))
        return Solution(tuple(selected), tuple(events))


def _minimise(program: _Program, time_limit: float | None) -> Flags:
    taken = np.zeros(len(program.cost), bool)
    for columns in _batches(program):
        part = csr_array(program.matrix[:, columns])
        rows = np.flatnonzero(np.diff(part.indptr))
        result = milp(
            program.cost[columns],
            integrality=np.ones(len(columns)),
            bounds=Bounds(program.lower[columns], program.upper[columns]),
            constraints=LinearConstraint(part[rows], -np.inf, program.limit[rows]) if len(rows) else (),
            options={"mip_rel_gap": 0.0} | ({} if time_limit is None else {"time_limit": time_limit}),
        )
        if result.status == 1:
            raise TimeLimitError(
                f"{len(columns)} candidate events that depend on each other were not solved in {time_limit:g} seconds"
            )
        if result.x is None:
            raise RuntimeError(f"the solver gave up: {result.message}")
        taken[columns] = result.x > 0.5
    return taken


def _batches(program: _Program) -> list[Indices]:
    """Columns of whole connected parts that are solved together.

    Parts are in the order of their first columns; a batch never holds parts that begin in different pairs, so a longer
    movie has the batches of a shorter one.
    """
    number_of_rows, number_of_columns = program.matrix.shape
    if not number_of_columns:
        return []
    entries = program.matrix.tocoo()
    size = number_of_rows + number_of_columns
    graph = coo_array((np.ones(entries.nnz, np.int8), (entries.row, number_of_rows + entries.col)), (size, size))
    part = connected_components(graph, directed=False)[1][number_of_rows:]
    _, first, part, count = np.unique(part, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    batch = np.empty(len(first), np.int64)
    pair = program.pair_of[first[order]]
    before = np.concatenate([[0], np.cumsum(count[order])[:-1]])
    start = before[np.searchsorted(pair, pair)]  # columns of parts that begin in earlier pairs
    key = pair * (number_of_columns // _BATCH + 1) + (before - start) // _BATCH
    batch[order] = np.unique(key, return_inverse=True)[1]
    of_column = batch[part]
    by_batch = np.argsort(of_column, kind="stable")
    return np.split(by_batch, np.flatnonzero(np.diff(of_column[by_batch])) + 1)
