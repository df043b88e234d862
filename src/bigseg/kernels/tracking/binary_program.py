"""Binary linear programs that fall into parts and are nearly integral as they are, solved exactly.

Programs of tracking are flows but for their divisions and conflicts. So the linear relaxation (HiGHS' dual simplex, as
SciPy ships it: no other package, one thread, deterministic) has a handful of fractional variables if any, and takes a
tenth of the time that HiGHS' branch and bound takes for the whole. Only what depends on fractional variables is solved
again, by branch and bound.

**Which variables that needs.** Let y be the dual solution and r the reduced costs. Then a binary x costs the value of
the relaxation plus Σ |r_k| over the variables that differ from the relaxation's bound, plus Σ y_i · slack_i. Variables
with r ≠ 0 are held, the others are free and fall into components by their rows. Let gap(C) ≥ 0 be what the best binary
solution of C costs above the relaxation, and let x* consist of these. A solution that moves held variables K pays
Σ_K |r_k| and saves at most gap(C) in each component that shares a row with one of K. So x* is optimal if
|r_k| ≥ Σ gap(C) over the components that share a row with k, for each held k. Those that fail are set free, and again.
"""

from __future__ import annotations

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
        (n,) bool a solution of least cost. It depends on the arguments alone.

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
    open_to_change = lower < upper
    free = open_to_change & ((reduced <= _TIGHT) | broken)
    while True:
        columns = np.flatnonzero(free)
        component = _components(matrix, columns)
        gap_of_row = np.zeros(len(limit))
        for number in np.unique(component[broken[columns]]):
            inside = columns[component == number]
            held = np.where(np.isin(np.arange(len(cost)), inside), 0.0, np.rint(value))
            part = csr_array(matrix[:, inside])
            rows = np.flatnonzero(np.diff(part.indptr))
            result = milp(
                cost[inside],
                integrality=np.ones(len(inside)),
                bounds=Bounds(lower[inside], upper[inside]),
                constraints=LinearConstraint(part[rows], -np.inf, (limit - matrix @ held)[rows]),
                options={"mip_rel_gap": 0.0} | options,
            )
            _check(result.status, result.x is not None, result.message, len(inside), time_limit)
            found[inside] = result.x > 0.5
            gap_of_row[rows] = max(result.fun - cost[inside] @ value[inside], 0.0)
        missed = open_to_change & ~free & (reduced < abs(matrix).T @ gap_of_row - _TIGHT)
        if not missed.any():
            return np.asarray(found)
        free |= missed
        found = value > 0.5


def _check(status: int, solved: bool, message: str, size: int, time_limit: float | None) -> None:
    if status == 1:
        raise TimeLimitError(f"{size} events that depend on each other were not decided in {time_limit:g} seconds")
    if not solved:
        raise RuntimeError(f"HiGHS gave up on {size} events: {message}")
