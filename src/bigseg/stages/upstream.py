"""Which markers a job needs: asked by the planner for a rule's input and by the runner for its keys."""

from __future__ import annotations

from pathlib import Path

from bigseg.geometry.batches import batch_name, batches_of, make_batches
from bigseg.stages import find_step
from bigseg.stages.step import Need, Step


def need_time(step: Step, need: Need) -> int | None:
    """The time point that a need is about; None for a step over all of them."""
    if not find_step(need.step).per_time:
        return None
    return step.time if need.time is None else need.time


def upstream_markers(step: Step, pieces: range, batches: int, *, keys_only: bool = False) -> list[Path]:
    """Markers of the jobs that ``pieces`` of a step need, in the order of steps and batches.

    Args:
        step: the step.
        pieces: numbers of its pieces, consecutive.
        batches: upper limit of jobs per step and time point.
        keys_only: leave out what is no part of the keys.
    """
    wanted: dict[tuple[str, int, int | None], set[int]] = {}
    for need in step.needs_of_run(pieces):
        if need.in_key or not keys_only:
            wanted.setdefault((need.step, need.total, need_time(step, need)), set()).update(need.pieces)
    found = []
    for (needed, total, time), numbers in wanted.items():
        kind = find_step(needed)
        cut = make_batches(total, batches)
        names = [batch_name(cut[i]) for i in batches_of(numbers, cut)] if kind.in_batches else [None]
        found += [step.layout.marker(kind.stage, time, kind.unit(name)) for name in names]
    return found
