"""The events that may happen between two time points, and what they cost.

All costs are numbers without unit. Lengths are divided by a scale D that is taken from the pair alone, half of the
median distance of a detection to its nearest neighbour (times the number of time points from one to the other, if some
are missing between them), so the same coefficients serve nuclei and tissues of any size, and nothing at another time
point matters. An object that disappears and another one that appears cost 1 each, so events are compared with these.

Cells of a tissue flow together, often by more than the way that each goes by itself. So steps are measured against the
motion of the surroundings (:mod:`bigseg.kernels.tracking.motion`), which is estimated from the pair as well. In dense
synthetic tissues with a flow of 0.3 cell diameters this takes the F1 of divisions from 0.72 to 0.98.

With d the length of such a step, v the volumes, IoU the intersection over union of the voxels:

- a link costs ``distance · (d / D)² + overlap · (1 − IoU) + volume · |log(v_source / v_target)|``;
- a division costs ``division + distance · (|step to the midpoint of the daughters, weighted with volume| / D)² +
  overlap · (1 − IoU of the mother and both daughters) + volume · |log((v_1 + v_2) / v_mother)| +
  asymmetry · |log(v_1 / v_2)| + separation · (|first − second| / 2D)²``: the daughters lie around the mother, fill what
  she filled, resemble each other and are neighbours;
- ``appearance`` and ``disappearance``, less near the border of the volume, through which objects come and go.

An event that can never be part of a solution of least cost is left out: a link that costs at least as much as both ends
alone, a division that costs at least as much as a link to one daughter and the appearance of the other. The rest of the
solution stays as it is when one is replaced by the other, whatever the rest is, so this loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from bigseg.kernels.clusters import look_up
from bigseg.kernels.tracking.model import Detections, Flags, Floats, Indices, Overlaps, Pair
from bigseg.kernels.tracking.motion import local_motion

_NEIGHBOURHOODS = (4, 2, 2, 1, 1, 1)
"""Rounds in which the motion of the surroundings is estimated, each from the links of the round before: from wide
neighbourhoods, in which wrong links are outvoted, to those of ``flow_neighbours``, whose motion is meant."""


@dataclass(frozen=True)
class LinkCosts:
    """Coefficients of the costs (see the module); all are numbers without unit unless said."""

    distance: float = 0.5
    """Cost of a step of length D."""
    overlap: float = 0.2
    """Cost of sharing no voxel."""
    volume: float = 0.5
    """Cost of a volume that changes by the factor e."""
    division: float = 0.3
    """Cost of any division, however good."""
    asymmetry: float = 0.2
    """Cost of a division one of whose daughters is e times as large as the other."""
    separation: float = 0.1
    """Cost of a division whose daughters are 2 D apart, the distance of neighbours."""
    appearance: float = 1.0
    """Cost of an object that was not there before."""
    disappearance: float = 1.0
    """Cost of an object that is not there any more."""
    border: float = 0.6
    """Factor on appearance and disappearance at the border of the volume; from 2 D inside it is 1."""
    neighbours: int = 6
    """Nearest detections, before and after, that are candidates by distance; those that overlap always are."""
    daughters: int = 4
    """Candidate links of a mother, those with the shortest ways, any two of which may be to her daughters."""
    flow_neighbours: int = 12
    """Links nearby whose median step says how the surroundings of a detection move; 0: they do not."""
    max_distance: float | Literal["auto"] = "auto"
    """Longest link in µm; ``auto`` is 4 D."""


def candidates(
    before: Detections,
    after: Detections,
    overlaps: Overlaps,
    costs: LinkCosts,
    drift_um: NDArray[np.float64] | tuple[float, float, float] = (0.0, 0.0, 0.0),
    gap: int = 1,
    scale_um: float | None = None,
    parent: Indices | None = None,
) -> Pair:
    """Make the candidate events of two consecutive time points.

    Args:
        before: detections of the earlier time point.
        after: detections of the later time point.
        overlaps: what they share, with ids of ``before`` and ``after``; counted after correction of the drift.
        costs: coefficients.
        drift_um: (3,) motion of the whole from the earlier to the later time point in µm, or (n, 3) of each detection
            of ``before``; it is added to the positions of ``before``.
        gap: 1, or more if time points are missing between the two: D is multiplied with it.
        scale_um: D for a gap of 1; None takes it from the detections.
        parent: (m,) int64 smallest detection of ``after`` that contains each, -1 for none, where they are nested: what
            is nested is never both daughters of one mother. None if they are not.

    Returns:
        The events. They depend on nothing but the arguments, and not on the order of ``overlaps``.

    Raises:
        KeyError: an overlap names an object that is no detection.
        ValueError: ids do not ascend, a volume is not positive, or gap < 1.
    """
    _check(before, "earlier")
    _check(after, "later")
    if gap < 1:
        raise ValueError(f"gap is {gap}, must be at least 1")
    drifted = before.position_um + np.asarray(drift_um, np.float64)
    scale = gap * (_scale(drifted, after) if scale_um is None else scale_um)
    disappearance = costs.disappearance * _near_border(before.border_um, scale, costs.border)
    appearance = costs.appearance * _near_border(after.border_um, scale, costs.border)
    shared = _shared(before, after, overlaps)
    links = _links(drifted, before, after, shared, costs, scale)
    for wide in _NEIGHBOURHOODS if costs.flow_neighbours else ():
        number = wide * costs.flow_neighbours
        moved = local_motion(drifted, links.step, links.source, links.target, links.cost, number)
        links = _links(drifted, before, after, shared, costs, scale, moved)

    alone = disappearance[links.source] + appearance[links.target]
    divisions, ends, division_cost = _divisions(links, before, after, costs, scale, parent)
    best = np.minimum(links.cost, alone)[ends]
    kept = division_cost < (best + appearance[divisions[:, :0:-1]]).min(axis=1)
    divisions, division_cost = divisions[kept], division_cost[kept]
    order = np.lexsort((divisions[:, 2], divisions[:, 1], divisions[:, 0]))
    kept = links.cost < alone
    return Pair(
        links=np.stack([links.source[kept], links.target[kept]], axis=1),
        link_cost=links.cost[kept],
        divisions=divisions[order],
        division_cost=division_cost[order],
        disappearance=disappearance,
        appearance=appearance,
        scale_um=float(scale),
    )


class _Links(NamedTuple):
    """Candidate links before the dear ones are left out, ascending by (source, target)."""

    source: Indices
    target: Indices
    step: Floats
    """(k, 3) way after the drift."""
    left: Floats
    """(k, 3) what is left of it after the motion of the surroundings."""
    shared: Floats
    """(k,) shared volume."""
    way: Floats
    """(k,) what distance and overlap cost."""
    cost: Floats


def _check(detections: Detections, which: str) -> None:
    if (detections.ids[1:] <= detections.ids[:-1]).any():
        raise ValueError(f"the ids of the {which} time point do not ascend")
    if not (detections.volume_um3 > 0).all():
        raise ValueError(f"an object of the {which} time point has no volume")


def _scale(position: Floats, after: Detections) -> float:
    """Half of the median distance to the nearest neighbour, over both time points; without one, the median radius."""
    nearest = [KDTree(p).query(p, 2)[0][:, 1] for p in (position, after.position_um) if len(p) > 1]
    distance = np.concatenate([*nearest, np.empty(0)])
    distance = distance[distance > 0]
    if len(distance):
        return float(np.median(distance) / 2)
    return float(np.median(np.cbrt(3 * after.volume_um3 / (4 * np.pi)))) if len(after.ids) else 1.0


def _near_border(border_um: Floats, scale: float, factor: float) -> Floats:
    return np.asarray(factor + (1 - factor) * np.clip(border_um / (2 * scale), 0, 1))


def _links(
    drifted: Floats,
    before: Detections,
    after: Detections,
    shared: tuple[Indices, Floats],
    costs: LinkCosts,
    scale: float,
    motion: Floats | None = None,
) -> _Links:
    """Pairs that overlap, or of which one end is among the nearest of the other; steps are without ``motion``."""
    reach = 4 * scale if costs.max_distance == "auto" else costs.max_distance
    position = drifted if motion is None else drifted + motion
    m = max(len(after.ids), 1)
    key = np.sort(np.concatenate([_near(position, after.position_um, costs.neighbours, reach), shared[0]]))
    key = key[np.diff(key, prepend=-1) > 0]  # np.unique takes several times as long
    source, target = key // m, key % m
    volume = np.zeros(len(key))
    volume[np.searchsorted(key, shared[0])] = shared[1]
    v, w = before.volume_um3[source], after.volume_um3[target]
    step = after.position_um[target] - drifted[source]
    left = after.position_um[target] - position[source]
    way = costs.distance * (left**2).sum(axis=1) / scale**2 + costs.overlap * (1 - volume / (v + w - volume))
    return _Links(source, target, step, left, volume, way, way + costs.volume * np.abs(np.log(v / w)))


def _shared(before: Detections, after: Detections, overlaps: Overlaps) -> tuple[Indices, Floats]:
    """Keys ``source * m + target`` of the overlaps, ascending, and their volumes."""
    rows = [
        look_up(wanted, detections.ids, np.arange(len(detections.ids), dtype=np.uint64)).astype(np.int64)
        for wanted, detections in ((overlaps.source, before), (overlaps.target, after))
    ]
    key = rows[0] * max(len(after.ids), 1) + rows[1]
    order = np.argsort(key, kind="stable")
    return key[order], overlaps.volume_um3[order]


def _near(position: Floats, targets: Floats, neighbours: int, reach: float) -> Indices:
    """Keys of the pairs of which one end is among the nearest of the other and no farther than ``reach``."""
    n, m = len(position), len(targets)
    if not n or not m:
        return np.empty(0, np.int64)
    forth, back = (
        KDTree(b).query(a, np.arange(1, min(neighbours, len(b)) + 1), distance_upper_bound=np.nextafter(reach, np.inf))
        for a, b in ((position, targets), (targets, position))
    )
    source, place = np.nonzero(np.isfinite(forth[0]))
    target = forth[1][source, place]
    later, place = np.nonzero(np.isfinite(back[0]))
    earlier = back[1][later, place]
    return np.concatenate([source * m + target, earlier * m + later])


def _closest(links: _Links, n: int, number: int) -> Indices:
    """(n, number) links with the shortest ways of each source, -1 where there are no more."""
    order = np.lexsort((links.way, links.source))
    source = links.source[order]
    rank = np.arange(len(order)) - np.searchsorted(source, source)
    kept = rank < number
    closest = np.full((n, number), -1)
    closest[source[kept], rank[kept]] = order[kept]
    return closest


def _nested(one: Indices, other: Indices, parent: Indices) -> Flags:
    """(k,) whether one of two detections contains the other; what becomes of a row of -1 is left open."""
    above = np.append(parent, -1)
    found = np.zeros(len(one), bool)
    for inner, outer in ((one, other), (other, one)):
        place = above[inner]
        while (place >= 0).any():
            found |= place == outer
            place = above[place]
    return found


def _divisions(
    links: _Links, before: Detections, after: Detections, costs: LinkCosts, scale: float, parent: Indices | None
) -> tuple[Indices, Indices, Floats]:
    """Divisions (d, 3) from all pairs of the closest links of each mother, the two links of each, and the costs."""
    closest = _closest(links, len(before.ids), costs.daughters)
    one, other = np.triu_indices(closest.shape[1], 1)
    a, b = closest[:, one].ravel(), closest[:, other].ravel()
    there = (a >= 0) & (b >= 0)
    if parent is not None:
        there &= ~_nested(links.target[a], links.target[b], parent)
    a, b = np.minimum(a, b)[there], np.maximum(a, b)[there]  # links ascend by target
    mother, first, second = links.source[a], links.target[a], links.target[b]
    v, x, y = before.volume_um3[mother], after.volume_um3[first], after.volume_um3[second]
    middle = (x[:, None] * links.left[a] + y[:, None] * links.left[b]) / (x + y)[:, None]
    apart = after.position_um[first] - after.position_um[second]
    shared = links.shared[a] + links.shared[b]
    cost = (
        costs.division
        + costs.distance * (middle**2).sum(axis=1) / scale**2
        + costs.overlap * (1 - shared / (v + x + y - shared))
        + costs.volume * np.abs(np.log((x + y) / v))
        + costs.asymmetry * np.abs(np.log(x / y))
        + costs.separation * (apart**2).sum(axis=1) / (2 * scale) ** 2
    )
    return np.stack([mother, first, second], axis=1), np.stack([a, b], axis=1), cost
