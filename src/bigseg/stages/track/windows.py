"""The joint choice of objects and events, in windows of time points, and across the junctions between windows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, ClassVar

from bigseg.errors import UserError
from bigseg.geometry.movie import Junction, Window, junction_ranges, window_ranges
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.stages.step import Need, Outcome, Parameters, Step, digest_tables
from bigseg.stages.track.detections import needs_detections
from bigseg.stages.track.settings import VERSION, movie_parameters

if TYPE_CHECKING:
    from pathlib import Path

    from bigseg.config import Config
    from bigseg.geometry.grid import Grid
    from bigseg.kernels.tracking.model import Choice, Flags, Pair, Solution
    from bigseg.layout import Layout
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record


class _Solve(Step):
    """A step whose pieces are runs of consecutive time points."""

    stage, version, per_time = "track", VERSION, False
    looked_up_by: ClassVar[tuple[str, ...]] = ("times",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The windows, and what taking a candidate is worth."""
        settings = config.track
        return {**movie_parameters(plan), "window": settings.window, "joint": settings.joint.model_dump()}

    @abstractmethod
    def seen(self, piece: int) -> Sequence[int]:
        """Positions, in the list of time points, of those that a piece looks at."""

    @abstractmethod
    def solve(self, piece: int) -> Solution:
        """What is chosen, at :meth:`decided`."""

    @abstractmethod
    def decided(self, piece: int) -> Sequence[int]:
        """Positions of the time points whose solution a piece writes."""

    def pieces_of(self, blocks: Collection[int], grid: Grid) -> list[int]:
        """All, if there are any blocks."""
        return list(range(self.number_of_pieces)) if blocks else []

    def voxels(self, piece: int) -> int:
        """Nothing that a rate in voxels would describe."""
        return 0

    def needs(self, piece: int) -> list[Need]:
        """The detections and candidate events of all time points that it looks at."""
        times = [self.times[position] for position in self.seen(piece)]
        pairs = [Need("track.links", [0], time=time) for time in times[1:]]
        return [*(needs_detections(time) for time in times), *pairs]

    def evidence(self, piece: int) -> str:
        """Which time points these are."""
        return digest_json([self.times[position] for position in self.seen(piece)])

    def tables(self, piece: int) -> list[Path]:
        """Events, and what is taken."""
        return solution_paths(self.layout, self.step, piece)

    def process(self, piece: int) -> Outcome:
        """Solve and write what was chosen."""
        from bigseg.kernels.tracking.program import TimeLimitError
        from bigseg.stages.track.tables import solution_tables
        from bigseg.volumes.tables import write_table

        try:
            solution = self.solve(piece)
        except TimeLimitError as error:
            raise UserError(str(error), "choose a smaller track.window, or track.method: greedy") from error
        tables = solution_tables(solution)
        for path, table in zip(self.tables(piece), tables, strict=True):
            write_table(path, table)
        events, taken = tables
        digest = digest_arrays(*events.values(), *taken.values())
        divisions = int((events["second"] >= 0).sum())
        return Outcome(digest, {"links": len(events["second"]) - divisions, "divisions": divisions})

    def rehash(self, piece: int, record: Record) -> str:
        """Both tables."""
        return digest_tables(self.tables(piece))

    @property
    def times(self) -> list[int]:
        """The time points of the movie."""
        found: list[int] = self.parameters["times"]
        return found

    def read(self, positions: Sequence[int]) -> tuple[list[Pair], list[Choice | None]]:
        """The candidate events and choices of consecutive time points."""
        from bigseg.stages.track.nested import read_choice
        from bigseg.stages.track.tables import read_pair

        times = [self.times[position] for position in positions]
        pairs = [read_pair(self.layout, time) for time in times[1:]]
        return pairs, [read_choice(self.layout, time, self.parameters["joint"]) for time in times]


def solution_paths(layout: Layout, step: str, piece: int) -> list[Path]:
    """The tables of events and of what is taken that a piece of ``windows`` or ``junctions`` writes."""
    return [layout.table("track", f"{step}-{name}", None, piece) for name in ("events", "taken")]


def number_of_junctions(config: Config, plan: SamplePlan) -> int:
    """Junctions between the windows of a sample."""
    return len(window_ranges(len(plan.times), config.track.window, 0)) - 1


class TrackWindows(_Solve):
    """Solve windows of time points, independently of each other."""

    step = "windows"

    @property
    def windows(self) -> list[Window]:
        """All windows."""
        return window_ranges(len(self.times), self.parameters["window"], self.parameters["joint"]["context"])

    @property
    def number_of_pieces(self) -> int:
        """One per window."""
        return len(self.windows)

    def describe(self, piece: int) -> str:
        """The time points."""
        decided = self.decided(piece)
        return f"time points {self.times[decided[0]]} to {self.times[decided[-1]]}"

    def seen(self, piece: int) -> Sequence[int]:
        """The window with its context."""
        window = self.windows[piece]
        return range(window.first, window.last)

    def decided(self, piece: int) -> Sequence[int]:
        """The window."""
        return self.windows[piece].kept

    def solve(self, piece: int) -> Solution:
        """Solve the window."""
        from bigseg.kernels.tracking.windows import solve_window

        pairs, choices = self.read(self.seen(piece))
        return solve_window(self.windows[piece], pairs, choices)


class TrackJunctions(_Solve):
    """Solve the time points around the junction of two windows again, with what these take at its ends."""

    step = "junctions"

    @property
    def junctions(self) -> list[Junction]:
        """All junctions."""
        return junction_ranges(len(self.times), self.parameters["window"], self.parameters["joint"]["context"])

    @property
    def number_of_pieces(self) -> int:
        """One per junction."""
        return len(self.junctions)

    def describe(self, piece: int) -> str:
        """Where it is."""
        at = self.junctions[piece].at
        return f"between time points {self.times[at - 1]} and {self.times[at]}"

    def needs(self, piece: int) -> list[Need]:
        """Also what the two windows take."""
        windows = len(self.junctions) + 1
        return [*super().needs(piece), Need("track.windows", [piece, piece + 1], windows, in_key=False)]

    def evidence(self, piece: int) -> str:
        """Which time points these are, and what the windows take at the ends."""
        return digest_json([super().evidence(piece), digest_arrays(*self._ends(piece))])

    def seen(self, piece: int) -> Sequence[int]:
        """The time points around it."""
        junction = self.junctions[piece]
        return range(junction.first, junction.last)

    def decided(self, piece: int) -> Sequence[int]:
        """The same."""
        return self.junctions[piece].kept

    def solve(self, piece: int) -> Solution:
        """Solve around the junction."""
        from bigseg.kernels.tracking.windows import solve_junction

        junction = self.junctions[piece]
        pairs, choices = self.read(self.seen(piece))
        return solve_junction(junction, pairs, *self._ends(piece), choices)

    def _ends(self, piece: int) -> tuple[Flags, Flags]:
        """What the two windows take at the first and the last time point that the junction sees."""
        junction = self.junctions[piece]
        return self._taken(piece, junction.first), self._taken(piece + 1, junction.last - 1)

    def _taken(self, window: int, position: int) -> Flags:
        """What a window takes at a time point."""
        from bigseg.stages.track.tables import taken_at
        from bigseg.volumes.tables import read_table

        _, taken = solution_paths(self.layout, "windows", window)
        begin = window_ranges(len(self.times), self.parameters["window"], 0)[window].begin
        return taken_at(read_table(taken), position - begin)
