"""How a long movie is cut into windows of time points, and the junctions between them.

Windows and junctions are known by positions in the list of time points, which need not be consecutive times. The
windows never move: each has the wanted number of time points but the last, which has up to twice as many, and a time
point that is added at the end changes nothing but the last window and what touches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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

    @property
    def kept(self) -> range:
        """Those for which its solution is kept."""
        return range(self.begin, self.end)


@dataclass(frozen=True)
class Junction:
    """Positions in the list of time points; its first and last one belong to two neighbouring windows."""

    at: int
    """Where the later window begins."""
    first: int
    """First one it sees, never the first of the movie; what is taken there is fixed."""
    last: int
    """One after the last it sees, which is never the last of the movie; what is taken at that one is fixed."""

    @property
    def kept(self) -> range:
        """Those for which its solution is kept: all that it sees."""
        return range(self.first, self.last)


def window_ranges(number_of_times: int, window: int, context: int) -> list[Window]:
    """The windows of a movie.

    Args:
        number_of_times: time points in the list, at least 1.
        window: time points of a window, at least 2.
        context: time points that it sees on either side.
    """
    number = max(1, number_of_times // window)
    ends = [*range(window, number * window, window), number_of_times]
    return [
        Window(begin, end, max(0, begin - context), min(number_of_times, end + context))
        for begin, end in zip([0, *ends[:-1]], ends, strict=True)
    ]


def junction_ranges(number_of_times: int, window: int, reach: int) -> list[Junction]:
    """The junctions of the same windows.

    Args:
        number_of_times: time points in the list.
        window: time points of a window.
        reach: time points on either side of the junction, 1 … window / 2; with 1, only the pair across it is solved.
    """
    inner = window_ranges(number_of_times, window, 0)[1:]
    return [Junction(w.begin, w.begin - reach, w.begin + reach) for w in inner]


def decider(
    position: int, windows: Sequence[Window], junctions: Sequence[Junction]
) -> tuple[Window, int] | tuple[Junction, int]:
    """What decides a time point and the pair of the one before and it, with its number among its like.

    Around a junction what was solved there counts. At its first time point, where it took what the window had taken,
    the pair before is the window's; its last one is its own.

    Args:
        position: of the time point, in the list of them.
        windows: all windows in order.
        junctions: all junctions in order.
    """
    for number, junction in enumerate(junctions):
        if junction.first < position < junction.last:
            return junction, number
    number = next(number for number, window in enumerate(windows) if position < window.end)
    return windows[number], number
