"""The events between a time point and the one before: those that may happen, with their costs, or those that do.

Where all objects are taken, the pairs of time points have nothing in common (:mod:`bigseg.kernels.tracking.windows`),
so each is solved here. Where objects are chosen while they are linked, steps ``windows`` and ``junctions`` do that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.stages.step import Need, Outcome, Parameters, WholeStep, digest_tables, grid_parameters
from bigseg.stages.track.detections import needs_detections
from bigseg.stages.track.drift import read_drift
from bigseg.stages.track.settings import NESTED, VERSION, PairStep, largest_shift, movie_parameters

if TYPE_CHECKING:
    from pathlib import Path

    from bigseg.config import Config
    from bigseg.kernels.tracking.model import Events, Pair
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record

CANDIDATES = ("links", "divisions", "appearance", "disappearance", "scale")
"""Tables of events that may happen."""

CHOSEN = ("events",)
"""Table of those that do."""


class TrackLinks(PairStep, WholeStep):
    """Make the candidates of a pair of time points from overlaps and distances, and choose among them."""

    stage, step, version = "track", "links", VERSION

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The coefficients of the costs."""
        return {
            **grid_parameters(plan),
            **movie_parameters(plan),
            "voxel_size_um": list(plan.voxel_size_um),
            "largest_shift": list(largest_shift(config, plan)),
            "costs": config.track.costs.model_dump(),
            "method": config.track.method,
        }

    def needs(self, piece: int) -> list[Need]:
        """The detections of both time points and what they share."""
        blocks = range(self.grid.number_of_blocks)
        found = [
            needs_detections(self.previous),
            needs_detections(self.time),
            Need("track.overlaps", blocks, len(blocks)),
        ]
        return [*found, Need("track.drift", [0])] if any(self.parameters["largest_shift"]) else found

    def evidence(self, piece: int) -> str:
        """The time point before."""
        return digest_json(self.previous)

    def tables(self, piece: int) -> list[Path]:
        """The events that may happen, or those that do."""
        return [self.layout.table("track", name, self.time) for name in self._names]

    def process(self, piece: int) -> Outcome:
        """Make them and write their tables."""
        import numpy as np

        from bigseg.kernels.tracking.candidates import LinkCosts, candidates
        from bigseg.kernels.tracking.overlaps import add_up_overlaps
        from bigseg.stages.track.nested import nested_overlaps, nested_spacing, weighed
        from bigseg.stages.track.tables import detections_of, event_columns, overlaps_of, pair_tables
        from bigseg.volumes.tables import read_table, write_table

        voxel_size = np.array(self.parameters["voxel_size_um"])
        blocks = range(self.grid.number_of_blocks)
        parts = [read_table(self.layout.table("track", "overlaps", self.time, block)) for block in blocks]
        overlaps = overlaps_of(add_up_overlaps(parts), float(voxel_size.prod()))
        times, nested = (self.previous, self.time), self.parameters["method"] in NESTED
        if nested:
            overlaps = nested_overlaps(self.layout, times, overlaps)
        table = "candidates" if nested else "fragments"
        found, later = (read_table(self.layout.table("track", table, time)) for time in times)
        before, after = detections_of(found), detections_of(later)
        costs, drift = LinkCosts(**self.parameters["costs"]), np.array(read_drift(self)) * voxel_size
        scale = nested_spacing(self.layout, times) if nested else None
        parent = later["parent"] if nested else None
        pair = candidates(before, after, overlaps, costs, drift, self.gap, scale, parent)
        if nested:
            pair = weighed(self.layout, times, pair)
            written = pair_tables(pair)
        else:
            written = {"events": event_columns(self._choose(pair))}
        for path, name in zip(self.tables(piece), self._names, strict=True):
            write_table(path, written[name])
        digest = digest_arrays(*(column for name in self._names for column in written[name].values()))
        return Outcome(digest, {"candidates": len(pair.links) + len(pair.divisions)})

    def rehash(self, piece: int, record: Record) -> str:
        """All tables."""
        return digest_tables(self.tables(piece))

    @property
    def _names(self) -> tuple[str, ...]:
        return CANDIDATES if self.parameters["method"] in NESTED else CHOSEN

    def _choose(self, pair: Pair) -> Events:
        from bigseg.kernels.tracking.greedy import solve_greedy
        from bigseg.kernels.tracking.program import solve

        solution = solve_greedy([pair]) if self.parameters["method"] == "greedy" else solve([pair])
        return solution.events[0]
