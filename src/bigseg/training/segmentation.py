"""From a boundary map in memory to objects and their score: what the stages after ``predict`` do, for validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bigseg.config.stages import Supervoxels
from bigseg.kernels.agglomerate import contract_average
from bigseg.kernels.clusters import name_clusters
from bigseg.kernels.region_graph import block_edges
from bigseg.kernels.small_objects import Contacts, contract_contacts, merge_small
from bigseg.kernels.watershed import distance_watershed, stacked_watershed


def segment_boundary(
    boundary: np.ndarray,
    settings: Supervoxels,
    *,
    beta: float,
    minimum_object_size: int,
    sampling: Sequence[float],
) -> np.ndarray:
    """Supervoxels, average linkage and the merging of small objects.

    Args:
        boundary: (z, y, x) float32 in [0, 1]; rounded to 1/255, as ``predict`` stores it.
        settings: of the supervoxels.
        beta: as ``partition.beta``.
        minimum_object_size: as ``segment.minimum_object_size``.
        sampling: voxel size (z, y, x) relative to the finest axis.

    Returns:
        (z, y, x) uint64 labels.
    """
    stored = np.rint(np.clip(boundary, 0, 1) * 255).astype(np.uint8)
    run = stacked_watershed if settings.dimension == "stacked_2d" else distance_watershed
    z, y, x = sampling if settings.anisotropic else (1.0, 1.0, 1.0)
    labels = run(
        stored.astype(np.float32) / np.float32(255),
        threshold=settings.threshold,
        sigma_seeds=settings.sigma_seeds,
        sigma_weights=settings.sigma_weights,
        alpha=settings.alpha,
        minimum_size=settings.minimum_size,
        sampling=(z, y, x),
    ).astype(np.uint64)
    shape = labels.shape
    edges = block_edges(labels, stored, np.zeros(shape, np.uint8), (shape[0], shape[1], shape[2]))
    sizes = np.bincount(labels.reshape(-1).astype(np.int64))[1:]
    ids = np.arange(1, len(sizes) + 1, dtype=np.uint64)
    pairs = np.stack([edges.u, edges.v], axis=1) - np.uint64(1)
    clusters = contract_average(len(ids), pairs, -edges.outside, 255 * edges.count, offset=1 - beta).clusters
    objects = name_clusters(ids, clusters)
    names, inverse = np.unique(objects, return_inverse=True)
    contacts = Contacts(edges.u, edges.v, edges.count, edges.outside)
    between = contract_contacts(contacts, ids, objects)
    whole = np.bincount(inverse, sizes, len(names)).astype(np.uint64)
    final = merge_small(names, whole, between, minimum_object_size)
    table = np.concatenate([np.zeros(1, np.uint64), final[inverse]])
    return np.asarray(table[labels.astype(np.int64)])
