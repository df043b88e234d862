"""Seam counts and figures voxel by voxel, straight from their definitions; and whole volumes in one call."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bigseg.geometry.grid import Grid
from bigseg.kernels.seam_summary import SeamSummary, summarise
from bigseg.kernels.seams import SeamSum, SeamTables, count_seams


def count(
    labels: np.ndarray,
    truth: np.ndarray | None,
    grid: Grid,
    distance: int = 8,
    read: tuple[int, int, int] | None = None,
) -> SeamTables:
    """The tables of a volume (z, y, x) that is read in blocks of shape ``read``; in one piece if left out."""
    reading, total = Grid(grid.shape, read or grid.shape), SeamSum()
    for index in range(reading.number_of_blocks):
        box = reading.box(index)
        outer = box.grow((0, 0, 0), (1, 1, 1), grid.shape)
        part = None if truth is None else truth[box.slices]
        total.add(count_seams(labels[outer.slices], part, box, grid, distance))
    return total.total()


def figures(
    labels: np.ndarray, truth: np.ndarray | None, grid: Grid, distance: int = 8, minimum_cut: int = 8
) -> SeamSummary:
    """The figures of a volume (z, y, x)."""
    return summarise(grid, distance, minimum_cut, [(0, count(labels, truth, grid, distance))])


@dataclass
class Slow:
    """What is to be counted, one voxel face after the other."""

    surface: Counter[tuple[int, int]] = field(default_factory=Counter)
    area: Counter[tuple[int, int]] = field(default_factory=Counter)
    on_faces: dict[tuple[int, int], list[tuple[int, ...]]] = field(default_factory=dict)
    pairs: Counter[tuple[int, int, int]] = field(default_factory=Counter)


def slowly(labels: np.ndarray, truth: np.ndarray, grid: Grid, distance: int) -> Slow:
    """Count by the definitions alone."""
    found = Slow()
    faces = [range(block, n, block) for n, block in zip(grid.shape, grid.block_shape, strict=True)]
    for voxel in np.ndindex(labels.shape):
        for axis in range(3):
            above = tuple(v + (a == axis) for a, v in enumerate(voxel))
            if above[axis] == labels.shape[axis]:
                continue
            found.surface[axis, above[axis]] += int(labels[voxel] != labels[above])
            pair = tuple(sorted((int(labels[voxel]), int(labels[above]))))
            if pair[0] != pair[1] and 0 not in pair:
                found.area[pair] += 1
                if above[axis] in faces[axis]:
                    found.on_faces.setdefault(pair, []).append(voxel)
        # A voxel touches the planes ``voxel`` and ``voxel + 1``; beside a face the distance is 1.
        near = [min(abs(voxel[axis] - f) + 1 if voxel[axis] >= f else f - voxel[axis] for f in faces[axis])
                for axis in range(3) if len(faces[axis])]  # fmt: skip
        least = min(near, default=distance + 1)
        key = (least if least <= distance else 0, int(labels[voxel]), int(truth[voxel]))
        found.pairs[key] += 1
    return found


def rows(table: Any, keys: list[str], value: str) -> dict[tuple[int, ...], int]:
    """A column of a table by its keys."""
    return {
        tuple(int(k) for k in key): int(v)
        for key, v in zip(table[keys].itertuples(index=False), table[value], strict=True)
    }
