"""What a network shall show, made from labels: boundaries, affinities, foreground.

Sources: boundaries, Wolny 2023, eq. 2.1; foreground and boundary, GoNuclear (Vijayan et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from bigseg.config.training import Target
from bigseg.geometry.box import Triple, triple

_TRUNCATE = 4.0
"""Standard deviations at which the Gaussian of the boundaries ends."""

_FALL_ENDS = 3.0
"""Standard deviations at which a boundary's soft side ends."""


class Targets(NamedTuple):
    """Targets of a patch.

    Attributes:
        values: (channels, z, y, x) float32, 0 or 1; between them on the soft sides of boundaries.
        known: the same shape, bool: where the labels tell; elsewhere no loss is counted.
    """

    values: np.ndarray
    known: np.ndarray


def find_boundaries(labels: np.ndarray, ignore: int | None = None) -> np.ndarray:
    """Voxels with a face neighbour of another label: boundaries two voxels thick.

    As ``skimage.segmentation.find_boundaries`` with its defaults (connectivity 1, mode ``thick``).

    Args:
        labels: (z, y, x) integers.
        ignore: label that makes no boundary with others.

    Returns:
        (z, y, x) bool.
    """
    found = np.zeros(labels.shape, bool)
    for axis in range(labels.ndim):
        low, high = _pair(labels.ndim, axis)
        differs = labels[low] != labels[high]
        if ignore is not None:
            differs &= (labels[low] != ignore) & (labels[high] != ignore)
        found[low] |= differs
        found[high] |= differs
    return found


def boundary_target(
    labels: np.ndarray,
    sigma: float = 1.0,
    ignore: int | None = None,
    *,
    grow: float = 0.0,
    softness: float = 0.0,
    sampling: Sequence[float] = (1.0, 1.0, 1.0),
) -> Targets:
    """Boundaries, smoothed by a Gaussian and cut at 0.5 (eq. 2.1), one channel.

    Args:
        labels: (z, y, x) integers.
        sigma: standard deviation in voxels, the same along all axes; 0 is none.
        ignore: label of voxels that are not labelled; where the target depends on them it is not known.
        grow: distance, in voxels of the finest axis, by which boundaries grow in the end. Where the image does not tell
            exactly where a boundary is, thin ones are predicted with low probabilities.
        softness: standard deviation, in voxels of the finest axis, of the Gaussian by which boundaries fall off on both
            sides; 0 is a step. A network then shows a ridge, whose crest is where a watershed puts the boundary.
        sampling: voxel size (z, y, x) relative to the finest axis.
    """
    edges = find_boundaries(labels)
    if ignore is None or not (labels == ignore).any():
        return Targets(_drawn(edges, sigma, grow, softness, sampling)[None], np.ones((1, *labels.shape), bool))
    # Whatever labels these voxels had, edges are at least those between labelled voxels and at most all that touch
    # them; smoothing, cutting and growing keep that order, so where both lead to the same target, it is known.
    touched = ndimage.binary_dilation(labels == ignore)
    least = _drawn(find_boundaries(labels, ignore), sigma, grow, softness, sampling)
    most = _drawn(edges | touched, sigma, grow, softness, sampling)
    return Targets(least[None], ((least == most) & ~touched)[None])


def _drawn(edges: np.ndarray, sigma: float, grow: float, softness: float, sampling: Sequence[float]) -> np.ndarray:
    """Edges (z, y, x) smoothed, cut at 0.5, grown and softened, float32; more edges never make less."""
    if sigma > 0:
        per_axis = [sigma if n > 1 else 0.0 for n in edges.shape]  # planes of a 2D network see no others
        edges = ndimage.gaussian_filter(edges.astype(np.float32), per_axis, truncate=_TRUNCATE) > 0.5
    if not edges.any() or (grow == 0 and softness == 0):
        return np.asarray(edges, np.float32)
    beyond = np.maximum(ndimage.distance_transform_edt(~edges, sampling=sampling) - grow, 0)
    if softness == 0:
        return np.asarray(beyond == 0, np.float32)
    fall = np.exp(-0.5 * (beyond / softness) ** 2)
    return np.asarray(np.where(beyond <= _FALL_ENDS * softness, fall, 0), np.float32)


def foreground_boundary_target(
    labels: np.ndarray,
    sigma: float = 1.0,
    ignore: int | None = None,
    *,
    grow: float = 0.0,
    softness: float = 0.0,
    sampling: Sequence[float] = (1.0, 1.0, 1.0),
) -> Targets:
    """Two channels: foreground (labels other than 0), and boundaries as in :func:`boundary_target`."""
    boundary = boundary_target(labels, sigma, ignore, grow=grow, softness=softness, sampling=sampling)
    labelled = np.ones(labels.shape, bool) if ignore is None else labels != ignore
    foreground = (labels != 0).astype(np.float32)
    return Targets(
        np.concatenate([foreground[None], boundary.values]), np.concatenate([labelled[None], boundary.known])
    )


def affinity_target(labels: np.ndarray, offsets: Sequence[Triple], ignore: int | None = None) -> Targets:
    """For every offset o whether voxels v and v + o have the same label, one channel each.

    Args:
        labels: (z, y, x) integers; the background is a label like others.
        offsets: offsets (z, y, x) in voxels.
        ignore: label of voxels that are not labelled.

    Returns:
        Targets, unknown where v + o lies outside, or either end is not labelled.
    """
    values = np.zeros((len(offsets), *labels.shape), np.float32)
    known = np.zeros(values.shape, bool)
    for channel, offset in enumerate(offsets):
        (hz, tz), (hy, ty), (hx, tx) = (_ends(o, n) for o, n in zip(offset, labels.shape, strict=True))
        one, other = labels[hz, hy, hx], labels[tz, ty, tx]
        values[channel, hz, hy, hx] = one == other
        known[channel, hz, hy, hx] = True if ignore is None else (one != ignore) & (other != ignore)
    return Targets(values, known)


def make_targets(labels: np.ndarray, target: Target, sampling: Sequence[float]) -> Targets:
    """Targets as the configuration wants them.

    Args:
        labels: (z, y, x) integers.
        target: section ``target`` of the configuration.
        sampling: voxel size (z, y, x) relative to the finest axis.
    """
    if target.kind == "affinity":
        return affinity_target(labels, offsets_of(target), target.ignore_label)
    drawn = partial(
        boundary_target if target.kind != "foreground_boundary" else foreground_boundary_target,
        labels,
        target.sigma,
        target.ignore_label,
        grow=target.grow,
        softness=target.softness,
        sampling=sampling,
    )
    if target.kind == "boundary_affinity":
        boundary = drawn()
        affinities = affinity_target(labels, offsets_of(target), target.ignore_label)
        return Targets(
            np.concatenate([boundary.values, affinities.values]), np.concatenate([boundary.known, affinities.known])
        )
    return drawn()


def target_margin(target: Target) -> Triple:
    """Voxels around a patch that its targets depend on."""
    longest = [max((abs(o[axis]) for o in offsets_of(target)), default=0) for axis in range(3)]
    if target.kind == "affinity":
        return triple(longest)
    reach = 1 + int(_TRUNCATE * target.sigma + 0.5) + int(target.grow + _FALL_ENDS * target.softness)
    return triple([max(reach, n) for n in longest])


def offsets_of(target: Target) -> tuple[Triple, ...]:
    """Offsets of the affinity channels, none for other targets."""
    return tuple(triple(o) for o in target.offsets) if target.kind.endswith("affinity") else ()


def roles_of(target: Target) -> tuple[str, ...]:
    """What the output channels are, as ``predict.outputs`` names it."""
    if target.kind.endswith("affinity"):
        boundary = ("boundary",) if target.kind == "boundary_affinity" else ()
        return boundary + ("affinity",) * len(target.offsets)
    return ("foreground", "boundary") if target.kind == "foreground_boundary" else ("boundary",)


def _ends(offset: int, length: int) -> tuple[slice, slice]:
    """Along one axis all v for which v + offset is inside, and all v + offset."""
    return slice(max(0, -offset), max(0, length - max(0, offset))), slice(
        max(0, offset), max(0, length - max(0, -offset))
    )


def _pair(dims: int, axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """All voxels but the last, and all but the first, along an axis."""
    before = (slice(None),) * axis
    after = (slice(None),) * (dims - axis - 1)
    return (*before, slice(None, -1), *after), (*before, slice(1, None), *after)
