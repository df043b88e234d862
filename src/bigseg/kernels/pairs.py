"""Tables with a pair of ids per row: rows of the same pair become one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Pairs(NamedTuple):
    """The pairs of a table, ascending by (u, v), each once.

    Attributes:
        u: (k,) uint64 one id of each pair.
        v: (k,) uint64 the other.
        order: (n,) int64 rows of the table, those of one pair next to each other.
        first: (k,) int64 place in ``order`` of the first row of each pair.
    """

    u: NDArray[np.uint64]
    v: NDArray[np.uint64]
    order: NDArray[np.int64]
    first: NDArray[np.int64]

    def add_up(self, column: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over the rows of each pair of a column of the table."""
        return np.add.reduceat(column[self.order], self.first)


def distinct_pairs(u: NDArray[np.uint64], v: NDArray[np.uint64]) -> Pairs:
    """The pairs of a table; ``(u, v)`` and ``(v, u)`` are two.

    Args:
        u: (n,) uint64 one id of each row.
        v: (n,) uint64 the other.
    """
    order = np.lexsort((v, u))
    u, v = u[order], v[order]
    first = np.flatnonzero(np.r_[True, (u[1:] != u[:-1]) | (v[1:] != v[:-1])][: len(u)])
    return Pairs(u[first], v[first], order, first)
