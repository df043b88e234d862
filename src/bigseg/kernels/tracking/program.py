"""The choice among candidate events as an integer program: least cost, every detection taken has one past and one future.

For each detection: incoming events (links, divisions of which it is a daughter, appearance) = taken = outgoing events
(links, divisions of which it is the mother, disappearance). So two objects never become one.
"""

from __future__ import annotations

from collections.abc import Sequence

from bigseg.kernels.tracking.model import Choice, Flags, Pair, Solution


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
        ValueError: lengths do not fit, or ``first`` or ``last`` take detections that exclude each other.
    """
    raise NotImplementedError


def energy(pairs: Sequence[Pair], choices: Sequence[Choice | None] | None, solution: Solution) -> float:
    """What a solution costs: its events, and the detections that are taken where there is a choice.

    Raises:
        ValueError: the solution has an event that is no candidate.
    """
    raise NotImplementedError
