"""The track of each detection, one time point after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bigseg.geometry.movie import Junction, decider, junction_ranges, window_ranges
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.stages.step import Need, Outcome, Parameters, WholeStep, digest_tables
from bigseg.stages.track.detections import needs_detections
from bigseg.stages.track.settings import NESTED, VERSION, movie_parameters
from bigseg.stages.track.windows import solution_paths

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from bigseg.config import Config
    from bigseg.kernels.tracking.model import Events, Flags
    from bigseg.kernels.tracking.tracing import Traced
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record

_TABLES = ("lineages", "numbered", "names")


class TrackLineages(WholeStep):
    """Go on with the tracks of the time point before.

    A time point that comes later changes nothing about those before it, so that nothing is done again for these.
    """

    stage, step, version = "track", "lineages", VERSION
    looked_up_by: ClassVar[tuple[str, ...]] = ("times",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """Whether objects are chosen in windows, and in which."""
        settings = config.track
        nested = settings.method in NESTED
        windows = {"window": settings.window, "context": settings.joint.context} if nested else {}
        return {**movie_parameters(plan), "nested": nested, **windows}

    def needs(self, piece: int) -> list[Need]:
        """The detections, the events, and the tracks of the time point before."""
        found = [needs_detections(self.time)]
        if self._position:
            found.append(Need("track.lineages", [0], time=self.parameters["times"][self._position - 1]))
        if not self.parameters["nested"]:
            return [*found, Need("track.links", [0])] if self._position else found
        step, piece, _, number = self._solved
        return [*found, Need(f"track.{step}", [piece], number, in_key=False)]

    def evidence(self, piece: int) -> str:
        """Which time point is before, and, of what was solved in a window, what concerns this one."""
        if not self.parameters["nested"]:
            return digest_json(self.parameters["times"][self._position - 1] if self._position else None)
        selected, events = self._chosen()
        return digest_arrays(selected, events.links, events.divisions)

    def tables(self, piece: int) -> list[Path]:
        """The tracks so far, their number, and the track of each object."""
        return [self.layout.table("track", name, self.time) for name in _TABLES]

    def process(self, piece: int) -> Outcome:
        """Write the track of each detection and of each object of ``segment``."""
        import numpy as np

        from bigseg.kernels.tracking.tracing import begin, extend
        from bigseg.volumes.tables import write_table

        selected, events = self._chosen()
        before = self._before()
        traced = begin(self.time, selected) if before is None else extend(before, self.time, selected, events)
        tables = (
            {name: getattr(traced, name) for name in ("track", "parent", "generation", "start")},
            {"tracks": np.array([traced.number])},
            self._names(traced.track),
        )
        for path, table in zip(self.tables(piece), tables, strict=True):
            write_table(path, table)
        return Outcome(digest_arrays(*(column for table in tables for column in table.values())))

    def rehash(self, piece: int, record: Record) -> str:
        """All tables."""
        return digest_tables(self.tables(piece))

    @property
    def _position(self) -> int:
        """Of the time point in the list of them."""
        times: list[int] = self.parameters["times"]
        return times.index(self.time)

    @property
    def _solved(self) -> tuple[str, int, range, int]:
        """Where the time point and the events before it were solved: step, piece, positions, number of pieces."""
        times, window = len(self.parameters["times"]), self.parameters["window"]
        windows, junctions = window_ranges(times, window, 0), junction_ranges(times, window, self.parameters["context"])
        part, piece = decider(self._position, windows, junctions)
        if isinstance(part, Junction):
            return "junctions", piece, part.kept, len(junctions)
        return "windows", piece, part.kept, len(windows)

    def _chosen(self) -> tuple[Flags, Events]:
        """What is taken, and the events between the time point before and this one."""
        import numpy as np

        from bigseg.kernels.tracking.model import no_events
        from bigseg.stages.track.tables import events_of, solution_of
        from bigseg.volumes.tables import read_table

        if self.parameters["nested"]:
            step, piece, positions, _ = self._solved
            events, taken = (read_table(path) for path in solution_paths(self.layout, step, piece))
            solution, at = solution_of(events, taken, len(positions)), self._position - positions.start
            return solution.selected[at], solution.events[at - 1] if at else no_events()
        number = len(read_table(self.layout.table("track", "fragments", self.time), ["id"])["id"])
        if not self._position:
            return np.ones(number, np.bool_), no_events()
        return np.ones(number, np.bool_), events_of(read_table(self.layout.table("track", "events", self.time)))

    def _before(self) -> Traced | None:
        """The tracks of the time point before; None for the first."""
        from bigseg.stages.track.tables import read_traced

        return read_traced(self.layout, self.parameters["times"][self._position - 1]) if self._position else None

    def _names(self, tracks: np.ndarray) -> dict[str, np.ndarray]:
        """The track of each object of ``segment``: its own, or that of the candidate taken that contains it."""
        import numpy as np

        from bigseg.volumes.tables import read_table

        ids = read_table(self.layout.table("track", "fragments", self.time), ["id"])["id"]
        if not self.parameters["nested"]:
            return {"id": ids, "track": tracks}
        nesting = read_table(self.layout.table("track", "nesting", self.time))
        named = np.zeros(len(ids), np.uint32)
        taken = tracks[nesting["candidate"]] > 0
        named[nesting["leaf"][taken]] = tracks[nesting["candidate"][taken]]
        return {"id": ids, "track": named}
