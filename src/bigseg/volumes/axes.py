"""The axes of a file and their way to bigseg's order (t, c, z, y, x)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bigseg.errors import UserError
from bigseg.geometry.box import Box, Triple

CANONICAL = "tczyx"
_BY_DIMENSIONS = {2: "yx", 3: "zyx", 5: "tczyx"}

Index = tuple[int | slice, ...]


@dataclass(frozen=True)
class AxisLayout:
    """The axes of an array on disk, which are distinct letters of ``tczyx``, y and x among them, in any order.

    Args:
        axes: one letter per dimension.
        shape: the array's shape, in the same order.
    """

    axes: str
    shape: tuple[int, ...]

    def length(self, axis: str) -> int:
        """Length of an axis; 1 where the array lacks it."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    @property
    def canonical_shape(self) -> tuple[int, int, int, int, int]:
        """(t, c, z, y, x)."""
        t, c, z, y, x = (self.length(axis) for axis in CANONICAL)
        return (t, c, z, y, x)

    def index(self, t: int, c: int, box: Box) -> Index:
        """The index, in the array's own order, of one box of one channel of one time point.

        Raises:
            IndexError: some of it lies outside; NumPy would cut it silently.
        """
        check_inside(self.canonical_shape, t, c, box)
        z, y, x = box.slices
        places: dict[str, int | slice] = {"t": t, "c": c, "z": z, "y": y, "x": x}
        return tuple(places[axis] for axis in self.axes)

    def volume(self, array: np.ndarray, box: Box) -> np.ndarray:
        """What ``index`` took from the array for a box, as a (z, y, x) view of the box's shape."""
        spatial = [axis for axis in self.axes if axis in "zyx"]
        ordered = array.transpose([spatial.index(axis) for axis in "zyx" if axis in spatial])
        return ordered if "z" in spatial else ordered[None][: box.shape[0]]

    def spatial(self, lengths: tuple[int, ...]) -> Triple:
        """Lengths given per dimension, such as those of a chunk, as (z, y, x)."""
        z, y, x = (lengths[self.axes.index(axis)] if axis in self.axes else 1 for axis in "zyx")
        return (z, y, x)


def check_inside(shape: tuple[int, int, int, int, int], t: int, c: int, box: Box) -> None:
    """Raise IndexError unless (t, c, box) lies in a volume of this (t, c, z, y, x) shape."""
    inside = all(0 <= a <= b <= n for a, b, n in zip(box.begin, box.end, shape[2:], strict=True))
    if not (inside and 0 <= t < shape[0] and 0 <= c < shape[1]):
        raise IndexError(f"t={t}, c={c}, box {box} lies outside the shape {shape} (t, c, z, y, x)")


def choose_axes(path: Path, shape: tuple[int, ...], wanted: str | None, stated: str | None) -> str:
    """The axes of an array: those of the configuration, else of the file, else by the number of dimensions.

    Args:
        path: the file, for messages.
        shape: shape of the array on disk.
        wanted: ``axes`` of the configuration. It may name axes of length 1 that the file leaves out, where the
            file states its axes.
        stated: axes that the file's metadata state.

    Raises:
        UserError: the axes do not fit the shape, or nothing tells them.
    """
    if wanted is not None:
        if len(wanted) == len(shape):
            return wanted
        kept = "".join(axis for axis in wanted if stated is not None and axis in stated)
        if stated is not None and sorted(kept) == sorted(stated):
            return kept
        raise UserError(
            f"{path}: `axes: {wanted}` names {len(wanted)} axes, but the array has {len(shape)} dimensions, "
            f"shape {shape}" + (f" (axes {stated} by its metadata)" if stated else ""),
            f"give one letter of tczyx per dimension in `axes`, e.g. {_example(shape)}",
        )
    if stated is not None:
        return stated
    if len(shape) == 4 and shape[0] == 1:
        return "czyx"  # whatever the axis of length 1 is, the volume is the same
    if len(shape) not in _BY_DIMENSIONS:
        raise ask_for_axes(path, shape)
    return _BY_DIMENSIONS[len(shape)]


def ask_for_axes(path: Path, shape: tuple[int, ...]) -> UserError:
    """The error for an array whose axes nothing tells."""
    if not 2 <= len(shape) <= 5:
        return UserError(
            f"{path}: an array of {len(shape)} dimensions, shape {shape}, is no volume",
            "bigseg reads arrays of 2 to 5 dimensions (t, c, z, y, x); take the part that you need from it",
        )
    return UserError(
        f"{path}: nothing tells what the {len(shape)} dimensions of shape {shape} are",
        f"set `axes` of this input, e.g. {_example(shape)}",
    )


def _example(shape: tuple[int, ...]) -> str:
    if len(shape) == 4:
        return "`axes: czyx` or `axes: tzyx`"
    return f"`axes: {CANONICAL[-len(shape) :]}`" if 2 <= len(shape) <= 5 else "`axes: zyx`"
