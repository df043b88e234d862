"""What the counts of ``bigseg.kernels.seams`` say: surface in excess on block faces, objects cut, errors near faces.

Planes parallel to a block face tell what surface it would have if it were a plane like any other. Its *expected*
surface is the mean of the ``BESIDE`` nearest planes on both sides that are no block faces themselves; a trend along the
axis cancels, and farther planes would say less, because tissue has layers. The *excess* is what the face has beyond
that. The same figure of every plane whose neighbourhood holds no block face shows what chance and the tissue alone do;
their root mean square gives the standard error.

An object is held to be **cut** by block faces where two objects are in contact, at least ``CUT_SHARE`` of that contact
lies on block faces, and the part on them is at least a square with an edge of ``minimum_cut`` voxels (in an image of a
single plane, a line of that length). Walls that are flat by chance meet this too; how many to expect tell as many
planes half a block away from the faces.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import pandas as pd

from bigseg.geometry.grid import Grid
from bigseg.kernels.seam_errors import count_errors
from bigseg.kernels.seams import SeamTables, number_of_faces

BESIDE = 2
"""Planes on either side of a block face that tell what surface to expect."""
CUT_SHARE = 0.8
"""Share of the contact of two objects that lies on block faces where these cut an object."""
WORST = 20
"""Cuts that are listed."""


class Excess(TypedDict):
    """Surface on block faces against the planes beside them."""

    surface_on_faces: int
    """Voxel faces between different labels, on the block faces that have planes beside them."""
    expected: float
    """The same, if the block faces were like the planes beside them."""
    ratio: float | None
    """The one by the other; None where nothing is expected."""
    ratio_error: float | None
    """Standard error of the ratio; None where no plane is far enough from block faces to tell."""
    excess_share: float
    """Surface on faces in excess of what is expected, as a share of all surface along all axes."""
    excess_error: float | None
    """Standard error of the share."""


class AxisExcess(Excess):
    """The same across one axis, with the profile behind it."""

    axis: str
    faces: int
    """Block faces across the axis, each as wide as the volume."""
    offsets: list[int]
    """Distance of a plane from the nearest block face, in voxels; 0 is the face."""
    surface: list[int]
    """Voxel faces between different labels on the planes at each offset."""
    positions: list[int]
    """Voxel faces, between whatever labels, on these planes."""


class Cut(TypedDict):
    """Two objects that a block face makes of one."""

    time: int
    objects: list[int]
    area: int
    """Voxel faces between the two."""
    share_on_faces: float
    position: list[int]
    """Voxel (z, y, x) in the middle of the contact on block faces."""


class Errors(TypedDict):
    """Voxels in error near block faces and far from them, of those with a truth other than 0."""

    near: float | None
    """Share in error within the distance of a block face."""
    far: float | None
    """Share in error elsewhere."""
    voxels: list[int]
    """Voxels at distance 1, 2, … from the nearest block face, and at last those farther away."""
    errors: list[int]
    """Of these, voxels in error."""


class SeamSummary(TypedDict):
    """The seam report, as it is written to ``seams.json``."""

    shape: list[int]
    block_shape: list[int]
    distance: int
    minimum_area: int
    """Voxel faces of the smallest contact that counts as a cut."""
    time_points: int
    surface: int
    """Voxel faces between different labels in the whole volume, of all time points."""
    all_axes: Excess
    axes: list[AxisExcess]
    """The axes that have block faces."""
    cuts: int
    """Pairs of objects cut by block faces."""
    cuts_by_chance: int
    """Pairs that would count as cut if as many planes, each half a block below a face, were the block faces."""
    worst_cuts: list[Cut]
    """The largest of them."""
    errors: Errors | None
    """See ``bigseg.kernels.seam_errors``; None where there is no truth."""


@dataclass
class _Axis:
    """Sums over the planes across one axis, and over time points."""

    surface: np.ndarray
    """By offset, as the positions."""
    positions: np.ndarray
    faces: int = 0
    """Block faces that have planes beside them."""
    on_faces: int = 0
    expected: float = 0.0
    others: int = 0
    """Planes that tell what chance does."""
    squares: float = 0.0
    """Sum over these planes of the square of what they have in excess."""

    @property
    def variance(self) -> float | None:
        """Of the excess of all faces; None where nothing tells."""
        return self.faces * self.squares / self.others if self.others else None


@dataclass
class _Sums:
    """What is summed over time points."""

    axes: list[_Axis]
    surface: int = 0
    cuts: int = 0
    by_chance: int = 0
    worst: list[Cut] = field(default_factory=list)
    voxels: np.ndarray | None = None
    errors: np.ndarray | None = None


def summarise(
    grid: Grid, distance: int, minimum_cut: int, time_points: Iterable[tuple[int, SeamTables]]
) -> SeamSummary:
    """The figures of all time points together.

    Args:
        grid: the blocks.
        distance: that the counts were made with.
        minimum_cut: edge in voxels of the smallest contact that counts as a cut.
        time_points: each with its number and its tables, added up over all boxes; a generator need not hold them.

    Returns:
        Plain Python numbers and lists, never NaN.
    """
    offsets = np.arange(-distance, distance + 1)
    sums = _Sums([_Axis(np.zeros(len(offsets), np.int64), np.zeros(len(offsets), np.int64)) for _ in range(3)])
    times = 0
    for time, tables in time_points:
        times += 1
        sums.surface += int(tables.surface["surface"].sum())
        for axis, axis_sums in enumerate(sums.axes):
            rows = tables.surface[tables.surface["axis"] == axis]
            surface = np.zeros(grid.shape[axis] - 1, np.int64)
            surface[rows["plane"].to_numpy() - 1] = rows["surface"].to_numpy()
            _add_surface(axis_sums, surface, grid, axis, distance)
        _add_cuts(sums, tables.contacts, grid, minimum_cut, time)
        if tables.pairs is not None:
            voxels, errors = count_errors(tables.pairs, distance)
            sums.voxels = voxels if sums.voxels is None else sums.voxels + voxels
            sums.errors = errors if sums.errors is None else sums.errors + errors
    return SeamSummary(
        shape=list(grid.shape),
        block_shape=list(grid.block_shape),
        distance=distance,
        minimum_area=smallest_cut(grid, minimum_cut),
        time_points=times,
        surface=sums.surface,
        all_axes=_excess(sums.axes, sums.surface),
        axes=[
            AxisExcess(
                axis="zyx"[axis],
                faces=number_of_faces(grid.shape[axis], grid.block_shape[axis]),
                offsets=offsets.tolist(),
                surface=found.surface.tolist(),
                positions=found.positions.tolist(),
                **_excess([found], sums.surface),
            )
            for axis, found in enumerate(sums.axes)
            if number_of_faces(grid.shape[axis], grid.block_shape[axis])
        ],
        cuts=sums.cuts,
        cuts_by_chance=sums.by_chance,
        worst_cuts=sums.worst,
        errors=None if sums.voxels is None or sums.errors is None else _errors(sums.voxels, sums.errors),
    )


def smallest_cut(grid: Grid, minimum_cut: int) -> int:
    """Voxel faces of the smallest contact that counts as a cut: a square, or a line in an image of a single plane."""
    return int(minimum_cut ** max(1, sum(n > 1 for n in grid.shape) - 1))


def nearest_faces(length: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """The block face nearest to each plane of an axis; of two that are as near, the lower one.

    Args:
        length: of the axis in voxels; it has block faces.
        block: length of a block.

    Returns:
        (length - 1,) int64 plane of the face, for planes 1, 2, …, and (length - 1,) int64 offset of each plane from it.
    """
    planes = np.arange(1, length)
    faces = np.clip((planes + (block - 1) // 2) // block, 1, number_of_faces(length, block)) * block
    return faces, planes - faces


def expected_surface(surface: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """What surface to expect on each plane of an axis from the planes beside it.

    Args:
        surface: (n - 1,) voxel faces between different labels on planes 1, 2, … of an axis of n voxels.
        block: length of a block.

    Returns:
        (n - 1,) float64 expected surface, NaN for a plane without a pair of planes beside it, one on either side; and
        (n - 1,) bool whether a block face is no farther than ``BESIDE``.
    """
    planes = np.arange(1, len(surface) + 1)
    total, count, near = np.zeros(len(planes)), np.zeros(len(planes)), planes % block == 0
    for shift in range(1, BESIDE + 1):
        below, above = planes - shift, planes + shift
        faces = (below % block == 0) | (above % block == 0)
        near = near | faces
        valid = (below >= 1) & (above <= len(planes)) & ~faces
        total[valid] += surface[below[valid] - 1] + surface[above[valid] - 1]
        count[valid] += 2
    return np.divide(total, count, out=np.full(len(planes), np.nan), where=count > 0), near


def _add_surface(sums: _Axis, surface: np.ndarray, grid: Grid, axis: int, distance: int) -> None:
    """Add the planes across one axis at one time point, of which there is a count of each."""
    length, block = grid.shape[axis], grid.block_shape[axis]
    if not number_of_faces(length, block):
        return
    _, offsets = nearest_faces(length, block)
    near = np.abs(offsets) <= distance
    np.add.at(sums.surface, offsets[near] + distance, surface[near])
    np.add.at(sums.positions, offsets[near] + distance, math.prod(grid.shape) // length)
    expected, near_face = expected_surface(surface, block)
    known = ~np.isnan(expected)
    faces, others = known & (offsets == 0), known & ~near_face
    sums.faces += int(faces.sum())
    sums.on_faces += int(surface[faces].sum())
    sums.expected += math.fsum(expected[faces])
    sums.others += int(others.sum())
    sums.squares += math.fsum((surface - expected)[others] ** 2)


def _add_cuts(sums: _Sums, contacts: pd.DataFrame, grid: Grid, minimum_cut: int, time: int) -> None:
    """Find the cuts of one time point and keep the largest of all."""
    found, by_chance = (
        contacts[(contacts[name] >= smallest_cut(grid, minimum_cut)) & (contacts[name] >= CUT_SHARE * contacts["area"])]
        for name in ("on_faces", "on_controls")
    )
    sums.by_chance += len(by_chance)
    sums.cuts += len(found)
    largest = found.sort_values(["on_faces", "first", "second"], ascending=[False, True, True]).head(WORST)
    sums.worst += [
        Cut(
            time=time,
            objects=[int(row["first"]), int(row["second"])],
            area=int(row["area"]),
            share_on_faces=int(row["on_faces"]) / int(row["area"]),
            position=[int(row[f"sum_{axis}"]) // int(row["on_faces"]) for axis in "zyx"],
        )
        for row in largest.to_dict(orient="records")
    ]
    sums.worst = sorted(sums.worst, key=lambda cut: (-cut["area"] * cut["share_on_faces"], cut["time"]))[:WORST]


def _excess(axes: list[_Axis], surface: int) -> Excess:
    """The figures of some axes together."""
    with_faces = [axis for axis in axes if axis.faces]
    expected = math.fsum(axis.expected for axis in with_faces)
    on_faces = sum(axis.on_faces for axis in with_faces)
    variances = [axis.variance for axis in with_faces]
    known = [variance for variance in variances if variance is not None]
    error = math.sqrt(math.fsum(known)) if known and len(known) == len(variances) else None
    return Excess(
        surface_on_faces=on_faces,
        expected=expected,
        ratio=on_faces / expected if expected else None,
        ratio_error=error / expected if expected and error is not None else None,
        excess_share=(on_faces - expected) / surface if surface else 0.0,
        excess_error=error / surface if surface and error is not None else None,
    )


def _errors(voxels: np.ndarray, errors: np.ndarray) -> Errors:
    def share(part: slice) -> float | None:
        total = int(voxels[part].sum())
        return int(errors[part].sum()) / total if total else None

    return Errors(near=share(slice(0, -1)), far=share(slice(-1, None)), voxels=voxels.tolist(), errors=errors.tolist())
