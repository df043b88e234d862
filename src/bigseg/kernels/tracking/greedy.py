"""The fast choice among candidate events: the best matching of a pair by links alone, then divisions one by one."""

from __future__ import annotations

from collections.abc import Sequence

from bigseg.kernels.tracking.model import Pair, Solution


def solve_greedy(pairs: Sequence[Pair]) -> Solution:
    """Take all detections; in each pair match by links, then let divisions take up what was left unmatched.

    Args:
        pairs: those between consecutive time points, at least one.

    Returns:
        A feasible solution, like that of :func:`bigseg.kernels.tracking.program.solve` but not always of least cost.
    """
    raise NotImplementedError
