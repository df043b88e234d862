"""What the ledgers tell of a run: time per stage, and how many supervoxels, edges and objects there were.

Of several records of a piece, left by restarts or changed settings, the youngest counts; pieces of an earlier cut into
blocks, which no step has any more, do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

from bigseg.geometry.box import triple
from bigseg.layout import Layout
from bigseg.resume.ledger import Record, step_ledgers, youngest

if TYPE_CHECKING:
    from bigseg.stages.step import Parameters


@dataclass(frozen=True)
class StageTime:
    """What a stage took.

    Attributes:
        stage: its name.
        pieces: blocks, and whole time points or samples where a step works on these.
        seconds: sum over the pieces, as though they had run one after another.
        voxels: of all time points.
    """

    stage: str
    pieces: int
    seconds: float
    voxels: int

    @property
    def megavoxels_per_second(self) -> float | None:
        """How fast one thread gets through the sample; None where no time was measured."""
        return self.voxels / 1e6 / self.seconds if self.seconds > 0 else None


@dataclass(frozen=True)
class Counts:
    """How many there were of what in one time point; None where no ledger tells."""

    time: int
    supervoxels: int | None
    edges: int | None
    clusters: int | None
    """Objects of the partition, before small ones are merged."""


class Timings:
    """The ledgers of a sample, each read once."""

    def __init__(self, layout: Layout, parameters: Parameters) -> None:
        """``parameters`` are those of step ``report.page``."""
        self._layout = layout
        self._times: list[int] = parameters["times"]
        self._volume = triple(parameters["shape"])
        self._pieces_of_steps: dict[str, int] = parameters["steps"]

    def stages(self) -> list[StageTime]:
        """The stages that have run, in the order of the workflow."""
        seconds: dict[str, float] = {}
        pieces: dict[str, int] = {}
        for (name, _), records in self._records.items():
            stage = name.partition(".")[0]
            seconds[stage] = seconds.get(stage, 0.0) + sum(record.seconds for record in records.values())
            pieces[stage] = pieces.get(stage, 0) + len(records)
        voxels = prod(self._volume) * len(self._times)
        return [StageTime(stage, pieces[stage], seconds[stage], voxels) for stage in seconds]

    def counts(self) -> list[Counts]:
        """The figures of each time point."""
        return [
            Counts(
                time,
                self._noted("supervoxels.blocks", time, "supervoxels"),
                self._noted("graph.blocks", time, "edges"),
                self._settled(time),
            )
            for time in self._times
        ]

    def _settled(self, time: int) -> int | None:
        """Objects of the partition: those that its levels settled, and those that the root solved."""
        levels = [step for step in self._pieces_of_steps if step.startswith("partition.level")]
        noted = [self._noted(step, time, "objects") for step in (*levels, "partition.root")]
        known = [number for number in noted if number is not None]
        return sum(known) if len(known) == len(noted) else None

    def _noted(self, step: str, time: int, key: str) -> int | None:
        """A figure, summed over the pieces of a step."""
        found = [record.note[key] for record in self._records.get((step, time), {}).values() if key in record.note]
        return sum(found) if found else None

    @cached_property
    def _records(self) -> dict[tuple[str, int | None], dict[int, Record]]:
        """The youngest records of the pieces of each step and time point."""
        found: dict[tuple[str, int | None], dict[int, Record]] = {}
        for name, count in self._pieces_of_steps.items():
            stage, _, step = name.partition(".")
            for time in (*self._times, None):
                folder = self._layout.ledger(stage, time, step).parent
                put_away = self._layout.cleaned / folder.relative_to(self._layout.folder)
                paths = step_ledgers(folder, step) or step_ledgers(put_away, step)
                records = {piece: record for piece, record in youngest(paths).items() if piece < count}
                if records:
                    found[name, time] = records
        return found
