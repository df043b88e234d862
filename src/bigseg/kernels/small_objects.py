"""Merge objects below a minimum size, decided on the graph of objects, before a voxel is written.

Each block tells what it knows of objects that may be too small (:func:`may_be_small`); added up, this is all that the
decision (:func:`merge_small`) needs, and far less than the graph of all objects.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bigseg.kernels.pairs import distinct_pairs
from bigseg.kernels.signed_graph import Ids, among

_Neighbours = dict[int, tuple[float, float]]
"""Neighbour -> (faces in contact, sum of the boundary map over them): exact numbers, whatever parts they came in."""


@dataclass(frozen=True)
class Contacts:
    """What decides to which neighbour a small object goes.

    Attributes:
        u: (n,) uint64 smaller id of each pair in contact.
        v: (n,) uint64 larger id.
        count: (n,) float64 number of voxel faces in contact.
        outside: (n,) float64 sum of the boundary map, as in :class:`bigseg.kernels.region_graph.EdgeTable`.
    """

    u: Ids
    v: Ids
    count: NDArray[np.float64]
    outside: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of contacts."""
        return len(self.u)

    def take(self, rows: NDArray[np.bool_]) -> Contacts:
        """The contacts of a mask."""
        return Contacts(self.u[rows], self.v[rows], self.count[rows], self.outside[rows])

    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name."""
        return {column.name: getattr(self, column.name) for column in fields(self)}


def add_up_contacts(parts: Sequence[Contacts]) -> Contacts:
    """Add up at least one table: each pair once, ascending by (u, v)."""
    u, v, count, outside = (np.concatenate(c) for c in zip(*(part.columns().values() for part in parts), strict=True))
    found = distinct_pairs(u, v)
    return Contacts(found.u, found.v, found.add_up(count), found.add_up(outside))


def contract_contacts(contacts: Contacts, ids: Ids, objects: Ids) -> Contacts:
    """The contacts between objects, each pair once, ascending by (u, v); contacts inside an object vanish.

    Args:
        contacts: contacts of supervoxels.
        ids: (n,) uint64 supervoxels, ascending.
        objects: (n,) uint64 the object of each.
    """
    a, b = objects[np.searchsorted(ids, contacts.u)], objects[np.searchsorted(ids, contacts.v)]
    between = Contacts(np.minimum(a, b), np.maximum(a, b), contacts.count, contacts.outside)
    return add_up_contacts([between.take(a != b)])


class SmallCandidates(NamedTuple):
    """What a block tells about objects that may be too small.

    Attributes:
        ids: (n,) uint64 objects, ascending.
        sizes: (n,) uint64 their voxels in the block.
        contacts: of these and other objects, as far as the block owns them.
    """

    ids: Ids
    sizes: Ids
    contacts: Contacts


def may_be_small(nodes: Ids, sizes: Ids, contacts: Contacts, ids: Ids, objects: Ids, minimum: int) -> SmallCandidates:
    """Leave out what is surely large enough, so that the parts of all blocks together stay small.

    An object's voxels are told unless at least ``minimum`` of them lie in this block and nowhere else: then no block
    tells any. It may go on elsewhere if it is named by a supervoxel of another block, or if the block owns a contact
    between two of its supervoxels of which one lies in another block: objects are connected and named by their smallest
    supervoxel, so one that lies in later blocks only beyond contacts that others own lies in an earlier one too.
    Contacts are told unless both objects are surely large.

    Args:
        nodes: (k,) uint64 supervoxels of the block, ascending.
        sizes: (k,) uint64 their voxels.
        contacts: of supervoxels, all that the block owns.
        ids: (n,) uint64 all supervoxels in ``nodes`` and ``contacts``, ascending.
        objects: (n,) uint64 the object of each.
        minimum: smallest size that is large enough.
    """
    if not minimum:
        return SmallCandidates(ids[:0], sizes[:0], contacts.take(np.zeros(len(contacts), np.bool_)))
    names, inverse = np.unique(objects[np.searchsorted(ids, nodes)], return_inverse=True)
    voxels = np.bincount(inverse, sizes, len(names)).astype(np.uint64)
    large = voxels >= minimum
    u, v = (objects[np.searchsorted(ids, end)] for end in (contacts.u, contacts.v))
    leaving = (u == v) & ~(among(contacts.u, nodes) & among(contacts.v, nodes))
    told = ~large | ~among(names, nodes) | among(names, np.unique(u[leaving]))
    sure = names[large]
    between = contract_contacts(contacts.take(~(among(u, sure) & among(v, sure))), ids, objects)
    return SmallCandidates(names[told], voxels[told], between)


def merge_small(ids: Ids, sizes: Ids, contacts: Contacts, minimum: int) -> Ids:
    """Merge each object with fewer than ``minimum`` voxels into the neighbour with the weakest boundary between them.

    The smallest object goes first, ties by id; among equally weak boundaries the largest contact, then the smallest id
    wins. The merged object has the union's size and contacts, and goes on if it is still too small. An object without
    neighbours stays as it is.

    Args:
        ids: (n,) uint64 objects, ascending.
        sizes: (n,) uint64 voxels.
        contacts: of the objects, each pair once; those of two large objects may be missing.
        minimum: smallest size that is left alone.

    Returns:
        (n,) uint64 the object that each one becomes part of, named by its smallest member.
    """
    u, v = np.searchsorted(ids, contacts.u), np.searchsorted(ids, contacts.v)
    parent = np.arange(len(ids))
    voxels = sizes.astype(np.int64)
    # Only small objects ever look at their neighbours, so only their contacts are kept.
    near: dict[int, _Neighbours] = {int(i): {} for i in np.flatnonzero(voxels < minimum)}
    touching_small = np.isin(u, list(near)) | np.isin(v, list(near))
    for a, b, count, outside in zip(
        u[touching_small],
        v[touching_small],
        contacts.count[touching_small],
        contacts.outside[touching_small],
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


def remove_small(sizes: Ids, final: Ids, minimum: int) -> Ids:
    """Make objects background (0) that have fewer than ``minimum`` voxels with all that became part of them.

    Args:
        sizes: (n,) uint64 voxels of objects.
        final: (n,) uint64 what each of them became part of.
        minimum: smallest size that is left alone.
    """
    _, inverse = np.unique(final, return_inverse=True)
    voxels = np.bincount(inverse, sizes, int(inverse.max(initial=-1)) + 1)
    return np.where(voxels[inverse] < minimum, np.uint64(0), final)


def _gather(neighbours: _Neighbours, node: int, root: Callable[[int], int]) -> _Neighbours:
    """Neighbours by the objects that they are part of now."""
    found: _Neighbours = {}
    for other, (count, total) in neighbours.items():
        name = root(other)
        if name != node:
            before = found.get(name, (0.0, 0.0))
            found[name] = (before[0] + count, before[1] + total)
    return found
