"""Time as an axis of space: fragments of all time points in one graph, agglomerated at once (after PlantSeg 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bigseg.kernels.agglomerate import contract_average
from bigseg.kernels.clusters import look_up
from bigseg.kernels.pairs import distinct_pairs
from bigseg.kernels.tracking.model import Flags, Floats, Ids, Indices


@dataclass(frozen=True, eq=False)
class Contacts:
    """Contacts of fragments of one time point, or overlaps of those of two; each pair once."""

    u: Ids
    """(k,) uint64 fragment; of overlaps, that of the earlier time point."""
    v: Ids
    """(k,) uint64 fragment; of overlaps, that of the later time point."""
    count: Floats
    """(k,) float64 voxel faces of the contact, or voxels of the overlap."""
    evidence: Floats
    """(k,) float64 mean boundary evidence there, in [0, 1]."""


@dataclass(frozen=True, eq=False)
class SpaceTimeObjects:
    """The components that last; row k is track k + 1, in the order of (first time point, smallest fragment there)."""

    tracks: tuple[NDArray[np.uint32], ...]
    """For each time point (n,) uint32 track of each fragment, 0 if its component is too short."""
    shape: NDArray[np.str_]
    """(m,) what each looks like: ``I``, one piece at each time; ``Y``, pieces become two and never meet again; ``X``,
    pieces meet, whether they part again or not. A piece is fragments of one time point that touch."""


def tracks_as_volume(
    fragments: Sequence[Ids],
    contacts: Sequence[Contacts],
    overlaps: Sequence[Contacts],
    beta: float,
    minimum_length: int = 2,
) -> SpaceTimeObjects:
    """Agglomerate the fragments of all time points by average linkage.

    Args:
        fragments: for each time point (n,) uint64 ids, ascending.
        contacts: for each time point.
        overlaps: for each pair of consecutive time points.
        beta: as for the partition: pairs with a mean evidence below 1 - beta are merged.
        minimum_length: components of fewer time points are removed.

    Raises:
        KeyError: a contact or an overlap names an object that is no fragment.
    """
    times = np.repeat(np.arange(len(fragments)), [len(ids) for ids in fragments])
    begins = np.concatenate([[0], np.cumsum([len(ids) for ids in fragments])])
    within = [_nodes(found, (fragments[t],) * 2, (begins[t],) * 2) for t, found in enumerate(contacts)]
    between = [
        _nodes(found, (fragments[t], fragments[t + 1]), (begins[t], begins[t + 1])) for t, found in enumerate(overlaps)
    ]
    pairs = np.concatenate([np.empty((0, 2), np.int64), *within, *between])
    count = np.concatenate([np.empty(0), *(found.count for found in (*contacts, *overlaps))])
    evidence = np.concatenate([np.empty(0), *(found.evidence for found in (*contacts, *overlaps))])
    node = contract_average(len(times), pairs.astype(np.uint64), -count * evidence, count, offset=1 - beta).clusters
    # The smallest node of a component is in its first time point: names ascend as tracks shall.
    _, component = np.unique(node, return_inverse=True)
    number = int(component.max(initial=-1)) + 1
    lasting = _partners(component, times, number) >= minimum_length
    name = np.where(lasting, np.cumsum(lasting), 0).astype(np.uint32)
    in_space = np.arange(len(pairs)) < sum(len(found) for found in within)
    shape = _shapes(pairs, in_space, component, number)[lasting]
    return SpaceTimeObjects(tuple(np.split(name[component], begins[1:-1])), shape)


def _nodes(found: Contacts, ids: tuple[Ids, Ids], begins: tuple[int, int]) -> Indices:
    """(k, 2) numbers of the fragments among those of all time points."""
    columns = [
        begin + look_up(wanted, known, np.arange(len(known), dtype=np.uint64)).astype(np.int64)
        for wanted, known, begin in zip((found.u, found.v), ids, begins, strict=True)
    ]
    return np.stack(columns, axis=1)


def _partners(one: Indices, other: Indices, number: int) -> Indices:
    """(number,) how many different partners each has among ``other``."""
    found = distinct_pairs(one.astype(np.uint64), other.astype(np.uint64)).u
    return np.bincount(found.astype(np.int64), minlength=number)


def _shapes(pairs: Indices, in_space: Flags, component: Indices, number: int) -> NDArray[np.str_]:
    """(number,) shape of each component."""
    together = component[pairs[:, 0]] == component[pairs[:, 1]]
    touching = pairs[together & in_space]
    size = len(component)
    graph = coo_array((np.ones(len(touching), np.int8), (touching[:, 0], touching[:, 1])), (size, size))
    piece = connected_components(graph, directed=False)[1].astype(np.int64)
    of_piece = np.zeros(size, np.int64)
    of_piece[piece] = component
    following = piece[pairs[together & ~in_space]]
    pieces = int(piece.max(initial=-1)) + 1
    splits = _partners(following[:, 0], following[:, 1], pieces) > 1
    meets = _partners(following[:, 1], following[:, 0], pieces) > 1
    shape = np.full(number, "I", "<U1")
    shape[of_piece[:pieces][splits]] = "Y"
    shape[of_piece[:pieces][meets]] = "X"
    return shape
