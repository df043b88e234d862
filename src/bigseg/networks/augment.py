"""Test-time augmentation: flips and quarter turns, and what they do to affinities.

A network is applied to the turned patch and its output turned back. An affinity channel with offset o then tells of the
pair (v, v + o') with o' = o turned back, so it counts for the channel with offset o', or, where that offset is -o', for
that channel's voxel v + o'. Whatever offset has no partner is left as it was predicted without the transform.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from bigseg.geometry.box import Triple


@dataclass(frozen=True)
class Transform:
    """A quarter turn of the plane from y to x, or none, and then flips along some of (z, y, x)."""

    turned: bool
    flipped: tuple[int, ...]

    def back(self, offset: Triple) -> Triple:
        """An offset in the transformed patch as one of the patch itself."""
        z, y, x = (-o if axis in self.flipped else o for axis, o in enumerate(offset))
        return (z, x, -y) if self.turned else (z, y, x)


def transforms(kind: str, dims: int) -> list[Transform]:
    """The transforms of ``none``, ``flips`` or ``rotations`` (flips and quarter turns), the identity first."""
    if kind == "none":
        return [Transform(False, ())]
    axes = (0, 1, 2) if dims == 3 else (1, 2)
    subsets = [s for n in range(len(axes) + 1) for s in itertools.combinations(axes, n)]
    return [Transform(turned, s) for turned in ((False, True) if kind == "rotations" else (False,)) for s in subsets]


def partners(transform: Transform, offsets: Sequence[Triple]) -> list[tuple[int, Triple] | None]:
    """For every affinity channel the channel that tells of it after the transform, and where.

    Args:
        transform: the transform.
        offsets: offsets of the channels.

    Returns:
        For each channel ``(source, shift)``: voxel v of the channel is voxel ``v + shift`` of channel ``source`` of the
        output that was turned back; None if no channel tells of it.
    """
    turned = [transform.back(offset) for offset in offsets]
    found: list[tuple[int, Triple] | None] = []
    for offset in offsets:
        z, y, x = offset
        if offset in turned:
            found.append((turned.index(offset), (0, 0, 0)))
        elif (-z, -y, -x) in turned:
            found.append((turned.index((-z, -y, -x)), offset))
        else:
            found.append(None)
    return found


def margin(kind: str, offsets: Sequence[Triple]) -> Triple:
    """How far affinities are shifted at most, per axis: so much more must be right around each patch."""
    if kind == "none" or not offsets:
        return (0, 0, 0)
    z, y, x = (max(abs(o[axis]) for o in offsets) for axis in range(3))
    plane = max(y, x)
    return (z, plane, plane)
