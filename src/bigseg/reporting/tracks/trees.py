"""Which lineages are drawn as trees, and where their lines lie. Pure functions on the table of tracks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bigseg.reporting.tracks.table import Rows, Tracks

MOST_TRACKS = 80
"""Lines in a picture that can still be told apart."""
_BETWEEN = 0.6
"""Room between two lineages, where 1 is that between two tracks."""


@dataclass(frozen=True, eq=False)
class Trees:
    """The lines of a picture of lineages.

    Attributes:
        rows: (m,) rows of the tracks that are drawn, lineage by lineage, mothers before daughters.
        line: (m,) how far down each lies, in lines; two leaves of a lineage are 1 apart.
        hidden: (m,) how many of the descendants of a track whose daughters are not drawn there are, 0 for others.
        lineages: how many are drawn, the last of them perhaps not to its end.
        all_lineages: how many there are.
    """

    rows: Rows
    line: np.ndarray
    hidden: Rows
    lineages: int
    all_lineages: int


def lineages_by_size(tracks: Tracks) -> Rows:
    """Rows of the first tracks of all lineages: those with most divisions first, then those that are longest in sum."""
    count = len(tracks)
    divisions = np.bincount(tracks.root[tracks.mothers], minlength=count)
    length = np.bincount(tracks.root, weights=tracks.length, minlength=count)
    roots = np.flatnonzero(tracks.parent < 0)
    return roots[np.lexsort((roots, -length[roots], -divisions[roots]))]


def plant(tracks: Tracks, most: int = MOST_TRACKS) -> Trees:
    """Lay out the largest lineages, with no more than ``most`` tracks in all.

    A lineage for which there is not enough room is drawn as far as it goes, in the order of its divisions in time.
    """
    roots = lineages_by_size(tracks)
    by_root = np.argsort(tracks.root, kind="stable")
    roots_in_order = tracks.root[by_root]
    rows: list[int] = []
    lines: list[float] = []
    hidden: list[int] = []
    below = 0.0
    drawn = 0
    for root in roots:
        if len(rows) >= most:
            break
        begin, end = np.searchsorted(roots_in_order, [root, root + 1])
        everyone = by_root[begin:end]
        chosen = _first_divisions(tracks, everyone, most - len(rows))
        order, line, leaves = _laid_out(tracks, int(root), chosen)
        rows += order
        lines += [below + line[row] for row in order]
        left_out = _left_out(tracks, everyone, chosen) if len(chosen) < len(everyone) else {}
        hidden += [left_out.get(row, 0) for row in order]
        below += leaves + _BETWEEN
        drawn += 1
    return Trees(np.array(rows, np.int64), np.array(lines), np.array(hidden, np.int64), drawn, len(roots))


def _first_divisions(tracks: Tracks, everyone: Rows, room: int) -> set[int]:
    """The first track of a lineage and the daughters of its earliest divisions, as many as there is room for."""
    (root,) = everyone[tracks.parent[everyone] < 0]
    chosen = {int(root)}
    dividing = everyone[np.isin(everyone, tracks.mothers)]
    for mother in dividing[np.lexsort((dividing, tracks.last[dividing]))]:
        daughters = tracks.daughters(int(mother))
        if len(chosen) + len(daughters) > room:
            break
        chosen.update(int(row) for row in daughters)
    return chosen


def _laid_out(tracks: Tracks, root: int, chosen: set[int]) -> tuple[list[int], dict[int, float], int]:
    """Tracks of a tree, mothers first, the line of each, and the number of leaves; a mother is amid her daughters."""
    order: list[int] = []
    waiting = [root]
    while waiting:
        row = waiting.pop()
        order.append(row)
        waiting += [int(d) for d in tracks.daughters(row)[::-1] if int(d) in chosen]
    line: dict[int, float] = {}
    leaves = 0
    parted = {int(tracks.parent[row]) for row in order if row != root}
    for row in order:
        if row not in parted:
            line[row] = float(leaves)
            leaves += 1
    for row in reversed(order):
        if row in parted:
            below = [line[int(d)] for d in tracks.daughters(row)]
            line[row] = (below[0] + below[-1]) / 2
    return order, line, leaves


def _left_out(tracks: Tracks, everyone: Rows, chosen: set[int]) -> dict[int, int]:
    """For each chosen track whose daughters are not, the number of its descendants."""
    found: dict[int, int] = {}
    nearest = {row: row for row in chosen}
    for row in everyone[np.argsort(tracks.first[everyone], kind="stable")].tolist():
        if row not in chosen:
            nearest[row] = nearest[int(tracks.parent[row])]
            found[nearest[row]] = found.get(nearest[row], 0) + 1
    return found
