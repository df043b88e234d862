"""Binary linear programs that fall into parts and are nearly integral as they are.

Programs of tracking are flows but for their divisions and conflicts. So the linear relaxation (HiGHS' dual simplex, or
its interior point method for large ones, as SciPy ships it: no other package, one thread, deterministic) has a handful
of fractional variables if any, and takes a tenth of the time that HiGHS' branch and bound takes for the whole. Only
what depends on fractional variables is solved again, by branch and bound.

**Which variables that needs.** Let y be the dual solution and r the reduced costs. Then a binary x costs the value of
the relaxation plus Σ |r_k| over the variables that differ from the relaxation's bound, plus Σ y_i · slack_i. Variables
with r ≠ 0 are held, the others are free and fall into components by their rows. Let gap(C) ≥ 0 be what the best binary
solution of C costs above the relaxation, and let x* consist of these. A solution that moves held variables K pays
Σ_K |r_k| and saves at most gap(C) in each component that shares a row with one of K. So x* is optimal if
|r_k| ≥ Σ gap(C) over the components that share a row with k, for each held k. Those that fail are set free, and again.

**Large components.** Where hardly any reduced cost differs from 0, a component may have a hundred thousand variables of
which a few hundred are fractional, and branch and bound takes longer the larger it is. Such a component is solved near
its fractional variables only, the rest of it being held as the relaxation has it. The relaxation bounds the whole from
below, so what that costs above it is known. All components that are solved so may cost :data:`TOLERANCE` of the bound
together; one that would cost more is solved again with variables that are farther away, and at last as a whole. What
they cost stands for gap(C) above. Where no held variable fails, the solution costs at most that much more than the
best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import coo_array, csc_array, csr_array
from scipy.sparse.csgraph import connected_components

from bigseg.kernels.tracking.model import Flags, Floats, Indices

_BATCH = 5000
"""Columns that are solved together unless one connected part has more."""

_LARGE = 10_000
"""Columns from which on a relaxation is solved by the interior point method, with crossover to a vertex: the dual
simplex needs as many steps as a third of the columns, and each takes the longer the more there are."""

_WHOLE = 10_000
"""Variables of a component up to which it is solved as a whole."""

TOLERANCE = 1e-4
"""How far above the bound a solution may be that was found near fractional variables, as a share of the bound."""

_NEAR = 4
"""Steps from a fractional variable, from one to another that has a row in common, that are looked at first."""

_OUT_OF_TIME, _INFEASIBLE = 1, 2
"""HiGHS' status, as SciPy tells it."""

_TIGHT = 1e-7
"""Reduced costs, and distances from integers, that count as 0; HiGHS' own tolerance."""


class TimeLimitError(RuntimeError):
    """The solver found no proven solution in time."""


def minimise(
    cost: Floats,
    matrix: csc_array,
    limit: Floats,
    lower: Floats,
    upper: Floats,
    group: Indices,
    time_limit: float | None = None,
) -> Flags:
    """Minimise ``cost · x`` over binary x with ``matrix · x ≤ limit``.

    Args:
        cost: (n,) float64.
        matrix: (m, n) sparse.
        limit: (m,) float64.
        lower: (n,) float64 0, or 1 where x must be 1.
        upper: (n,) float64 1, or 0 where x must be 0.
        group: (n,) int64 ascending; parts that begin in different groups are solved one by one, so the solution of a
            part cannot depend on parts of other groups, not even among solutions of equal cost.
        time_limit: seconds for each solve.

    Returns:
        (n,) bool a solution of least cost; where more than :data:`_WHOLE` variables depend on each other and on
        fractional ones, one that is at most :data:`TOLERANCE` above. It depends on the arguments alone.

    Raises:
        TimeLimitError: time ran out.
    """
    taken = np.zeros(len(cost), bool)
    for columns in _batches(matrix, group):
        part = csr_array(matrix[:, columns])
        rows = np.flatnonzero(np.diff(part.indptr))
        taken[columns] = _solve(
            cost[columns], csc_array(part[rows]), limit[rows], lower[columns], upper[columns], time_limit
        )
    return taken


def _batches(matrix: csc_array, group: Indices) -> list[Indices]:
    """Columns of whole connected parts that are solved together, in the order of the parts' first columns."""
    number = len(group)
    if not number:
        return []
    _, first, part, count = np.unique(
        _components(matrix, np.arange(number)), return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(first)
    groups = group[first[order]]
    before = np.cumsum(count[order]) - count[order]
    before -= before[np.searchsorted(groups, groups)]  # columns of parts that begin in the same group
    batch = np.empty(len(first), np.int64)
    batch[order] = np.unique(groups * (number // _BATCH + 1) + before // _BATCH, return_inverse=True)[1]
    of_column = batch[part]
    by_batch = np.argsort(of_column, kind="stable")
    return np.split(by_batch, np.flatnonzero(np.diff(of_column[by_batch])) + 1)


def _components(matrix: csc_array, columns: Indices) -> Indices:
    """(len(columns),) number of the component of each, where columns hang together by rows."""
    entries = matrix[:, columns].tocoo()
    rows, size = matrix.shape[0], matrix.shape[0] + len(columns)
    graph = coo_array((np.ones(entries.nnz, np.int8), (entries.row, rows + entries.col)), (size, size))
    return np.asarray(connected_components(graph, directed=False)[1][rows:], np.int64)


def _solve(
    cost: Floats, matrix: csc_array, limit: Floats, lower: Floats, upper: Floats, time_limit: float | None
) -> Flags:
    options = {} if time_limit is None else {"time_limit": time_limit}
    relaxed = linprog(
        cost,
        A_ub=matrix if len(limit) else None,
        b_ub=limit if len(limit) else None,
        bounds=np.stack([lower, upper], axis=1),
        method="highs-ipm" if len(cost) > _LARGE else "highs-ds",
        options=options,
    )
    _check(relaxed.status, relaxed.x is not None, relaxed.message, len(cost), time_limit)
    value = relaxed.x
    broken = np.abs(value - np.rint(value)) > _TIGHT
    found = value > 0.5
    if not broken.any():
        return np.asarray(found)
    reduced = np.abs(cost - matrix.T @ relaxed.ineqlin.marginals)
    part = _Part(cost, matrix, lower, upper, value, limit - matrix @ np.rint(value), options)
    open_to_change, most = lower < upper, TOLERANCE * abs(relaxed.fun)
    free = open_to_change & ((reduced <= _TIGHT) | broken)
    while True:
        columns = np.flatnonzero(free)
        component = _components(matrix, columns)
        gap_of_row, total, near = np.zeros(len(limit)), 0.0, 0.0
        for number in np.unique(component[broken[columns]]):
            inside = columns[component == number]
            gap = _solve_near(part, inside, broken, found, most - near) if len(inside) > _WHOLE else None
            if gap is None:
                gap = part.solve(inside, found)
            else:
                near += gap
            total += gap
            gap_of_row[part.rows(inside)] += gap
        missed = open_to_change & ~free & (reduced < abs(matrix).T @ gap_of_row - _TIGHT)
        _check(0, missed.any() or np.isfinite(total), "nothing fits", len(cost), time_limit)
        if not missed.any() or (near and total <= most):
            return np.asarray(found)
        free |= missed
        found = value > 0.5


@dataclass(frozen=True)
class _Part:
    """A program with the solution of its relaxation, and what rounding that leaves of the limits."""

    cost: Floats
    matrix: csc_array
    lower: Floats
    upper: Floats
    value: Floats
    left: Floats
    options: dict[str, float]

    def rows(self, inside: Indices) -> Indices:
        """Rows in which some columns are."""
        return np.unique(self.matrix[:, inside].indices)

    def solve(self, inside: Indices, found: Flags) -> float:
        """Solve for some columns, all others being as the relaxation has them.

        Args:
            inside: (k,) int64 columns, all fractional ones that share a row with them included.
            found: (n,) bool where the solution is written.

        Returns:
            What it costs above the relaxation; infinity if nothing fits to what is held.
        """
        columns, rows = csr_array(self.matrix[:, inside]), self.rows(inside)
        room = self.left + columns @ np.rint(self.value[inside])
        result = milp(
            self.cost[inside],
            integrality=np.ones(len(inside)),
            bounds=Bounds(self.lower[inside], self.upper[inside]),
            constraints=LinearConstraint(columns[rows], -np.inf, room[rows]),
            options={"mip_rel_gap": 0.0} | self.options,
        )
        if result.status == _INFEASIBLE:
            return float(np.inf)
        _check(result.status, result.x is not None, result.message, len(inside), self.options.get("time_limit"))
        found[inside] = result.x > 0.5
        return max(0.0, float(result.fun - self.cost[inside] @ self.value[inside]))


def _solve_near(part: _Part, component: Indices, broken: Flags, found: Flags, most: float) -> float | None:
    """Solve a component near its fractional columns, ever farther away from them.

    Returns:
        What it costs above the relaxation, at most ``most``; None if most of the component would have to be solved for
        that.
    """
    links = abs(csr_array(part.matrix[:, component]))
    near, steps = broken[component].astype(np.float64), _NEAR
    while True:
        for _ in range(steps):
            near = ((links.T @ (links @ near)) > 0).astype(np.float64)
        columns = component[near > 0]
        if 2 * len(columns) > len(component):
            return None
        found[component] = part.value[component] > 0.5
        pieces = _components(part.matrix, columns)
        gap = sum(part.solve(columns[pieces == piece], found) for piece in np.unique(pieces[broken[columns]]))
        if gap <= most:
            return gap
        steps *= 2


def _check(status: int, solved: bool, message: str, size: int, time_limit: float | None) -> None:
    if status == _OUT_OF_TIME and time_limit is not None:
        raise TimeLimitError(f"{size} events that depend on each other were not decided in {time_limit:g} seconds")
    if not solved:
        raise RuntimeError(f"HiGHS gave up on {size} events: {message}")
