"""The choice among candidate events as an integer program: least cost, one past and one future for each detection.

For each detection: incoming events (links, divisions of which it is a daughter, appearance) = taken = outgoing events
(links, divisions of which it is the mother, disappearance). So two objects never become one. Appearance and
disappearance are what is left over: the program has inequalities instead, and an event costs what it saves against its
ends alone. Without :class:`~bigseg.kernels.tracking.model.Choice` no event of one pair touches one of another, and each
pair is solved by itself. :mod:`.binary_program` solves it, and says with what.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array, csc_array

from bigseg.kernels.tracking.binary_program import TimeLimitError, minimise
from bigseg.kernels.tracking.model import Choice, Events, Flags, Floats, Indices, Pair, Solution

__all__ = ["TimeLimitError", "energy", "solve"]


def solve(
    pairs: Sequence[Pair],
    choices: Sequence[Choice | None] | None = None,
    first: Flags | None = None,
    last: Flags | None = None,
    *,
    time_limit: float | None = None,
) -> Solution:
    """The solution of least cost for a run of time points, to the tolerance of :mod:`.binary_program`.

    Args:
        pairs: those between consecutive time points, at least one.
        choices: for each time point (one more than pairs) which detections may be left out; None takes all.
        first: (n,) bool the detections that are taken at the first time point, if that is decided.
        last: (n,) bool likewise at the last time point.
        time_limit: seconds for each solve; None waits.

    Returns:
        The solution; it does not depend on threads.

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
    return program.solution(
        minimise(program.cost, program.matrix, program.limit, program.lower, program.upper, program.pair, time_limit)
    )


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

    Rows: for each time point the sets that exclude each other, and for each pair "outgoing ≤ taken" of the earlier time
    point and "incoming ≤ taken" of the later one.
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
        times = range(len(sizes))
        links, divisions = ([len(getattr(p, kind)) for p in pairs] + [0] for kind in ("links", "divisions"))
        states = [0 if choice is None else size for choice, size in zip(choices, sizes, strict=True)]
        self.columns = _places(states, links, divisions)
        """(times, 3) first column of the detections of a time point, of the links and of the divisions of its pair."""
        sets = [0 if choice is None else int(choice.conflict.max(initial=-1)) + 1 for choice in choices]
        later = [*sizes[1:], 0]
        self.rows = _places(sets, [size * (time < len(pairs)) for time, size in enumerate(sizes)], later)
        """(times, 3) first row of the sets of a time point, of its outgoing, and of the next one's incoming events."""
        entries = [self._entries(time) for time in times]
        row, column, value = (np.concatenate([part[k] for part in entries]) for k in range(3))
        shape = (sum(sets) + sum(sizes[:-1]) + sum(later), sum(states) + sum(links) + sum(divisions))
        self.matrix = csc_array(coo_array((value, (row, column)), shape))
        self.limit = np.concatenate([self._limit(time, sets[time]) for time in times])
        self.cost = np.concatenate([self._cost(time) for time in times])
        self.pair = np.repeat(times, [a + b + c for a, b, c in zip(states, links, divisions, strict=True)])
        self.lower, self.upper = np.zeros(shape[1]), np.ones(shape[1])
        for time, fixed in ((0, first), (len(sizes) - 1, last)):
            if fixed is not None and choices[time] is not None:
                here = slice(self.columns[time][0], self.columns[time][0] + sizes[time])
                self.lower[here] = self.upper[here] = fixed

    def _entries(self, time: int) -> tuple[Indices, Indices, Floats]:
        """Rows, columns and values of the matrix for the columns of a time point."""
        state, link, division = self.columns[time]
        of_set, outgoing, incoming = self.rows[time]
        rows: list[Indices] = []
        columns: list[Indices] = []
        values: list[Floats] = []

        def add(row: Indices, column: Indices, value: float = 1.0) -> None:
            rows.append(row)
            columns.append(column)
            values.append(np.full(len(row), value))

        choice, detections = self.choices[time], np.arange(self.sizes[time])
        if choice is not None:
            add(of_set + choice.conflict, state + choice.member)
            if time < len(self.pairs):
                add(outgoing + detections, state + detections, -1.0)
            if time:
                add(self.rows[time - 1][2] + detections, state + detections, -1.0)
        if time < len(self.pairs):
            pair = self.pairs[time]
            links, divisions = link + np.arange(len(pair.links)), division + np.arange(len(pair.divisions))
            add(outgoing + pair.links[:, 0], links)
            add(outgoing + pair.divisions[:, 0], divisions)
            add(incoming + pair.links[:, 1], links)
            add(incoming + pair.divisions[:, 1], divisions)
            add(incoming + pair.divisions[:, 2], divisions)
        none = np.empty(0, np.int64)
        return np.concatenate([none, *rows]), np.concatenate([none, *columns]), np.concatenate([np.empty(0), *values])

    def _limit(self, time: int, sets: int) -> Floats:
        parts = [np.ones(sets)]
        if time < len(self.pairs):
            parts += [np.full(self.sizes[t], 1.0 if self.choices[t] is None else 0.0) for t in (time, time + 1)]
        return np.concatenate(parts)

    def _cost(self, time: int) -> Floats:
        """What each column of a time point costs above the appearance and disappearance of its ends."""
        parts = []
        choice = self.choices[time]
        if choice is not None:
            alone = choice.cost.copy()
            if time:
                alone += self.pairs[time - 1].appearance
            if time < len(self.pairs):
                alone += self.pairs[time].disappearance
            parts.append(alone)
        if time < len(self.pairs):
            pair = self.pairs[time]
            gone, new = pair.disappearance, pair.appearance
            parts.append(pair.link_cost - gone[pair.links[:, 0]] - new[pair.links[:, 1]])
            parts.append(pair.division_cost - gone[pair.divisions[:, 0]] - new[pair.divisions[:, 1:]].sum(axis=1))
        return np.concatenate([np.empty(0), *parts])

    def solution(self, taken: Flags) -> Solution:
        """From columns to events."""
        selected, events = [], []
        for time, (state, link, division) in enumerate(self.columns):
            size = self.sizes[time]
            selected.append(np.ones(size, bool) if self.choices[time] is None else taken[state : state + size])
            if time < len(self.pairs):
                pair = self.pairs[time]
                end = division + len(pair.divisions)
                events.append(Events(pair.links[taken[link:division]], pair.divisions[taken[division:end]]))
        return Solution(tuple(selected), tuple(events))


def _places(*sizes: list[int]) -> list[tuple[int, ...]]:
    """Where each run begins if, for each time point, one of each kind follows the other."""
    interleaved = np.array(sizes).T
    begins = np.cumsum(interleaved.ravel()) - interleaved.ravel()
    return [tuple(row) for row in begins.reshape(interleaved.shape).tolist()]
