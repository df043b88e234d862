"""Which markers a job needs: asked by the planner for a rule's input and by the runner for its keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bigseg.geometry.batches import batch_name, batches_of
from bigseg.resume.marker import markers_for
from bigseg.stages import find_step
from bigseg.stages.step import Need, Step

Cut = Callable[[str, int | None], list[range]]
"""The batches of a step (``stage.step``) at a time point."""


def need_time(step: Step, need: Need) -> int | None:
    """The time point that a need is about; None for a step over all of them."""
    if not find_step(need.step).per_time:
        return None
    return step.time if need.time is None else need.time


def upstream_steps(step: Step, pieces: range) -> list[tuple[str, int | None]]:
    """The steps that ``pieces`` of a step need, each with its time point."""
    return list(_wanted(step, pieces, keys_only=False))


def upstream_markers(step: Step, pieces: range, cut: Cut) -> list[Path]:
    """Markers of the jobs that ``pieces`` of a step need, in the order of steps and batches.

    Args:
        step: the step.
        pieces: numbers of its pieces, consecutive.
        cut: into which batches each step is cut.
    """
    found = []
    for (needed, time), numbers in _wanted(step, pieces, keys_only=False).items():
        kind = find_step(needed)
        names: list[str | None] = [None]
        if kind.in_batches:
            batches = cut(needed, time)
            names = [batch_name(batches[i]) for i in batches_of(numbers, batches)]
        found += [step.layout.marker(kind.stage, time, kind.unit(name)) for name in names]
    return found


def markers_there(step: Step, pieces: range, *, keys_only: bool = False) -> list[Path]:
    """Markers that are there of the jobs that ``pieces`` of a step need, whatever batches these had.

    Args:
        step: the step.
        pieces: numbers of its pieces, consecutive.
        keys_only: leave out what is no part of the keys.
    """
    found = []
    for (needed, time), numbers in _wanted(step, pieces, keys_only=keys_only).items():
        kind = find_step(needed)
        marker = step.layout.marker(kind.stage, time, kind.unit(None))
        if kind.in_batches:
            found += markers_for(marker.parent, kind.step, numbers)
        elif marker.exists():
            found.append(marker)
    return found


def _wanted(step: Step, pieces: range, *, keys_only: bool) -> dict[tuple[str, int | None], set[int]]:
    """The pieces that are needed, by step and time point."""
    wanted: dict[tuple[str, int | None], set[int]] = {}
    for need in step.needs_of_run(pieces):
        if need.in_key or not keys_only:
            wanted.setdefault((need.step, need_time(step, need)), set()).update(need.pieces)
    return wanted
