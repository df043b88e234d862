"""Into which batches the blocks of each step are cut.

The configuration says how many there shall be. A step that is done keeps those that it was done in: another number in
the configuration starts nothing again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from bigseg.geometry.batches import batch_name, make_batches, tile
from bigseg.resume.marker import markers_of
from bigseg.stages.step import Step
from bigseg.stages.upstream import upstream_steps


class Batching:
    """The batches of one sample's steps, decided once, from the markers that are there at the first question."""

    def __init__(
        self,
        batches: int,
        step: Callable[[str, int | None], Step],
        is_done: Callable[[Step, int | None, str | None], bool],
    ) -> None:
        """Decide nothing yet.

        Args:
            batches: upper limit of batches per step and time point.
            step: makes a step of a name, at a time point.
            is_done: whether a job (step, time point, name of its batch) has a marker of these parameters.
        """
        self._batches = batches
        self._step = step
        self._is_done = is_done
        self.of = cache(self._of)
        self._settled = cache(self._is_settled)

    def _of(self, name: str, time: int | None) -> list[range]:
        """The batches of a step (``stage.step``) at a time point."""
        step = self._step(name, time)
        total = step.number_of_pieces
        wanted = make_batches(total, self._batches)
        there = markers_of(step.layout.marker(step.stage, time, step.step).parent, step.step)
        if all(batch in there for batch in wanted):
            return wanted
        kept = tile((batch for batch in there if self._is_done(step, time, batch_name(batch))), total)
        return kept if kept and self._settled_upstream(step) else wanted

    def _is_settled(self, name: str, time: int | None) -> bool:
        """Whether a step and all that it needs have markers of these parameters."""
        step = self._step(name, time)
        names = [batch_name(batch) for batch in self.of(name, time)] if step.in_batches else [None]
        return all(self._is_done(step, time, batch) for batch in names) and self._settled_upstream(step)

    def _settled_upstream(self, step: Step) -> bool:
        """Whether what a step needs is done: otherwise it will run, and then as the configuration says."""
        return all(self._settled(*needed) for needed in upstream_steps(step, range(1)))
