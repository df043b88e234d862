"""Long movies in windows of time points, and the junctions between them (:mod:`bigseg.geometry.movie`).

Round 1: each window [begin, end) is solved with some time points of context on either side, and what lies inside it is
kept. Round 2: at each junction, between two windows, the program over the time points around it is solved again, with
the detections that are taken at its two ends as the windows decided. Windows are independent of each other, and so are
junctions.

Where every detection must be taken (no :class:`~bigseg.kernels.tracking.model.Choice`), pairs have nothing in common:
the outgoing events of one time point and the incoming ones of the next. Then windows with any context, also none, give
the solution of the whole movie, to the last tie.
"""

from __future__ import annotations

from collections.abc import Sequence

from bigseg.geometry.movie import Junction, Window
from bigseg.kernels.tracking.model import Choice, Flags, Pair, Solution
from bigseg.kernels.tracking.program import solve


def solve_window(
    window: Window,
    pairs: Sequence[Pair],
    choices: Sequence[Choice | None] | None = None,
    *,
    time_limit: float | None = None,
) -> Solution:
    """Round 1: the solution inside a window.

    Args:
        window: which, of at least 2 time points with its context.
        pairs: those it sees, ``last - first - 1`` of them.
        choices: of the time points it sees; None takes all detections.
        time_limit: as for :func:`~bigseg.kernels.tracking.program.solve`.

    Returns:
        Solution for its time points begin … end - 1.

    Raises:
        ValueError: it sees another number of pairs.
        TimeLimitError: time ran out.
    """
    _check_pairs(window, pairs)
    seen = solve(pairs, choices, time_limit=time_limit)
    begin, end = window.begin - window.first, window.end - window.first
    return Solution(seen.selected[begin:end], seen.events[begin : end - 1])


def solve_junction(
    junction: Junction,
    pairs: Sequence[Pair],
    before: Flags,
    after: Flags,
    choices: Sequence[Choice | None] | None = None,
    *,
    time_limit: float | None = None,
) -> Solution:
    """Round 2: the solution around a junction.

    What the windows found is feasible here, so the whole never gets worse by it.

    Args:
        junction: which.
        pairs: those it sees, ``last - first - 1`` of them.
        before: (n,) bool what the earlier window takes at time point ``first``.
        after: (m,) bool what the later window takes at time point ``last - 1``.
        choices: of the time points it sees.
        time_limit: as for :func:`~bigseg.kernels.tracking.program.solve`.

    Returns:
        Solution for its time points first … last - 1.

    Raises:
        ValueError: it sees another number of pairs, or what is fixed is not feasible.
        TimeLimitError: time ran out.
    """
    _check_pairs(junction, pairs)
    return solve(pairs, choices, before, after, time_limit=time_limit)


def _check_pairs(part: Window | Junction, pairs: Sequence[Pair]) -> None:
    if len(pairs) != part.last - part.first - 1:
        raise ValueError(f"{len(pairs)} pairs for time points {part.first} … {part.last - 1}")
