"""What a network shall show, made from labels: boundaries, affinities, foreground.

Sources: boundaries, Wolny (000 §2.2.1, eq. 2.1); foreground and boundary, GoNuclear (001 §2.5.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from bigseg.geometry.box import Triple

_TRUNCATE = 4.0
"""Standard deviations at which the Gaussian of the boundaries ends."""


class Targets(NamedTuple):
    """Targets of a patch.

    Attributes:
        values: (channels, z, y, x) float32, 0 or 1.
        known: the same shape, bool: where the labels tell; elsewhere no loss is counted.
    """

    values: np.ndarray
    known: np.ndarray


def find_boundaries(labels: np.ndarray) -> np.ndarray:
    """Voxels with a face neighbour of another label: boundaries two voxels thick.

    As ``skimage.segmentation.find_boundaries`` with its defaults (connectivity 1, mode ``thick``).

    Args:
        labels: (z, y, x) integers.

    Returns:
        (z, y, x) bool.
    """
    found = np.zeros(labels.shape, bool)
    for axis in range(labels.ndim):
        low, high = _pair(labels.ndim, axis)
        differs = labels[low] != labels[high]
        found[low] |= differs
        found[high] |= differs
    return found


def boundary_target(labels: np.ndarray, sigma: float = 1.0, ignore: int | None = None) -> Targets:
    """Boundaries, smoothed by a Gaussian and cut at 0.5 (eq. 2.1), one channel.

    Args:
        labels: (z, y, x) integers.
        sigma: standard deviation in voxels, the same along all axes; 0 is none.
        ignore: label of voxels that are not labelled; next to them boundaries are not known either.
    """
    edges = find_boundaries(labels)
    if sigma > 0:
        per_axis = [sigma if n > 1 else 0.0 for n in labels.shape]  # planes of a 2D network see no others
        edges = ndimage.gaussian_filter(edges.astype(np.float32), per_axis, truncate=_TRUNCATE) > 0.5
    known = np.ones(labels.shape, bool)
    if ignore is not None:
        known = ~ndimage.binary_dilation(labels == ignore)
    return Targets(edges[None].astype(np.float32), known[None])


def foreground_boundary_target(labels: np.ndarray, sigma: float = 1.0, ignore: int | None = None) -> Targets:
    """Two channels: foreground (labels other than 0), and boundaries as in :func:`boundary_target`."""
    boundary = boundary_target(labels, sigma, ignore)
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


def make_targets(
    labels: np.ndarray, kind: str, *, sigma: float, offsets: Sequence[Triple], ignore: int | None
) -> Targets:
    """Targets of a ``target.kind`` of the configuration."""
    if kind == "affinity":
        return affinity_target(labels, offsets, ignore)
    if kind == "foreground_boundary":
        return foreground_boundary_target(labels, sigma, ignore)
    return boundary_target(labels, sigma, ignore)


def target_margin(kind: str, *, sigma: float, offsets: Sequence[Triple]) -> Triple:
    """Voxels around a patch that its targets depend on."""
    if kind == "affinity":
        z, y, x = (max(abs(o[axis]) for o in offsets) for axis in range(3))
        return (z, y, x)
    reach = 1 + int(_TRUNCATE * sigma + 0.5)
    return (reach, reach, reach)


def roles(kind: str, offsets: Sequence[Triple]) -> tuple[str, ...]:
    """What the output channels are, as ``predict.outputs`` names it."""
    if kind == "affinity":
        return ("affinity",) * len(offsets)
    return ("foreground", "boundary") if kind == "foreground_boundary" else ("boundary",)


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
