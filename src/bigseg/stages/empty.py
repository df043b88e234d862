"""Empty blocks: blocks without anything to segment, which are not computed.

A block is empty where the mask excludes all of it, where the image holds nothing but the sample's ``background``, or
where no supervoxels or objects were found. What follows from an empty block is empty as well, stage by stage
(:meth:`bigseg.stages.step.Step.empty_with`): no supervoxels, no edges, no objects, zeros; where labels are compared
with a truth, if that is empty too (:meth:`bigseg.stages.step.Step.nothing_beside`). Its output is the same as that of
any other empty block like it, so the first one of a job is computed, and the others repeat it
(:meth:`bigseg.stages.step.Step.repeat`). Markers list empty blocks, so that a job knows of those that it needs without
opening anything.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping

from bigseg.stages.step import Outcome, Step
from bigseg.stages.upstream import need_time

Empty = Mapping[tuple[str, int | None], set[int]]
"""Empty pieces by step and time point."""

EVIDENCE = "empty"
"""Stands in the key of an empty piece for whatever else it would read."""


class EmptyPieces:
    """The empty pieces of a job, and the first of each kind."""

    def __init__(self, step: Step, upstream: Empty) -> None:
        """Know what upstream pieces are empty."""
        self._step, self._upstream = step, upstream
        self._lock = threading.Lock()
        self._first: dict[Hashable, tuple[int, Outcome]] = {}

    def __contains__(self, piece: int) -> bool:
        """Whether a piece is known to be empty before it is computed."""
        needs = self._step.empty_with(piece)
        follows = bool(needs) and all(
            number in self._upstream.get((need.step, need_time(self._step, need)), ())
            for need in needs
            for number in need.pieces
        )
        return (follows and self._step.nothing_beside(piece)) or self._step.left_out(piece)

    def process(self, piece: int) -> Outcome:
        """Make the output of an empty piece durable."""
        kind = self._step.alike(piece)
        with self._lock:
            if kind in self._first:
                like, outcome = self._first[kind]
                self._step.repeat(piece, like)
                return outcome
            found = self._step.process_empty(piece)
            outcome = Outcome(found.digest, {**found.note, "empty": True})
            self._first[kind] = (piece, outcome)
            return outcome
