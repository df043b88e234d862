"""Small random movies of labels with lineages, and results that get them wrong in all ways."""

from __future__ import annotations

import numpy as np

from bigseg.kernels.contingency import count_pairs
from bigseg.kernels.lineage import Lineage, appearing, restrict
from bigseg.kernels.tracking_scores import TrackingTally

PLACES, WIDTH = 9, 5
"""Cells lie side by side in a row of voxels."""


def seen_in(lapse: np.ndarray) -> Lineage:
    return appearing((t, np.unique(labels)) for t, labels in enumerate(lapse))


def truth_movie(rng: np.random.Generator, times: int = 6) -> tuple[np.ndarray, Lineage]:
    """A movie (t, z, y, x) in which cells appear, vanish and divide, and its lineage."""
    lapse = np.zeros((times, 1, 2, PLACES * WIDTH), np.uint32)
    place = np.where(rng.random(PLACES) < 0.6, np.arange(1, PLACES + 1), 0)
    following, parent = PLACES + 1, {int(label): 0 for label in place if label}
    for frame in lapse:
        for at, label in enumerate(place):
            frame[:, :, at * WIDTH : (at + 1) * WIDTH - int(rng.integers(0, 2))] = label
        for at in rng.permutation(PLACES):
            event, free = rng.random(), np.flatnonzero(place == 0)
            if place[at] and event < 0.25 and len(free):
                mother, other = int(place[at]), int(rng.choice(free))
                place[at], place[other] = following, following + 1
                parent |= {following: mother, following + 1: mother}
                following += 2
            elif event < 0.35:
                place[at] = 0 if place[at] else following
                if place[at]:
                    parent[following] = 0
                    following += 1
    return lapse, with_parents(*one_piece(lapse, parent))


def with_parents(lapse: np.ndarray, parent: dict[int, int]) -> Lineage:
    """The lineage of what is seen, without parents that are not over when their daughters start."""
    seen = seen_in(lapse)
    end = dict(zip(seen.track.tolist(), seen.end.tolist(), strict=True))
    parents = [
        parent.get(label, 0) if end.get(parent.get(label, 0), start) < start else 0
        for label, start in zip(seen.track.tolist(), seen.start.tolist(), strict=True)
    ]
    return restrict(Lineage(seen.track, np.array(parents, np.uint64), seen.start, seen.end), seen)


def one_piece(lapse: np.ndarray, parent: dict[int, int]) -> tuple[np.ndarray, dict[int, int]]:
    """The same, in place, with another label after each gap, as the Cell Tracking Challenge has it."""
    following = int(max(lapse.max(), *parent, 0)) + 1
    for label in np.unique(lapse[lapse > 0]).tolist():
        there = [(frame == label).any() for frame in lapse]
        now = label
        for t in range(1, len(lapse)):
            if there[t] and not there[t - 1] and any(there[:t]):
                now, following = following, following + 1
                parent[now] = 0
            if there[t] and now != label:
                lapse[t][lapse[t] == label] = now
    return lapse, parent


def wrong_result(rng: np.random.Generator, truth: np.ndarray, lineage: Lineage) -> tuple[np.ndarray, Lineage]:
    """A result with lost, invented, split and joined cells, swapped tracks, and divisions late, lost and invented."""
    lapse = truth.copy()
    parent = dict(zip(lineage.track.tolist(), lineage.parent.tolist(), strict=True))
    following = int(lapse.max()) + 1
    rate = rng.choice([0.0, 0.05, 0.15])
    for t, frame in enumerate(lapse):
        for label in np.unique(frame[frame > 0]).tolist():
            if rng.random() >= rate:
                continue
            where = frame == label
            kind = rng.integers(0, 5)
            if kind == 0:
                frame[where] = 0
            elif kind == 1:  # joined with another
                frame[where] = rng.choice(np.unique(frame))
            elif kind == 2:  # cut up; a part may be the larger half
                frame[where & (np.arange(frame.shape[-1]) % WIDTH < rng.integers(1, WIDTH))] = following
                following += 1
            elif kind == 3:  # another track from here on
                for later in lapse[t:]:
                    later[later == label] = following
                parent[following] = int(rng.choice([0, label]))
                following += 1
            else:  # still taken for the mother: a late division
                frame[where] = parent.get(label, 0) or label
    background = rng.random(lapse.shape) < rate / 10
    lapse[background & (lapse == 0)] = following
    for label in list(parent):
        if rng.random() < rate:
            parent[label] = int(rng.choice([0, *list(parent)]))
    return lapse, with_parents(*one_piece(lapse, parent))


def tally(result: np.ndarray, truth: np.ndarray) -> TrackingTally:
    """All time points, not in order."""
    found = TrackingTally()
    for t in reversed(range(len(truth))):
        found.add(t, count_pairs(result[t], truth[t]))
    return found
