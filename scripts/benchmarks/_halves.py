"""A crowd whose objects come in two halves each, and walls of which some are weak and some stand where there is none.

Everything is made without voxels: halves are half-balls, cut anew in each time point, and what they share with those of
the next time point follows from the angle between the two cuts. The walls are such that every threshold joins objects
or leaves some in halves, each time others.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from _crowd import DIAMETER, crowd, overlaps_of_balls
from scipy.spatial import KDTree

from bigseg.geometry.movie import Junction, Window
from bigseg.kernels.agglomerate import contract_average
from bigseg.kernels.contingency import Contingency
from bigseg.kernels.lineage import Lineage
from bigseg.kernels.tracking.candidates import LinkCosts, candidates
from bigseg.kernels.tracking.hierarchy import (
    Hierarchy,
    Limits,
    build,
    candidate_overlaps,
    choice,
    spacing_um,
    weigh,
    weights,
)
from bigseg.kernels.tracking.model import Detections, Events, Flags, Floats, Ids, Indices, Overlaps, Solution
from bigseg.kernels.tracking.program import solve
from bigseg.kernels.tracking.tracing import Traced, trace
from bigseg.kernels.tracking.windows import solve_junction, solve_window
from bigseg.kernels.tracking_scores import TrackingScores, TrackingTally

WEAK, STRANGE = 0.02, 0.1
"""Share of the walls that are weak, and of the objects that a wall crosses, at each time point."""
REACH = 1.35
"""Diameters up to which objects have a wall in common: some ten with each."""


@dataclass(frozen=True, eq=False)
class Halves:
    """One time point: halves 2k and 2k + 1 (rows) are those of object k."""

    fragments: Detections
    """Ids are 1 + row."""
    u: Ids
    """(k,) uint64 half on one side of each contact."""
    v: Ids
    """(k,) uint64 half on the other."""
    area: Floats
    """(k,) float64 voxel faces."""
    evidence: Floats
    """(k,) float64 mean boundary evidence."""


def halves(objects: int, times: int, seed: int = 0) -> tuple[list[Halves], list[Overlaps], list[Traced]]:
    """A movie: its time points, what halves share with those of the next one, and the true tracks of the objects."""
    generator = np.random.default_rng(seed)
    whole, sources = crowd(objects, times, seed)
    normals = [generator.normal(size=(len(frame.ids), 3)) for frame in whole]
    normals = [normal / np.linalg.norm(normal, axis=1, keepdims=True) for normal in normals]
    frames = [_cut(frame, normal, generator) for frame, normal in zip(whole, normals, strict=True)]
    shared = [
        _share(overlaps_of_balls(*pair), *cuts)
        for pair, cuts in zip(itertools.pairwise(whole), itertools.pairwise(normals), strict=True)
    ]
    everything = tuple(np.ones(len(frame.ids), bool) for frame in whole)
    truth = trace(range(times), Solution(everything, tuple(_true_events(source) for source in sources)))
    return frames, shared, truth


def _cut(whole: Detections, normal: Floats, generator: np.random.Generator) -> Halves:
    number = len(whole.ids)
    radius = np.cbrt(3 * whole.volume_um3 / (4 * np.pi))
    shift = 3 / 8 * radius[:, None] * normal  # the centre of a half-ball
    position = np.stack([whole.position_um + shift, whole.position_um - shift], axis=1).reshape(-1, 3)
    fragments = Detections(
        np.arange(1, 2 * number + 1, dtype=np.uint64),
        position,
        np.repeat(whole.volume_um3 / 2, 2),
        np.repeat(whole.border_um, 2),
    )
    inner = np.arange(number)
    near = KDTree(whole.position_um).query_pairs(REACH * DIAMETER, output_type="ndarray")
    toward = (normal[near] * np.diff(whole.position_um[near], axis=1)).sum(axis=2) * [1, -1] < 0
    one, other = 2 * near[:, 0] + toward[:, 0], 2 * near[:, 1] + toward[:, 1]  # the halves that look at each other
    weak = generator.random(len(near)) < WEAK
    strange = generator.random(number) < STRANGE
    low = np.concatenate([np.where(strange, 0.5, 0.05), np.where(weak, 0.3, 0.75)])
    return Halves(
        fragments,
        np.concatenate([2 * inner, one]).astype(np.uint64) + np.uint64(1),
        np.concatenate([2 * inner + 1, other]).astype(np.uint64) + np.uint64(1),
        np.concatenate([np.full(number, 60.0), np.full(len(near), 20.0)]),
        low + generator.uniform(0, 0.2, len(low)),
    )


def _share(whole: Overlaps, before: Floats, after: Floats) -> Overlaps:
    """What halves share: of two balls at one place, those on the same side 1 - angle / π of a half."""
    i, j = (ids.astype(np.int64) - 1 for ids in (whole.source, whole.target))
    same = 1 - np.arccos(np.clip((before[i] * after[j]).sum(axis=1), -1, 1)) / np.pi
    part = np.stack([same, 1 - same, 1 - same, same], axis=1) / 2
    source = 2 * i[:, None] + [0, 0, 1, 1] + 1
    target = 2 * j[:, None] + [0, 1, 0, 1] + 1
    volume = part * whole.volume_um3[:, None]
    return Overlaps(source.ravel().astype(np.uint64), target.ravel().astype(np.uint64), volume.ravel())


def _true_events(source: Indices) -> Events:
    order = np.argsort(source, kind="stable")
    count = np.bincount(source)[source[order]]
    links = np.stack([source[order], order], axis=1)[count == 1]
    pairs = np.sort(order[count == 2].reshape(-1, 2), axis=1)
    return Events(links, np.column_stack([source[pairs[:, 0]], pairs]))


@dataclass(frozen=True)
class CrowdInHalves:
    """A movie as :func:`halves` makes it; every job makes it anew, which takes less than a second."""

    objects: int
    times: int

    @cached_property
    def _made(self) -> tuple[list[Halves], list[Overlaps], list[Traced]]:
        return halves(self.objects, self.times)

    def _tree(self, time: int) -> Hierarchy:
        frame = self._made[0][time]
        largest = 20 * float(np.median(frame.fragments.volume_um3))
        limits = Limits(maximum_volume_um3=largest)
        return build(frame.fragments, frame.u, frame.v, frame.area, frame.evidence, limits)

    def _weights(self, tree: Hierarchy, time: int) -> Floats:
        return weights(tree, float(np.median(self._made[0][time].fragments.volume_um3)))

    @property
    def candidates(self) -> int:
        """Candidates of the first time point."""
        return len(self._tree(0).parent)

    def solve(self, folder: Path, part: Window | Junction) -> None:
        """Build the candidates of a window or a junction, solve it, and write what was chosen to a folder."""
        frames, shared, _ = self._made
        times = range(part.first, part.last)
        trees = [self._tree(time) for time in times]
        heavy = [self._weights(tree, time) for tree, time in zip(trees, times, strict=True)]
        pairs = []
        for place, (one, other) in enumerate(itertools.pairwise(trees)):
            ids = (frames[times[place]].fragments.ids, frames[times[place + 1]].fragments.ids)
            common = candidate_overlaps(one, other, shared[times[place]], ids)
            scale, parent = spacing_um(one, other), other.parent
            pair = candidates(one.detections, other.detections, common, LinkCosts(), scale_um=scale, parent=parent)
            pairs.append(weigh(pair, heavy[place], heavy[place + 1]))
        choices = [choice(tree, weight) for tree, weight in zip(trees, heavy, strict=True)]
        if isinstance(part, Window):
            solution, first = solve_window(part, pairs, choices), part.begin
        else:
            ends = (self._selected(folder, part.first), self._selected(folder, part.last - 1))
            solution, first = solve_junction(part, pairs, *ends, choices), part.first
        for time, selected in enumerate(solution.selected, first):
            np.save(folder / f"selected-{time}.npy", selected)
        for time, events in enumerate(solution.events, first):
            np.savez(folder / f"events-{time}.npz", links=events.links, divisions=events.divisions)

    def _selected(self, folder: Path, time: int) -> Flags:
        found: Flags = np.load(folder / f"selected-{time}.npy")
        return found

    def scores(self, folder: Path) -> TrackingScores:
        """Scores of what was chosen."""
        frames, _, truth = self._made
        selected = tuple(self._selected(folder, time) for time in range(self.times))
        events = []
        for time in range(self.times - 1):
            with np.load(folder / f"events-{time}.npz") as file:
                events.append(Events(**file))
        of_half = []
        for time, flags in enumerate(selected):
            tree = self._tree(time)
            taken = flags[tree.candidate]
            of_half.append((tree.leaf[taken], tree.candidate[taken]))
        return scores(frames, truth, Solution(selected, tuple(events)), of_half)

    def scores_of_threshold(self, threshold: float) -> TrackingScores:
        """Scores of the objects that one threshold makes, linked by the program."""
        frames, shared, truth = self._made
        made = [joined(frame, threshold) for frame in frames]
        pairs = [
            candidates(a[0], b[0], joined_overlaps(common, a[1], b[1]), LinkCosts())
            for (a, b), common in zip(itertools.pairwise(made), shared, strict=True)
        ]
        return scores(frames, truth, solve(pairs), [(np.arange(len(of)), of) for _, of in made])


def joined(frame: Halves, threshold: float) -> tuple[Detections, Indices]:
    """The objects that a threshold makes of the halves, and the row of each half's."""
    pairs = np.stack([frame.u, frame.v], axis=1) - np.uint64(1)
    found = contract_average(
        len(frame.fragments.ids), pairs, -frame.area * frame.evidence, frame.area, offset=threshold
    )
    _, of_half = np.unique(found.clusters, return_inverse=True)
    volume: Floats = np.bincount(of_half, frame.fragments.volume_um3).astype(np.float64)
    moment = [np.bincount(of_half, frame.fragments.volume_um3 * column) for column in frame.fragments.position_um.T]
    border = np.full(len(volume), np.inf)
    np.minimum.at(border, of_half, frame.fragments.border_um)
    ids = np.arange(1, len(volume) + 1, dtype=np.uint64)
    return Detections(ids, np.stack(moment, axis=1) / volume[:, None], volume, border), of_half.astype(np.int64)


def joined_overlaps(shared: Overlaps, before: Indices, after: Indices) -> Overlaps:
    """What the objects that thresholds make share."""
    source, target = before[shared.source.astype(np.int64) - 1], after[shared.target.astype(np.int64) - 1]
    key, place = np.unique(source * (int(after.max()) + 1) + target, return_inverse=True)
    pairs = np.stack(np.divmod(key, int(after.max()) + 1)).astype(np.uint64) + np.uint64(1)
    return Overlaps(pairs[0], pairs[1], np.bincount(place, shared.volume_um3).astype(np.float64))


def scores(
    frames: list[Halves], truth: list[Traced], solution: Solution, of_half: list[tuple[Indices, Indices]]
) -> TrackingScores:
    """Scores of a solution.

    Args:
        frames: the movie.
        truth: its true tracks.
        solution: what was chosen.
        of_half: for each time point halves (rows), and for each of them a detection that contains it.
    """
    traced, tally = trace(range(len(frames)), solution), TrackingTally()
    for time, (frame, true, found) in enumerate(zip(frames, truth, traced, strict=True)):
        track = np.zeros(len(frame.fragments.ids), np.uint64)
        rows, detection = of_half[time]
        taken: Flags = found.track[detection] > 0
        track[rows[taken]] = found.track[detection[taken]]
        name = np.repeat(true.track, 2).astype(np.uint64)
        key, place = np.unique(np.stack([track, name], axis=1), axis=0, return_inverse=True)
        voxels = np.bincount(place.ravel(), 100 * frame.fragments.volume_um3).astype(np.uint64)
        tally.add(time, Contingency(key[:, 0], key[:, 1], voxels))
    return tally.scores(_lineage(traced), _lineage(truth))


def _lineage(traced: list[Traced]) -> Lineage:
    number = traced[-1].number
    parent, start, end = np.zeros(number, np.uint64), np.zeros(number, np.int64), np.zeros(number, np.int64)
    for time, frame in enumerate(traced):
        taken = frame.track > 0
        rows = frame.track[taken].astype(np.int64) - 1
        parent[rows], start[rows], end[rows] = frame.parent[taken], frame.start[taken], time
    return Lineage(np.arange(1, number + 1, dtype=np.uint64), parent, start, end)
