"""Scores of tracks against true tracks, from the contingency table of each time point and two lineages.

The measures are those of the Cell Tracking Challenge. A true object is *matched* by the result object that covers more
than half of it: |R ∩ S| > |R| / 2. No true object is matched twice; a result object may match several.

- **SEG**: mean over the true objects of all time points of |R ∩ S| / |R ∪ S| of their match, 0 without one.
- **DET** and **TRA**: objects are the vertices of a graph; edges link an object to the same track at the next time
  point where that is seen, and the last object of a mother to the first of each daughter. AOGM is what it costs to turn
  the graph of the result into that of the truth: 5 for each split of a vertex that matches several (NS), 10 for a
  vertex to add (FN), 1 for one to remove (FP), 1 for an edge to remove (ED), 1.5 for one to add (EA), 1 for one that
  links mother and daughter in one graph and the same track in the other (EC). TRA = 1 − min(AOGM, AOGM₀) / AOGM₀, where
  AOGM₀ is the cost of making the truth from nothing; DET the same with vertices alone.
- **Divisions**: a division of the truth is found if a track that divides matches the mother, and nothing else, at the
  last time point that both mothers see, if the numbers of daughters are equal, if each daughter is matched, and not
  with another, at the first time point that both see, and if mothers end and daughters start within the tolerance. This
  is BC(i), branching correctness, of the challenge; i is the tolerance. Time points that were left out do not count.

Sources: Matula et al., PLoS ONE 10 (2015) e0144959 (AOGM); Ulman et al., Nat. Methods 14 (2017) 1141 (SEG, TRA, BC).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt

from bigseg.kernels.contingency import Contingency
from bigseg.kernels.lineage import Ids, Lineage, appearing

NS, FN, FP, ED, EA, EC = 5.0, 10.0, 1.0, 1.0, 1.5, 1.0
"""Weights of the corrections."""
TOLERANCE = 1
"""Time points by which a division may be early or late to count for the scores "within 1"."""

Index = npt.NDArray[np.int64]


class TrackingScores(TypedDict):
    """The scores of tracks, as they are written to ``tracking_scores.json``; 1 is best."""

    det: float
    """Detection: 1 − the cost of wrong vertices."""
    seg: float
    """Mean Jaccard index of the true objects with their matches."""
    tra: float
    """Tracking: 1 − the cost of wrong vertices and edges."""
    division_precision: float
    """Divisions found at the very time point / divisions of the result."""
    division_recall: float
    """Divisions found at the very time point / divisions of the truth."""
    division_f1: float
    """Harmonic mean of the two."""
    division_precision_within_1: float
    """The same for divisions found at most one time point early or late."""
    division_recall_within_1: float
    """Likewise."""
    division_f1_within_1: float
    """Likewise."""
    n_tracks_result: int
    """Tracks in the result."""
    n_tracks_truth: int
    """Tracks in the truth."""
    n_divisions_result: int
    """Tracks of the result from which two or more come."""
    n_divisions_truth: int
    """Tracks of the truth from which two or more come."""


@dataclass(frozen=True)
class Corrections:
    """What has to be done to the graph of the result to make it that of the truth."""

    vertices: int
    """Of the truth."""
    edges: int
    """Of the truth."""
    split: int
    """NS: matches of a result vertex beyond its first."""
    add: int
    """FN: vertices of the truth that nothing matches."""
    remove: int
    """FP: vertices of the result that match nothing."""
    remove_edges: int
    """ED: edges of the result between vertices that match one vertex each, where the truth has none."""
    add_edges: int
    """EA: edges of the truth that the result lacks."""
    change_edges: int
    """EC: edges of both, but with another meaning."""

    @property
    def vertex_cost(self) -> float:
        """Cost of the corrections of vertices."""
        return NS * self.split + FN * self.add + FP * self.remove

    @property
    def edge_cost(self) -> float:
        """Cost of the corrections of edges."""
        return ED * self.remove_edges + EA * self.add_edges + EC * self.change_edges


class _Frame(NamedTuple):
    """What is kept of a time point."""

    time: int
    results: Ids
    """Labels of the result."""
    truths: Ids
    """Labels of the truth."""
    matches: Ids
    """What matches each label of the truth, 0 for nothing."""
    jaccard: float
    """Sum over the matches."""


class TrackingTally:
    """What the scores need of the time points, added one by one; memory is that of their objects."""

    def __init__(self) -> None:
        """Begin without any time point."""
        self._frames: list[_Frame] = []

    def add(self, time: int, table: Contingency) -> None:
        """Match the objects of a time point.

        Args:
            time: its number; each once, in any order.
            table: voxels that the labels of result and truth share, of the whole time point; background is 0.
        """
        result, i = np.unique(table.result, return_inverse=True)
        truth, j = np.unique(table.truth, return_inverse=True)
        result_sizes, truth_sizes = np.zeros(result.size, np.uint64), np.zeros(truth.size, np.uint64)
        np.add.at(result_sizes, i, table.count)
        np.add.at(truth_sizes, j, table.count)
        matching = (table.result != 0) & (table.truth != 0) & (2 * table.count > truth_sizes[j])
        matches = np.zeros(truth.size, np.uint64)
        matches[j[matching]] = table.result[matching]
        shared = table.count[matching]
        union = result_sizes[i[matching]] + truth_sizes[j[matching]] - shared
        real = truth != 0
        self._frames.append(
            _Frame(time, result[result != 0], truth[real], matches[real], float((shared / union).sum()))
        )

    def seen(self) -> tuple[Lineage, Lineage]:
        """When the tracks of result and truth are seen, without parents."""
        return (
            appearing((frame.time, frame.results) for frame in self._frames),
            appearing((frame.time, frame.truths) for frame in self._frames),
        )

    def scores(self, result: Lineage, truth: Lineage) -> TrackingScores:
        """The scores of all time points that were added.

        Where a ratio would be 0 / 0 it is 1 if there is nothing on either side, else 0. Plain Python numbers, never
        NaN.

        Args:
            result: the lineage of the labels of the result; of a track only the parent counts.
            truth: that of the truth.
        """
        graphs = self._graphs(result, truth)
        counted = _count(*graphs)
        no_vertices = 1.0 if graphs.truth.label.size == graphs.result.label.size == 0 else 0.0
        whole = FN * counted.vertices + EA * counted.edges
        divisions = [_Divisions(graphs, result, truth, tolerance) for tolerance in (0, TOLERANCE)]
        return TrackingScores(
            det=1 - min(1.0, _ratio(counted.vertex_cost, FN * counted.vertices, 1 - no_vertices)),
            seg=_ratio(sum(frame.jaccard for frame in self._frames), graphs.truth.label.size, no_vertices),
            tra=1 - min(1.0, _ratio(counted.vertex_cost + counted.edge_cost, whole, 1 - no_vertices)),
            division_precision=divisions[0].precision,
            division_recall=divisions[0].recall,
            division_f1=divisions[0].f1,
            division_precision_within_1=divisions[1].precision,
            division_recall_within_1=divisions[1].recall,
            division_f1_within_1=divisions[1].f1,
            n_tracks_result=int(np.unique(graphs.result.label).size),
            n_tracks_truth=int(np.unique(graphs.truth.label).size),
            n_divisions_result=divisions[0].of_result,
            n_divisions_truth=divisions[0].of_truth,
        )

    def corrections(self, result: Lineage, truth: Lineage) -> Corrections:
        """The corrections that DET and TRA count; arguments as :meth:`scores`."""
        return _count(*self._graphs(result, truth))

    def _graphs(self, result: Lineage, truth: Lineage) -> _Graphs:
        # Times become positions in the sequence, so that a tolerance counts the time points that there are.
        frames = [
            frame._replace(time=time) for time, frame in enumerate(sorted(self._frames, key=lambda frame: frame.time))
        ]
        found = _graph(result, [(frame.time, frame.results) for frame in frames])
        wanted = _graph(truth, [(frame.time, frame.truths) for frame in frames])
        times, truths = _objects([(frame.time, frame.truths) for frame in frames])
        _, matches = _objects([(frame.time, frame.matches) for frame in frames])
        matched = matches != 0
        target = np.full(wanted.label.size, -1, np.int64)
        target[wanted.vertices(times[matched], truths[matched])] = found.vertices(times[matched], matches[matched])
        return _Graphs(found, wanted, target)


class _Graph(NamedTuple):
    """Objects and the edges between them; vertices ascend by (label, time)."""

    label: Ids
    time: Index
    before: Index
    """(m,) vertex at which an edge begins."""
    after: Index
    """(m,) vertex at which it ends."""
    to_daughter: npt.NDArray[np.bool_]
    """(m,) whether it links a track to one that comes from it."""

    def vertices(self, times: Index, labels: Ids) -> Index:
        """The vertex of each object, -1 for one that there is not."""
        if self.label.size == 0:
            return np.full(len(labels), -1, np.int64)
        names, count = np.unique(self.label, return_counts=True)
        row = np.minimum(np.searchsorted(names, labels), names.size - 1)
        # Times of a label are ascending, so one search over (row of the label, time) finds all.
        span = int(self.time.max()) + 1
        keys = np.repeat(np.arange(names.size), count) * span + self.time
        wanted = row * span + times
        place = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
        return np.where((keys[place] == wanted) & (names[row] == labels), place, -1)


class _Graphs(NamedTuple):
    """Both graphs; ``match`` is the vertex of the result that matches each vertex of the truth, -1 for none."""

    result: _Graph
    truth: _Graph
    match: Index


def _graph(lineage: Lineage, labels: list[tuple[int, Ids]]) -> _Graph:
    time, label = _objects(labels)
    order = np.lexsort((time, label))
    label, time = label[order], time[order]
    same = np.flatnonzero(label[1:] == label[:-1])
    names, first, count = np.unique(label, return_index=True, return_counts=True)
    last = first + count - 1
    rows = lineage.rows(names)
    if (unknown := np.flatnonzero(rows < 0)).size:
        raise ValueError(f"the lineage has no track {names[unknown[0]]}, and there are such labels")
    parent = lineage.parent[rows]
    place = np.searchsorted(names, parent)
    child = np.flatnonzero((parent != 0) & (names[np.minimum(place, names.size - 1)] == parent))
    before = np.concatenate([same, last[place[child]]]).astype(np.int64)
    after = np.concatenate([same + 1, first[child]]).astype(np.int64)
    kind = np.zeros(before.size, bool)
    kind[same.size :] = True
    return _Graph(label, time, before, after, kind)


def _count(result: _Graph, truth: _Graph, match: Index) -> Corrections:
    """Count the corrections; see :class:`_Graphs`."""
    matches = np.bincount(match[match >= 0], minlength=result.label.size)
    only = np.full(result.label.size, -1, np.int64)  # the vertex of the truth, where it is a single one
    matched = np.flatnonzero(match >= 0)
    only[match[matched]] = matched
    only[matches != 1] = -1

    inside = (only[result.before] >= 0) & (only[result.after] >= 0)
    size = truth.label.size
    ours = only[result.before[inside]] * size + only[result.after[inside]]
    theirs = truth.before * size + truth.after
    shared, at, there = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
    return Corrections(
        vertices=size,
        edges=truth.before.size,
        split=int((matches[matches > 1] - 1).sum()),
        add=int(np.count_nonzero(match < 0)),
        remove=int(np.count_nonzero(matches == 0)),
        remove_edges=int(ours.size - shared.size),
        add_edges=int(theirs.size - shared.size),
        change_edges=int(np.count_nonzero(result.to_daughter[inside][at] != truth.to_daughter[there])),
    )


class _Divisions:
    """How many divisions are found within a tolerance."""

    def __init__(self, graphs: _Graphs, result: Lineage, truth: Lineage, tolerance: int) -> None:
        self._graphs, self._tolerance = graphs, tolerance
        self._matches = np.bincount(graphs.match[graphs.match >= 0], minlength=graphs.result.label.size)
        self._result, self._truth = _Spans(graphs.result), _Spans(graphs.truth)
        result_daughters = _daughters(result, self._result)
        truth_daughters = _daughters(truth, self._truth)
        self.of_result, self.of_truth = len(result_daughters), len(truth_daughters)
        taken: set[int] = set()
        for mother, daughters in truth_daughters.items():
            for candidate in self._mothers(mother):
                if candidate in taken or candidate not in result_daughters:
                    continue
                if self._same(daughters, result_daughters[candidate]):
                    taken.add(candidate)
                    break
        found, nothing = len(taken), 1.0 if self.of_result == self.of_truth == 0 else 0.0
        self.precision = _ratio(found, self.of_result, nothing)
        self.recall = _ratio(found, self.of_truth, nothing)
        self.f1 = _ratio(2 * found, self.of_result + self.of_truth, nothing)

    def _mothers(self, mother: int) -> Iterator[int]:
        """Tracks of the result that may be a mother: they end soon enough, and match it at the last common time."""
        end = self._truth.end(mother)
        seen: set[int] = set()
        for time in range(end, end - self._tolerance - 1, -1):
            candidate = self._partner(time, mother)
            if candidate == 0 or candidate in seen:
                continue
            late = self._result.end(candidate) - end
            if abs(late) <= self._tolerance and time == min(end, end + late):
                seen.add(candidate)
                yield candidate

    def _partner(self, time: int, label: int) -> int:
        """The label of the result that matches a label of the truth at a time, and nothing else; 0 for none."""
        graphs = self._graphs
        vertex = self._truth.vertex(time, label)
        partner = -1 if vertex < 0 else int(graphs.match[vertex])
        return int(graphs.result.label[partner]) if partner >= 0 and self._matches[partner] == 1 else 0

    def _same(self, wanted: list[int], found: list[int]) -> bool:
        """Whether daughters are matched by daughters."""
        if len(wanted) != len(found):
            return False
        used: set[int] = set()
        for daughter in wanted:
            start = self._truth.start(daughter)
            for candidate in found:
                other = self._result.start(candidate)
                if abs(start - other) <= self._tolerance and self._partner(max(start, other), daughter) == candidate:
                    used.add(candidate)
                    break
        return len(used) == len(wanted)


class _Spans:
    """Where each label of a graph is among its vertices."""

    def __init__(self, graph: _Graph) -> None:
        self._graph = graph
        self._names, self._first, self._count = np.unique(graph.label, return_index=True, return_counts=True)

    def __contains__(self, label: int) -> bool:
        at = self._at(label)
        return at < self._names.size and int(self._names[at]) == label

    def _at(self, label: int) -> int:
        return int(np.searchsorted(self._names, np.uint64(label)))

    def start(self, label: int) -> int:
        return int(self._graph.time[self._first[self._at(label)]])

    def end(self, label: int) -> int:
        at = self._at(label)
        return int(self._graph.time[self._first[at] + self._count[at] - 1])

    def vertex(self, time: int, label: int) -> int:
        at = self._at(label)
        begin = int(self._first[at])
        times = self._graph.time[begin : begin + int(self._count[at])]
        place = int(np.searchsorted(times, time))
        return begin + place if place < times.size and times[place] == time else -1


def _daughters(lineage: Lineage, seen: _Spans) -> dict[int, list[int]]:
    """The daughters of each track that divides, of those that are seen."""
    found: dict[int, list[int]] = {}
    for row in np.flatnonzero(np.isin(lineage.parent, lineage.mothers())):
        mother, daughter = int(lineage.parent[row]), int(lineage.track[row])
        if mother in seen and daughter in seen:
            found.setdefault(mother, []).append(daughter)
    return {mother: daughters for mother, daughters in found.items() if len(daughters) > 1}


def _objects(labels: list[tuple[int, Ids]]) -> tuple[Index, Ids]:
    """Times and labels of the labels of all time points."""
    if not labels:
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    times = [np.full(found.shape, time, np.int64) for time, found in labels]
    return np.concatenate(times), np.concatenate([found for _, found in labels])


def _ratio(numerator: float, denominator: float, otherwise: float) -> float:
    return float(numerator / denominator) if denominator else float(otherwise)
