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
from bigseg.kernels.tracking.model import Floats, Ids, Indices


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
    """(k,) float64 evidence, in [0, 1], that these are two: of contacts the mean of the boundary map there, of overlaps
    as :func:`shared_parts` says."""


@dataclass(frozen=True, eq=False)
class SpaceTimeObjects:
    """The tracks of the components that last; row k is track k + 1, in the order of (first time, smallest fragment)."""

    tracks: tuple[NDArray[np.uint32], ...]
    """For each time point (n,) uint32 track of each fragment, 0 if its component is too short."""
    parent: NDArray[np.uint32]
    """(m,) uint32 track that divided into it, 0 if none."""
    shape: NDArray[np.str_]
    """(m,) what its component looks like: ``I``, one piece at each time; ``Y``, pieces become two and never meet again;
    ``X``, pieces meet, whether they part again or not. A piece is fragments of one time point that touch, with less
    evidence between them than would keep them apart. Where a Y branches, a track has divided; I and X are one track."""


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
    _, component = np.unique(node, return_inverse=True)
    number = int(component.max(initial=-1)) + 1
    lasting = _partners(component, times, number) >= minimum_length
    together = component[pairs[:, 0]] == component[pairs[:, 1]]
    in_space = np.arange(len(pairs)) < sum(len(found) for found in within)
    pieces = _pieces(pairs[together & in_space & (evidence < 1 - beta)], pairs[together & ~in_space], len(times))
    shape = _shapes(pieces, component, number)
    head, mother = _branches(pieces, component, shape, times)
    head[~lasting[component]] = -1
    # The smallest node of a track is in its first time point: names ascend as tracks shall.
    heads, name = np.unique(head, return_inverse=True)
    none = int(np.searchsorted(heads, 0))  # whether there is a -1
    name = (name + 1 - none).astype(np.uint32)
    heads = heads[none:]
    parent = np.where(mother[heads] >= 0, name[mother[heads]], 0).astype(np.uint32)
    return SpaceTimeObjects(tuple(np.split(name, begins[1:-1])), parent, shape[component[heads]])


def shared_parts(shared: dict[str, np.ndarray], ids: tuple[Ids, Ids], sizes: tuple[Floats, Floats]) -> Contacts:
    """Overlaps of two time points: what speaks against one object is the part of the smaller one that is not shared.

    The boundary map would not do, as it tells of one time point at a time: of nuclei that are its dark parts all
    voxels are half a boundary, and no overlap would be better than a contact.

    Args:
        shared: ``source``, ``target`` (uint64 fragments), ``voxels``; each pair once.
        ids: (n,) and (m,) uint64 fragments of the two time points, ascending.
        sizes: (n,) and (m,) float64 voxels of each.

    Raises:
        KeyError: an overlap names an object that is no fragment.
    """
    both = [
        size[look_up(wanted, known, np.arange(len(known), dtype=np.uint64)).astype(np.int64)]
        for wanted, known, size in zip((shared["source"], shared["target"]), ids, sizes, strict=True)
    ]
    count = shared["voxels"].astype(np.float64)
    return Contacts(shared["source"], shared["target"], count, 1 - np.minimum(count / np.minimum(*both), 1.0))


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


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Pieces of components, known by their smallest nodes."""

    of_node: Indices
    """(n,) int64 piece of each node."""
    before: Indices
    """(k,) int64 piece …"""
    after: Indices
    """(k,) int64 … and one at the next time point that it overlaps; each pair once."""


def _pieces(touching: Indices, following: Indices, number: int) -> _Pieces:
    """Pieces from pairs of nodes of one component that touch, and from those that overlap."""
    graph = coo_array((np.ones(len(touching), np.int8), (touching[:, 0], touching[:, 1])), (number, number))
    found = connected_components(graph, directed=False)[1]
    _, first, place = np.unique(found, return_index=True, return_inverse=True)
    of_node = first[place].astype(np.int64)
    links = distinct_pairs(*of_node[following].T.astype(np.uint64))
    return _Pieces(of_node, links.u.astype(np.int64), links.v.astype(np.int64))


def _shapes(pieces: _Pieces, component: Indices, number: int) -> NDArray[np.str_]:
    """(number,) shape of each component."""
    size = len(component)
    shape = np.full(number, "I", "<U1")
    shape[component[np.flatnonzero(np.bincount(pieces.before, minlength=size) > 1)]] = "Y"
    shape[component[np.flatnonzero(np.bincount(pieces.after, minlength=size) > 1)]] = "X"
    return shape


def _branches(pieces: _Pieces, component: Indices, shape: NDArray[np.str_], times: Indices) -> tuple[Indices, Indices]:
    """(n,) int64 first node of the track of each node, and (n,) int64 a node of the track that divided into it, or -1.

    Nodes ascend in time, so what is before a piece is named when its turn comes.
    """
    size = len(component)
    branched = shape[component] == "Y"
    futures = np.bincount(pieces.before, minlength=size)
    past = np.full(size, -1)
    past[pieces.after] = pieces.before
    _, first = np.unique(component, return_index=True)
    head = np.where(branched, pieces.of_node, first[component])
    mother = np.full(size, -1)
    alone = branched & (past >= 0) & (np.arange(size) == pieces.of_node)
    for time in np.unique(times[alone]).tolist():
        here = np.flatnonzero(alone & (times == time))
        goes_on = futures[past[here]] == 1
        head[here[goes_on]] = head[past[here[goes_on]]]
        mother[here[~goes_on]] = past[here[~goes_on]]
    head = np.where(branched, head[pieces.of_node], head)
    return head, mother
