"""Nested candidate objects of one time point, of which the program chooses while it links (after Ultrack).

Fragments are merged by average linkage of the boundary evidence between them (:mod:`bigseg.kernels.agglomerate`), up to
one threshold after the other. Every cluster that comes up on the way is a candidate, and of each fragment's candidates,
on the path from it to the root, at most one may be taken. Overlaps between candidates of two time points follow from
those between fragments.

**What makes the choice fair.** Two halves of a cell are two objects with two links, where the cell is one. So that
neither pays more for being many, everything is weighted with volume: the reward for taking a candidate, and what events
cost. Then a cut through the hierarchy is worth what it is worth per volume: ``cover`` for being there at all,
``persistence`` times the range of thresholds over which its objects are what they are, less what their events cost per
object. ``cover`` outweighs an appearance and a disappearance by default, so that what is there is covered by some
candidate at all times, and what is decided is by which.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.spatial import KDTree

from bigseg.kernels.agglomerate import contract_average
from bigseg.kernels.clusters import look_up
from bigseg.kernels.pairs import distinct_pairs
from bigseg.kernels.tracking.model import Choice, Detections, Flags, Floats, Ids, Indices, Overlaps, Pair

_THRESHOLDS = 64
"""Steps of the boundary evidence from 0 to 1; heights are multiples of 1 / 64."""


@dataclass(frozen=True)
class Limits:
    """Which clusters are candidates."""

    minimum_height: float = 0.0
    """Clusters whose parent forms at a lower mean evidence than this are merged in any case."""
    maximum_height: float = 1.0
    """Clusters that form at a higher mean evidence than this are none."""
    minimum_volume_um3: float = 0.0
    """Smaller clusters are none."""
    maximum_volume_um3: float = np.inf
    """Larger clusters are none."""
    minimum_change: float = 0.05
    """A cluster that lacks less than this share of its parent's volume is left out in favour of the parent."""


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Candidates of one time point, in the order of (smallest fragment, volume)."""

    detections: Detections
    """The n candidates; their ids are 1 … n."""
    parent: Indices
    """(n,) int64 smallest candidate that contains it, -1 if none."""
    height: Floats
    """(n,) float64 threshold of the mean evidence at which its parts were merged; 0 for a fragment."""
    parent_height: Floats
    """(n,) float64 threshold at which it is merged into more than itself; 1 if it never is."""
    leaf: Indices
    """(k,) int64 a fragment (row of the fragments) …"""
    candidate: Indices
    """(k,) int64 … and a candidate that contains it; ascending by (leaf, candidate)."""


def build(fragments: Detections, u: Ids, v: Ids, area: Floats, evidence: Floats, limits: Limits) -> Hierarchy:
    """The candidates of one time point.

    Args:
        fragments: (n,) fragments.
        u: (k,) uint64 fragment on one side of each contact.
        v: (k,) uint64 fragment on the other.
        area: (k,) float64 size of each contact; the weight of its evidence.
        evidence: (k,) float64 mean boundary evidence of each contact in [0, 1].
        limits: which clusters are candidates.

    Raises:
        KeyError: a contact names an object that is no fragment.
    """
    members, parent, height, parent_height = _tree(fragments.ids, u, v, area, evidence, limits.maximum_height)
    volume = members @ fragments.volume_um3
    kept = (volume >= limits.minimum_volume_um3) & (volume <= limits.maximum_volume_um3)
    kept &= (parent < 0) | (parent_height > limits.minimum_height)
    alike = np.zeros(len(parent), bool)
    alike[parent >= 0] = (volume > (1 - limits.minimum_change) * volume[parent])[parent >= 0]
    for child in np.flatnonzero(alike).tolist():  # children come before parents
        height[parent[child]] = min(height[parent[child]], height[child])
    kept &= ~alike | (volume[parent] > limits.maximum_volume_um3)
    return _ordered(fragments, members, volume, parent, height, parent_height, kept)


def _tree(
    ids: Ids, u: Ids, v: Ids, area: Floats, evidence: Floats, highest: float
) -> tuple[csr_array, Indices, Floats, Floats]:
    """All clusters, children before parents: (clusters, fragments) members, parent, height, height of the parent."""
    fragments = len(ids)
    rows = np.arange(fragments, dtype=np.uint64)
    pairs = np.stack([look_up(u, ids, rows), look_up(v, ids, rows)], axis=1).astype(np.int64)
    total = area * evidence
    node = np.arange(fragments)  # the cluster that each node of the contracted graph is
    of_leaf = np.arange(fragments)  # the node that each fragment is part of
    parent = [np.full(fragments, -1)]
    height, parent_height = [np.zeros(fragments)], [np.ones(fragments)]
    leaf, cluster = [np.arange(fragments)], [np.arange(fragments)]
    known = fragments
    parents, upper = parent[0], parent_height[0]
    for step in range(1, _THRESHOLDS + 1):
        threshold = step / _THRESHOLDS
        if threshold > highest or not len(pairs):
            break
        found = contract_average(len(node), pairs.astype(np.uint64), -total, area, offset=threshold).clusters
        _, place, count = np.unique(found, return_inverse=True, return_counts=True)
        merged = count > 1
        if not merged.any():
            continue
        number = np.full(len(count), -1)
        number[merged] = known + np.arange(int(merged.sum()))
        parents[node[merged[place]]] = number[place[merged[place]]]
        upper[node[merged[place]]] = threshold
        following = number.copy()
        following[place[~merged[place]]] = node[~merged[place]]
        node, of_leaf = following, place[of_leaf]
        inside = np.flatnonzero(merged[of_leaf])
        leaf.append(inside)
        cluster.append(node[of_leaf[inside]])
        new = int(merged.sum())
        known += new
        parents, upper = np.append(parents, np.full(new, -1)), np.append(upper, np.ones(new))
        height.append(np.full(new, threshold))
        ends = place[pairs]
        apart = ends[:, 0] != ends[:, 1]
        ends = np.sort(ends[apart], axis=1)
        rest = distinct_pairs(ends[:, 0].astype(np.uint64), ends[:, 1].astype(np.uint64))
        area, total = (rest.add_up(column[apart]) if len(rest.u) else np.empty(0) for column in (area, total))
        pairs = np.stack([rest.u, rest.v], axis=1).astype(np.int64)
    entries = (np.concatenate(cluster), np.concatenate(leaf))
    members = csr_array(coo_array((np.ones(len(entries[0])), entries), (known, fragments)))
    return members, parents, np.concatenate(height), upper


def _ordered(
    fragments: Detections,
    members: csr_array,
    volume: Floats,
    parent: Indices,
    height: Floats,
    parent_height: Floats,
    kept: Flags,
) -> Hierarchy:
    """The clusters that are kept, in order, with the parents that are left."""
    nearest = np.append(np.where(kept, np.arange(len(kept)), -1), -1)  # the smallest kept cluster that contains it
    for cluster in np.flatnonzero(~kept)[::-1].tolist():  # parents first
        nearest[cluster] = nearest[parent[cluster]]
    chosen = members[kept]
    smallest = np.minimum.reduceat(chosen.indices, chosen.indptr[:-1]) if kept.any() else np.empty(0, np.int64)
    order = np.lexsort((volume[kept], smallest))
    clusters = np.flatnonzero(kept)[order]
    place = np.full(len(kept) + 1, -1)
    place[clusters] = np.arange(len(clusters))
    chosen = chosen[order]
    position = (chosen @ (fragments.volume_um3[:, None] * fragments.position_um)) / volume[clusters, None]
    border = np.minimum.reduceat(fragments.border_um[chosen.indices], chosen.indptr[:-1]) if kept.any() else np.empty(0)
    table = chosen.tocoo()
    by_leaf = np.lexsort((table.row, table.col))
    return Hierarchy(
        Detections(np.arange(1, len(clusters) + 1, dtype=np.uint64), position, volume[clusters], border),
        place[nearest[parent[clusters]]],
        height[clusters],
        parent_height[clusters],
        table.col[by_leaf].astype(np.int64),
        table.row[by_leaf].astype(np.int64),
    )


def candidate_overlaps(before: Hierarchy, after: Hierarchy, overlaps: Overlaps, fragments: tuple[Ids, Ids]) -> Overlaps:
    """Overlaps of candidates from those of fragments.

    Args:
        before: candidates of the earlier time point.
        after: candidates of the later one.
        overlaps: those of fragments.
        fragments: (n,) and (m,) uint64 ids of the fragments of the two time points, ascending.

    Returns:
        Overlaps with ids of candidates, ascending by (source, target).

    Raises:
        KeyError: an overlap names an object that is no fragment.
    """
    rows = [
        look_up(wanted, ids, np.arange(len(ids), dtype=np.uint64)).astype(np.int64)
        for wanted, ids in zip((overlaps.source, overlaps.target), fragments, strict=True)
    ]
    shared = coo_array((overlaps.volume_um3, rows), (len(fragments[0]), len(fragments[1])))
    one, other = (_members(hierarchy, len(ids)) for hierarchy, ids in zip((before, after), fragments, strict=True))
    table = (one @ csr_array(shared) @ other.T).tocoo()
    order = np.lexsort((table.col, table.row))
    source, target = (before.detections.ids[table.row[order]], after.detections.ids[table.col[order]])
    return Overlaps(source, target, table.data[order])


def choice(hierarchy: Hierarchy, weight: Floats, *, cover: float = 2.0, persistence: float = 1.0) -> Choice:
    """What taking each candidate costs, and which exclude each other.

    Args:
        hierarchy: the candidates.
        weight: (n,) float64 of each, from :func:`weights`.
        cover: reward for a candidate of weight 1.
        persistence: reward for a candidate of weight 1 that persists from evidence 0 to 1.

    Returns:
        The choice; a set that excludes each other is a path from a smallest candidate to its root.
    """
    lasting = hierarchy.parent_height - hierarchy.height
    # One fragment of each candidate that contains no other one stands for the whole path.
    smallest = np.ones(len(hierarchy.parent), bool)
    smallest[hierarchy.parent[hierarchy.parent >= 0]] = False
    inside = smallest[hierarchy.candidate]
    first = np.unique(hierarchy.candidate[inside], return_index=True)[1]
    stands = np.zeros(int(hierarchy.leaf.max(initial=-1)) + 1, bool)
    stands[hierarchy.leaf[inside][first]] = True
    on_path = stands[hierarchy.leaf]
    count = np.bincount(hierarchy.leaf[on_path], minlength=len(stands))
    on_path &= np.append(count, 0)[hierarchy.leaf] > 1
    conflict = np.unique(hierarchy.leaf[on_path], return_inverse=True)[1]
    return Choice(-weight * (cover + persistence * lasting), conflict, hierarchy.candidate[on_path])


def weights(hierarchy: Hierarchy, typical_volume_um3: float) -> Floats:
    """(n,) float64 volume of each candidate in units of a typical one."""
    return hierarchy.detections.volume_um3 / typical_volume_um3


def weigh(pair: Pair, before: Floats, after: Floats) -> Pair:
    """The pair with each event's cost multiplied by the weight of what takes part in it: the mean of before and after.

    Args:
        pair: candidate events.
        before: (n,) float64 weights of the earlier detections.
        after: (m,) float64 weights of the later ones.
    """
    links = (before[pair.links[:, 0]] + after[pair.links[:, 1]]) / 2
    divisions = (before[pair.divisions[:, 0]] + after[pair.divisions[:, 1:]].sum(axis=1)) / 2
    return Pair(
        pair.links,
        pair.link_cost * links,
        pair.divisions,
        pair.division_cost * divisions,
        pair.disappearance * before,
        pair.appearance * after,
        pair.scale_um,
    )


def most_persistent(hierarchy: Hierarchy) -> Flags:
    """(n,) bool the candidates of the cut that persists most, weighted with volume, if time is left out of account."""
    volume = hierarchy.detections.volume_um3
    worth = volume * (hierarchy.parent_height - hierarchy.height)
    below = np.zeros(len(volume))
    for candidate in np.argsort(volume, kind="stable").tolist():  # children first
        worth_here = max(worth[candidate], below[candidate])
        if hierarchy.parent[candidate] >= 0:
            below[hierarchy.parent[candidate]] += worth_here
    taken = worth >= below
    covered = np.zeros(len(volume), bool)
    for candidate in np.argsort(-volume, kind="stable").tolist():  # parents first
        above = hierarchy.parent[candidate]
        covered[candidate] = above >= 0 and (covered[above] or taken[above])
    return np.asarray(taken & ~covered)


def spacing_um(before: Hierarchy, after: Hierarchy) -> float | None:
    """The scale D of a pair for :func:`bigseg.kernels.tracking.candidates.candidates`, in µm.

    Nested candidates lie next to each other, so distances are taken between those of the most persistent cut.

    Returns:
        Half of the median distance to the nearest neighbour; None if there is none.
    """
    positions = [hierarchy.detections.position_um[most_persistent(hierarchy)] for hierarchy in (before, after)]
    nearest = [KDTree(position).query(position, 2)[0][:, 1] for position in positions if len(position) > 1]
    return float(np.median(np.concatenate(nearest)) / 2) if nearest else None


def _members(hierarchy: Hierarchy, fragments: int) -> csr_array:
    """(candidates, fragments) 1 where a candidate contains a fragment."""
    shape = (len(hierarchy.parent), fragments)
    return csr_array((np.ones(len(hierarchy.leaf)), (hierarchy.candidate, hierarchy.leaf)), shape)
