"""Long movies in windows of time points, and the seams between them.

Round 1: each window [begin, end) is solved with some time points of context on either side, and what lies inside it is
kept. Round 2: at each seam, between two windows, the program over the time points around it is solved again, with the
detections that are taken at its two ends as the windows decided. Windows are independent of each other, and so are
seams. A window and a seam are known by positions in the list of time points, which need not be consecutive times.

Where every detection must be taken (no :class:`~bigseg.kernels.tracking.model.Choice`), pairs have nothing in common:
the outgoing events of one time point and the incoming ones of the next. Then windows with any context, also none, give
the solution of the whole movie.

The windows never move: each has ``window`` time points but the last, which has up to twice as many, and a time point
that is added at the end changes nothing but the last window and what touches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bigseg.kernels.tracking.model import Choice, Flags, Pair, Solution


@dataclass(frozen=True)
class Window:
    """Positions in the list of time points."""

    begin: int
    """First one whose detections it decides."""
    end: int
    """One after the last."""
    first: int
    """First one it sees."""
    last: int
    """One after the last it sees."""


@dataclass(frozen=True)
class Seam:
    """Positions in the list of time points; its first and last one belong to two neighbouring windows."""

    at: int
    """Where the later window begins."""
    first: int
    """First one it sees; what is taken there is fixed, unless it is the first of the movie."""
    last: int
    """One after the last it sees; what is taken at the last is fixed, unless it is the last of the movie."""
    number_of_times: int
    """Time points of the movie."""


def window_ranges(number_of_times: int, window: int, context: int) -> list[Window]:
    """The windows of a movie.

    Args:
        number_of_times: time points in the list.
        window: time points of a window, at least 2.
        context: time points that it sees on either side, at most ``window``.
    """
    raise NotImplementedError


def seam_ranges(number_of_times: int, window: int, reach: int) -> list[Seam]:
    """The seams of the same windows.

    Args:
        number_of_times: time points in the list.
        window: time points of a window.
        reach: time points on either side of the seam, 1 … window / 2; with 1, only the pair across it is solved.
    """
    raise NotImplementedError


def solve_window(
    window: Window,
    pairs: Sequence[Pair],
    choices: Sequence[Choice | None] | None = None,
    *,
    time_limit: float | None = None,
) -> Solution:
    """Round 1: the solution inside a window.

    Args:
        window: which.
        pairs: those it sees, ``last - first - 1`` of them.
        choices: of the time points it sees; None takes all detections.
        time_limit: as for :func:`~bigseg.kernels.tracking.program.solve`.

    Returns:
        Solution for its time points begin … end - 1.
    """
    raise NotImplementedError


def solve_seam(
    seam: Seam,
    pairs: Sequence[Pair],
    before: Flags,
    after: Flags,
    choices: Sequence[Choice | None] | None = None,
    *,
    time_limit: float | None = None,
) -> Solution:
    """Round 2: the solution around a seam.

    Args:
        seam: which.
        pairs: those it sees, ``last - first - 1`` of them.
        before: (n,) bool what the earlier window takes at time point ``first``.
        after: (m,) bool what the later window takes at time point ``last - 1``.
        choices: of the time points it sees.
        time_limit: as for :func:`~bigseg.kernels.tracking.program.solve`.

    Returns:
        Solution for its time points first … last - 1.
    """
    raise NotImplementedError


def compose(
    windows: Sequence[Window], parts: Sequence[Solution], seams: Sequence[Seam], joints: Sequence[Solution]
) -> Solution:
    """The solution of the movie: what the windows found, except around the seams.

    Args:
        windows: all windows in order.
        parts: what :func:`solve_window` found.
        seams: all seams in order.
        joints: what :func:`solve_seam` found.
    """
    raise NotImplementedError
