"""Merge objects below a minimum size, decided on the graph of objects, before a voxel is written.

Each block tells what it knows of objects that may be too small (:func:`may_be_small`); added up, this is all that the
decision (:func:`merge_small`) needs, and far less than the graph of all objects.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bigseg.kernels.region_graph import EdgeTable, contract
from bigseg.kernels.signed_graph import among

Contacts = dict[int, tuple[float, float]]
"""Neighbour -> (faces in contact, sum of the boundary map over them): exact numbers, whatever parts they came in."""


class SmallCandidates(NamedTuple):
    """What a block tells about objects that may be too small.

    Attributes:
        ids: (n,) uint64 objects, ascending.
        sizes: (n,) uint64 their voxels in the block.
        contacts: edges between objects, as far as the block owns them.
    """

    ids: np.ndarray
    sizes: np.ndarray
    contacts: EdgeTable


def may_be_small(
    nodes: np.ndarray, sizes: np.ndarray, edges: EdgeTable, ids: np.ndarray, objects: np.ndarray, minimum: int
) -> SmallCandidates:
    """Leave out what is surely large enough, so that the parts of all blocks together stay small.

    An object's voxels are told unless at least ``minimum`` of them lie in this block and nowhere else: then no block
    tells any. It may go on elsewhere if it is named by a supervoxel of another block, or if the block owns a contact
    between two of its supervoxels of which one lies in another block: objects are connected and named by their smallest
    supervoxel, so one that lies in later blocks only beyond contacts that others own lies in an earlier one too.
    Contacts are told unless both objects are surely large.

    Args:
        nodes: (k,) uint64 supervoxels of the block, ascending.
        sizes: (k,) uint64 their voxels.
        edges: edges that the block owns.
        ids: (n,) uint64 all supervoxels in ``nodes`` and ``edges``, ascending.
        objects: (n,) uint64 the object of each.
        minimum: smallest size that is large enough.
    """
    if not minimum:
        return SmallCandidates(ids[:0], sizes[:0], contract(edges.take(np.zeros(len(edges), bool)), objects, ids))
    names, inverse = np.unique(objects[np.searchsorted(ids, nodes)], return_inverse=True)
    voxels = np.bincount(inverse, sizes, len(names)).astype(np.uint64)
    large = voxels >= minimum
    u, v = (objects[np.searchsorted(ids, end)] for end in (edges.u, edges.v))
    leaving = (u == v) & ~(among(edges.u, nodes) & among(edges.v, nodes))
    told = ~large | ~among(names, nodes) | among(names, np.unique(u[leaving]))
    sure = names[large]
    contacts = contract(edges.take(~(among(u, sure) & among(v, sure))), objects, ids)
    return SmallCandidates(names[told], voxels[told], contacts)


def merge_small(ids: np.ndarray, sizes: np.ndarray, edges: EdgeTable, minimum: int) -> np.ndarray:
    """Merge each object with fewer than ``minimum`` voxels into the neighbour with the weakest boundary between them.

    The smallest object goes first, ties by id; among equally weak boundaries the largest contact, then the smallest id
    wins. The merged object has the union's size and edges, and goes on if it is still too small. An object without
    neighbours stays as it is.

    Args:
        ids: (n,) uint64 objects, ascending.
        sizes: (n,) uint64 voxels.
        edges: edges between objects.
        minimum: smallest size that is left alone.

    Returns:
        (n,) uint64 the object that each one becomes part of, named by its smallest member.
    """
    u, v = np.searchsorted(ids, edges.u), np.searchsorted(ids, edges.v)
    parent = np.arange(len(ids))
    voxels = sizes.astype(np.int64)
    # Only small objects ever look at their neighbours, so only their edges are kept.
    near: dict[int, Contacts] = {int(i): {} for i in np.flatnonzero(voxels < minimum)}
    touching_small = np.isin(u, list(near)) | np.isin(v, list(near))
    for a, b, count, outside in zip(
        u[touching_small],
        v[touching_small],
        edges.count[touching_small],
        edges.outside[touching_small],
        strict=True,
    ):
        for here, there in ((int(a), int(b)), (int(b), int(a))):
            if here in near:
                near[here][there] = (float(count), float(outside))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = int(parent[node])
        return node

    heap = [(int(voxels[i]), i) for i in near]
    heapq.heapify(heap)
    while heap:
        size, node = heapq.heappop(heap)
        if parent[node] != node or size != voxels[node] or size >= minimum:
            continue
        around = _gather(near[node], node, root)
        if not around:
            continue
        best = min(around, key=lambda other: (around[other][1] / around[other][0], -around[other][0], other))
        kept, gone = min(node, best), max(node, best)
        parent[gone] = kept
        voxels[kept] = voxels[node] + voxels[best]
        if voxels[kept] < minimum:
            merged = dict(around)
            for other, (count, total) in near[best].items():
                before = merged.get(other, (0.0, 0.0))
                merged[other] = (before[0] + count, before[1] + total)
            near[kept] = merged
            heapq.heappush(heap, (int(voxels[kept]), kept))
    return ids[np.array([root(i) for i in range(len(ids))], np.int64)] if len(ids) else ids


def _gather(
    neighbours: dict[int, tuple[float, float]], node: int, root: Callable[[int], int]
) -> dict[int, tuple[float, float]]:
    """Neighbours by the objects that they are part of now."""
    found: Contacts = {}
    for other, (count, total) in neighbours.items():
        name = root(other)
        if name != node:
            before = found.get(name, (0.0, 0.0))
            found[name] = (before[0] + count, before[1] + total)
    return found
