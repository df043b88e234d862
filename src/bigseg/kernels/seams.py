"""Counts that tell whether a label volume shows the faces of the blocks in which it was made.

Along an axis of n voxels, *plane* p (0 < p < n) lies between voxels p - 1 and p. A **block face** is a plane between
the last voxel of one block and the first of the next; along an axis with a single block there is none. Three things are
counted:

- **Surface**: the voxel faces between different labels, on each plane. Background (label 0) is a label like any other
  here: an object that ends at a block face against background is surface too.
- **Contacts**: the voxel faces between two objects (labels other than 0), and how many of them lie on block faces. Two
  objects whose contact lies on block faces are what a face makes of one object that it cuts. The same is counted on a
  *control plane* for each face, half a block below it, which tells how often a flat contact is there by chance.
- **Pairs** of labels (result, truth) at each distance from the nearest block face, from which errors follow.

Every voxel face belongs to the box that holds its lower voxel, so counts of boxes that tile a volume add up exactly,
whatever the boxes: the box that is read and the block whose faces are looked at have nothing to do with each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid
from bigseg.kernels.contingency import count_pairs

Labels = npt.NDArray[np.integer]

FARTHER = 0
"""In the place of a distance: the voxels that are farther from any block face. Voxels beside a face have distance 1."""

_SMALLEST_BUFFER = 1 << 16
"""Rows that are collected before they are added up, so that many small tables do not cost one sort each."""

_KEYS = {"surface": ["axis", "plane"], "contacts": ["first", "second"], "pairs": ["distance", "result", "truth"]}


@dataclass(frozen=True, eq=False)
class SeamTables:
    """What was counted, in a box or in all of a time point; each table ascends by its keys."""

    surface: pd.DataFrame
    """Keys axis (0 is z) and plane; surface: voxel faces between different labels, 0 included. Planes without any are
    left out."""
    contacts: pd.DataFrame
    """Keys first < second (uint64 objects); area: voxel faces between them; on_faces: those on block faces;
    on_controls: on control planes; sum_z … sum_x: sums of the coordinates of the voxels below those on block faces."""
    pairs: pd.DataFrame | None
    """Keys distance (of the voxels from the nearest block face, or ``FARTHER``), result and truth (uint64 labels);
    count: voxels. None where there is no truth."""


def count_seams(labels: Labels, truth: Labels | None, box: Box, grid: Grid, distance: int) -> SeamTables:
    """Count in one box.

    Args:
        labels: (z, y, x) integer labels of ``box`` and of one voxel more along each axis where the volume goes on.
        truth: (z, y, x) integer labels of ``box``, if there is a truth.
        box: any box of the volume.
        grid: the blocks whose faces are looked at.
        distance: how many distances from block faces the pairs tell apart; at least 1.

    Raises:
        ValueError: a shape does not fit, a type is not an integer, or a label is negative.
    """
    expected = box.grow((0, 0, 0), (1, 1, 1), grid.shape).shape
    if labels.shape != expected:
        raise ValueError(f"the labels have shape {labels.shape}, and box {box} needs {expected}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"the labels have type {labels.dtype}, which is not an integer")
    if labels.dtype.kind == "i" and (lowest := int(labels.min(initial=0))) < 0:
        raise ValueError(f"the result holds the negative label {lowest}")
    surface, contacts = [_no_surface()], [_no_contacts()]
    for axis in range(3):
        lower, upper = _both_sides(labels, axis, box)
        if lower.size:
            differs = lower != upper
            surface.append(_surface(differs, axis, box))
            contacts += _contacts(lower, upper, differs, axis, box, grid)
    return SeamTables(
        surface=_add_up(surface, _KEYS["surface"]),
        contacts=_add_up(contacts, _KEYS["contacts"]),
        pairs=None if truth is None else _pairs(labels[tuple(slice(n) for n in box.shape)], truth, box, grid, distance),
    )


class SeamSum:
    """The sum of the tables of disjoint boxes of a time point, exact and whatever their order.

    Parts are collected until they have as many rows as the sum so far and then added to it, so memory stays within a
    few times that of the sum, however many parts there are.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self._parts: dict[str, list[pd.DataFrame]] = {}
        self._rows: dict[str, int] = {}

    def add(self, tables: SeamTables) -> None:
        """Add the tables of a box."""
        for name in _KEYS:
            table = getattr(tables, name)
            if table is None:
                continue
            parts = self._parts.setdefault(name, [])
            parts.append(table)
            self._rows[name] = self._rows.get(name, 0) + len(table)
            if self._rows[name] > max(2 * len(parts[0]), _SMALLEST_BUFFER):
                parts[:] = [_add_up(parts, _KEYS[name])]
                self._rows[name] = len(parts[0])

    def total(self) -> SeamTables:
        """The tables of all boxes together."""
        found = {name: _add_up(parts, _KEYS[name]) for name, parts in self._parts.items()}
        return SeamTables(
            found.get("surface", _no_surface()), found.get("contacts", _no_contacts()), found.get("pairs")
        )


def number_of_faces(length: int, block: int) -> int:
    """Block faces across an axis of ``length`` voxels."""
    return max(0, (length - 1) // block)


def is_control(plane: int, length: int, block: int) -> bool:
    """Whether a plane is the control of the block face above it: half a block below, where that is no face itself."""
    return block > 1 and (plane + block // 2) % block == 0 and plane + block // 2 < length


def face_distances(box: Box, grid: Grid, distance: int) -> npt.NDArray[np.uint16]:
    """Distance of each voxel of a box from the nearest block face: 1 beside it.

    Returns:
        (z, y, x) uint16, ``FARTHER`` for voxels that are more than ``distance`` away.
    """
    found = np.full((1, 1, 1), distance + 1, np.uint16)
    for axis, (begin, end) in enumerate(zip(box.begin, box.end, strict=True)):
        length, block = grid.shape[axis], grid.block_shape[axis]
        voxels = np.arange(begin, end)
        along = np.full(voxels.shape, distance + 1)
        beyond_first, before_last = voxels >= block, voxels // block < number_of_faces(length, block)
        along[beyond_first] = np.minimum(along, voxels % block + 1)[beyond_first]
        along[before_last] = np.minimum(along, block - voxels % block)[before_last]
        shape = [-1 if a == axis else 1 for a in range(3)]
        found = np.minimum(found, along.astype(np.uint16).reshape(shape))
    found[found > distance] = FARTHER
    return found


def _both_sides(labels: Labels, axis: int, box: Box) -> tuple[Labels, Labels]:
    """The voxels below and above each voxel face across an axis that belongs to the box; both (z, y, x)."""
    planes = min(box.shape[axis], labels.shape[axis] - 1)
    lower, upper = (
        labels[tuple(slice(shift, shift + planes) if a == axis else slice(box.shape[a]) for a in range(3))]
        for shift in (0, 1)
    )
    return lower, upper


def _surface(differs: npt.NDArray[np.bool_], axis: int, box: Box) -> pd.DataFrame:
    """Rows of the table of surface across one axis."""
    counted = np.count_nonzero(differs, axis=tuple(other for other in range(3) if other != axis))
    some = np.flatnonzero(counted)
    planes = (box.begin[axis] + 1 + some).astype(np.int64)
    return pd.DataFrame({"axis": np.int64(axis), "plane": planes, "surface": counted[some].astype(np.int64)})


def _contacts(
    lower: Labels, upper: Labels, differs: npt.NDArray[np.bool_], axis: int, box: Box, grid: Grid
) -> Iterator[pd.DataFrame]:
    """Rows of the table of contacts across one axis: all of them, then those on block faces."""
    first, second = lower[differs], upper[differs]
    objects = (first != 0) & (second != 0)
    pairs = _ordered(first[objects], second[objects])
    sizes = pairs.groupby(["first", "second"], as_index=False).size().rename(columns={"size": "area"})
    yield sizes.assign(on_faces=0, on_controls=0, sum_z=0, sum_y=0, sum_x=0)
    length, block = grid.shape[axis], grid.block_shape[axis]
    begin, planes = box.begin[axis], differs.shape[axis]
    for plane in range(begin + 1, begin + planes + 1):
        on_face = plane % block == 0
        if not on_face and not is_control(plane, length, block):
            continue
        here = tuple(slice(plane - 1 - begin, plane - begin) if a == axis else slice(None) for a in range(3))
        both = differs[here] & (lower[here] != 0) & (upper[here] != 0)
        rows = _ordered(lower[here][both], upper[here][both])
        places = np.nonzero(both)
        rows["area"], rows["on_faces"], rows["on_controls"] = 0, int(on_face), int(not on_face)
        for a, name in enumerate("zyx"):
            rows[f"sum_{name}"] = (places[a] + (plane - 1 if a == axis else box.begin[a])) * int(on_face)
        yield rows


def _ordered(one: Labels, other: Labels) -> pd.DataFrame:
    """The two objects of each contact, the smaller first."""
    return pd.DataFrame(
        {"first": np.minimum(one, other).astype(np.uint64), "second": np.maximum(one, other).astype(np.uint64)}
    )


def _pairs(labels: Labels, truth: Labels, box: Box, grid: Grid, distance: int) -> pd.DataFrame:
    """Pairs of labels at each distance."""
    if labels.shape != truth.shape:
        raise ValueError(f"the result has shape {labels.shape}, the truth {truth.shape}")
    distances = face_distances(box, grid, distance)
    parts = []
    for value in np.unique(distances):
        here = distances == value
        columns = {"distance": value, **count_pairs(labels[here], truth[here]).columns()}
        parts.append(pd.DataFrame(columns).astype({"distance": np.int64, "count": np.int64}))
    return _add_up(parts or [_no_pairs()], _KEYS["pairs"])


def _add_up(parts: Sequence[pd.DataFrame], keys: list[str]) -> pd.DataFrame:
    """One row for each key that occurs, ascending, with the sums of the other columns."""
    filled = [part for part in parts if len(part)] or [parts[0]]
    return pd.concat(filled, ignore_index=True).groupby(keys, sort=True, as_index=False).sum()


def _no_surface() -> pd.DataFrame:
    return pd.DataFrame({name: np.empty(0, np.int64) for name in (*_KEYS["surface"], "surface")})


def _no_contacts() -> pd.DataFrame:
    ids = {name: np.empty(0, np.uint64) for name in _KEYS["contacts"]}
    counts = ("area", "on_faces", "on_controls", "sum_z", "sum_y", "sum_x")
    return pd.DataFrame({**ids, **{name: np.empty(0, np.int64) for name in counts}})


def _no_pairs() -> pd.DataFrame:
    types = {"distance": np.int64, "result": np.uint64, "truth": np.uint64, "count": np.int64}
    return pd.DataFrame({name: np.empty(0, dtype) for name, dtype in types.items()})
