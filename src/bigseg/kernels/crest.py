"""Boundaries between supervoxels drawn on the crest of the image, where a boundary map is too blunt to tell.

A network's boundary map says that there is a wall, and is a plateau a few voxels wide; the image has its crest where
the wall is. A watershed of the map cuts the plateau anywhere. So the voxels near a boundary are flooded once more, from
what is farther away, over the log odds of the map plus the weighted image. No paper is followed here; what was measured
is in docs/membrane.md. Arrays are (z, y, x) or planes (y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import bioimage_cpp
import numpy as np
from numpy.typing import NDArray

from bigseg.kernels.watershed import Boundary, Labels, Mask, flood_vacant, smooth_in_proportion

LEAST_DOUBT = 1 / 255
"""How near to 0 and 1 a probability is taken to come: a step of a map that is stored as uint8."""


def draw_on_crest(
    labels: Labels,
    boundary: Boundary,
    image: NDArray[np.float32],
    *,
    weight: float,
    radius: float,
    sigma: float,
    sampling: Sequence[float],
    mask: Mask | None = None,
) -> Labels:
    """Draw the boundaries between labels anew, no farther than ``radius`` from where they are.

    A label keeps what is at least ``radius`` away from where labels meet; one of which nothing is keeps everything.
    Labels may come out smaller, and in pieces: what a run makes of pieces is told at
    :func:`bigseg.kernels.watershed.crop_and_split`.

    Args:
        labels: uint32, 0 outside the mask only; each label connected by faces.
        boundary: float32 in [0, 1], 1 on the boundary.
        image: float32 of the same shape, about 0 to 1.
        weight: what the image counts for, in log odds of the boundary map; negative where boundaries are dark.
        radius: in voxels of the finest axis.
        sigma: smoothing of the sum before it is flooded, in voxels of the finest axis; 0 is none.
        sampling: voxel size per axis relative to the finest axis.
        mask: bool array; outside it labels are 0.

    Returns:
        uint32 labels, the same ones.
    """
    edge = _edges(labels)
    if not edge.any():
        return labels
    near = bioimage_cpp.distance.distance_transform((~edge).view(np.uint8), sampling=tuple(sampling)) < radius
    del edge
    if mask is not None:
        near &= mask
    kept = np.zeros(int(labels.max()) + 1, np.bool_)
    slabs = _slabs(labels.shape)
    for slab in slabs:
        kept[labels[slab][~near[slab]]] = True
    height, drawn = np.empty_like(boundary), np.empty_like(labels)
    for slab in slabs:
        near[slab] &= kept[labels[slab]]
        drawn[slab] = np.where(near[slab], 0, labels[slab])
        odds = np.clip(boundary[slab], LEAST_DOUBT, 1 - LEAST_DOUBT)
        height[slab] = np.log(odds / (1 - odds)) + np.float32(weight) * image[slab]
    height = smooth_in_proportion(height, sigma, sampling)
    flood_vacant(drawn, near, height, mask)
    np.copyto(drawn, labels, where=near & (drawn == 0))
    return drawn


def draw_on_crest_in_planes(
    labels: Labels,
    boundary: Boundary,
    image: NDArray[np.float32],
    *,
    weight: float,
    radius: float,
    sigma: float,
    sampling: Sequence[float],
    mask: Mask | None = None,
) -> Labels:
    """The same for every (y, x) plane by itself; the z entry of ``sampling`` is not used."""
    drawn = np.empty_like(labels)
    for z, plane in enumerate(labels):
        drawn[z] = draw_on_crest(
            plane,
            boundary[z],
            image[z],
            weight=weight,
            radius=radius,
            sigma=sigma,
            sampling=sampling[1:],
            mask=None if mask is None else mask[z],
        )
    return drawn


def _slabs(shape: Sequence[int]) -> list[slice]:
    """Slices along the first axis of about a million voxels each: what is copied on the way stays small."""
    step = max(1, 2**20 // max(1, prod(shape[1:])))
    return [slice(begin, begin + step) for begin in range(0, shape[0], step)]


def _edges(labels: Labels) -> Mask:
    """Voxels beside one of another label, 0 not counted."""
    edge = np.zeros(labels.shape, np.bool_)
    for axis in range(labels.ndim):
        head = (slice(None),) * axis + (slice(None, -1),)
        tail = (slice(None),) * axis + (slice(1, None),)
        differ = (labels[head] != labels[tail]) & (labels[head] > 0) & (labels[tail] > 0)
        edge[head] |= differ
        edge[tail] |= differ
    return edge
