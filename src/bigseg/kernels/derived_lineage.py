"""Which tracks divide, where only labels that persist in time are known.

The rule. A track *ends* at a time point if its label is there, and never again; it *starts* where it is there for the
first time. Take a time point t and the next one, u:

1. For each track that starts at u, the tracks that end at t are looked at. Its mother may be the one of whose place it
   takes the most: the one with which it shares the most voxels (its label at u and the other at t, at the same place).
   If it shares none with any, its mother may be the one whose centre is nearest, unless that is farther than the
   diameter of a ball with the volume of that mother (of a disc with its area, where the volume is a single plane).
2. A track that may be the mother of two or more has divided. Its daughters are the two that share the most voxels with
   it; of equals those whose centres are nearer, then those with smaller labels.

All other tracks have no parent: a single successor is taken for another object, not for the same under a new label.
Distances are in µm where the voxel size is known, else in voxels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree

from bigseg.geometry.box import Triple
from bigseg.kernels.contingency import Contingency
from bigseg.kernels.lineage import Ids, Lineage, appearing

Vector = tuple[float, float, float]
Points = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Places:
    """Sums over the voxels of each object, ascending by ``label``, each once; those of disjoint blocks add up."""

    label: Ids
    """(n,) uint64, not 0."""
    voxels: npt.NDArray[np.int64]
    """(n,)."""
    sums: npt.NDArray[np.int64]
    """(n, 3) sums of the coordinates (z, y, x) of the voxels."""


def find_places(labels: npt.NDArray[np.integer], begin: Triple) -> Places:
    """The sums of a block.

    Args:
        labels: (z, y, x) integers; 0 is no object.
        begin: position of the block in the volume.
    """
    codes, ids = pd.factorize(labels.reshape(-1))
    count = len(ids)
    voxels = np.bincount(codes, minlength=count)
    grid, sums = codes.reshape(labels.shape), []
    for axis, length in enumerate(labels.shape):
        # Pairs of object and plane are counted, since a sum of coordinates through floating point would round.
        plane = np.arange(length).reshape([-1 if a == axis else 1 for a in range(3)])
        pairs = np.bincount((grid * length + plane).reshape(-1), minlength=count * length).reshape(count, length)
        sums.append((pairs * (np.arange(length) + begin[axis])).sum(axis=1))
    order = np.argsort(ids)
    order = order[ids[order] != 0]
    return Places(
        ids[order].astype(np.uint64), voxels[order].astype(np.int64), np.stack(sums, axis=1)[order].astype(np.int64)
    )


def merge_places(parts: Iterable[Places]) -> Places:
    """Add up the sums of disjoint blocks, in any order."""
    tables = list(parts)
    if not tables:
        return Places(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty((0, 3), np.int64))
    label, inverse = np.unique(np.concatenate([table.label for table in tables]), return_inverse=True)
    voxels, sums = np.zeros(label.size, np.int64), np.zeros((label.size, 3), np.int64)
    np.add.at(voxels, inverse, np.concatenate([table.voxels for table in tables]))
    np.add.at(sums, inverse, np.concatenate([table.sums for table in tables]))
    return Places(label, voxels, sums)


@dataclass(frozen=True, eq=False)
class _Step:
    """What may end at a time point and start at the next: what is there at one of them and not at the other."""

    ending: Ids
    ending_at: Points
    """(n, 3) centres."""
    diameter: npt.NDArray[np.float64]
    """(n,) of the objects that end."""
    starting: Ids
    starting_at: Points
    shared: Contingency
    """Voxels that they share."""


class LineageFinder:
    """Applies the rule to time points that are added one by one, in their order.

    Memory is that of the labels of all time points, and of the pairs of tracks that end and start together.
    """

    def __init__(self, voxel_size: Vector = (1.0, 1.0, 1.0), *, plane: bool = False) -> None:
        """Begin.

        Args:
            voxel_size: (z, y, x) in any unit.
            plane: whether the volume is a single plane, in which sizes are areas.
        """
        self._voxel_size, self._plane = np.asarray(voxel_size), plane
        self._labels: list[tuple[int, Ids]] = []
        self._before: Places | None = None
        self._steps: list[_Step] = []

    def add(self, time: int, places: Places, shared: Contingency) -> None:
        """Add a time point.

        Args:
            time: later than all before.
            places: its objects.
            shared: voxels that each pair of labels (of the time point that was added before, as result, and of this
                one, as truth) shares; ignored for the first.

        Raises:
            ValueError: the time is not later.
        """
        if self._labels and time <= self._labels[-1][0]:
            raise ValueError(f"time point {time} is not later than {self._labels[-1][0]}")
        if self._before is not None:
            self._steps.append(self._step(self._before, places, shared))
        self._labels.append((time, places.label))
        self._before = places

    def lineage(self) -> Lineage:
        """The tracks of all time points, with the mothers of those that come from a division."""
        seen = appearing(self._labels)
        times = [time for time, _ in self._labels]
        parent = np.zeros(seen.track.size, np.uint64)
        for before, after, step in zip(times, times[1:], self._steps, strict=False):
            ends = seen.end[seen.rows(step.ending)] == before
            starts = seen.start[seen.rows(step.starting)] == after
            for mother, daughters in _divisions(step, ends, starts):
                parent[seen.rows(daughters)] = mother
        return Lineage(seen.track, parent, seen.start, seen.end)

    def _step(self, before: Places, after: Places, shared: Contingency) -> _Step:
        ends = np.flatnonzero(~np.isin(before.label, after.label))
        starts = np.flatnonzero(~np.isin(after.label, before.label))
        kept = np.isin(shared.result, before.label[ends]) & np.isin(shared.truth, after.label[starts])
        centres = [
            places.sums[which] / places.voxels[which, None] * self._voxel_size
            for places, which in ((before, ends), (after, starts))
        ]
        if self._plane:
            diameter = np.sqrt(before.voxels[ends] * float(self._voxel_size[1:].prod()) * 4 / np.pi)
        else:
            diameter = np.cbrt(before.voxels[ends] * float(self._voxel_size.prod()) * 6 / np.pi)
        pairs = Contingency(shared.result[kept], shared.truth[kept], shared.count[kept])
        return _Step(before.label[ends], centres[0], diameter, after.label[starts], centres[1], pairs)


def _divisions(
    step: _Step, ends: npt.NDArray[np.bool_], starts: npt.NDArray[np.bool_]
) -> Iterator[tuple[np.uint64, Ids]]:
    """Each mother among those that end, with her two daughters among those that start."""
    ending, ending_at, diameter = step.ending[ends], step.ending_at[ends], step.diameter[ends]
    starting, starting_at = step.starting[starts], step.starting_at[starts]
    if ending.size == 0 or starting.size < 2:
        return
    mother, shared = _overlapping(step.shared, ending, starting)
    alone = np.flatnonzero(mother < 0)
    mother[alone] = _nearest(ending_at, starting_at[alone])
    distance = np.sqrt(np.square(ending_at[mother] - starting_at).sum(axis=1))
    daughters = np.flatnonzero((shared > 0) | (distance <= diameter[mother]))
    # One mother after the other, and of each the daughters from the best to the worst.
    order = daughters[np.lexsort((starting[daughters], distance[daughters], -shared[daughters], mother[daughters]))]
    mothers, first, count = np.unique(mother[order], return_index=True, return_counts=True)
    for row, begin in zip(mothers[count > 1], first[count > 1], strict=True):
        yield ending[row], starting[order[begin : begin + 2]]


def _overlapping(table: Contingency, ending: Ids, starting: Ids) -> tuple[Rows, npt.NDArray[np.int64]]:
    """The row of what each that starts shares the most voxels with, -1 for none, and how many these are."""
    mother, shared = np.full(starting.size, -1, np.int64), np.zeros(starting.size, np.int64)
    kept = np.isin(table.result, ending) & np.isin(table.truth, starting)
    rows = np.searchsorted(ending, table.result[kept])
    columns = np.searchsorted(starting, table.truth[kept])
    count = table.count[kept].astype(np.int64)
    order = np.lexsort((-rows, count, columns))  # the last of each column has the most, and of equals the smallest row
    mother[columns[order]], shared[columns[order]] = rows[order], count[order]
    return mother, shared


def _nearest(points: Points, of: Points) -> Rows:
    """The row of ``points`` that is nearest to each of ``of``; of equals the first."""
    if not len(of):
        return np.empty(0, np.int64)
    distance, rows = cKDTree(points).query(of, k=min(4, len(points)))
    distance, rows = distance.reshape(len(of), -1), rows.reshape(len(of), -1)
    return np.asarray(np.where(distance == distance[:, :1], rows, len(points)).min(axis=1), np.int64)
