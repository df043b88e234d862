"""Tracks and lineages: against following each detection by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from tracking_problems import problems

from bigseg.kernels.tracking.model import Events, Solution
from bigseg.kernels.tracking.program import solve
from bigseg.kernels.tracking.tracing import begin, extend, trace


def by_hand(solution: Solution):
    """Tracks as a list of dictionaries, one detection after the other."""
    tracks, current = [], {}
    for time, selected in enumerate(solution.selected):
        following = {}
        linked = {j: i for i, j in (solution.events[time - 1].links.tolist() if time else [])}
        born = {d: m for m, *two in (solution.events[time - 1].divisions.tolist() if time else []) for d in two}
        for j in np.flatnonzero(selected).tolist():
            if j in linked:
                following[j] = current[linked[j]]
                tracks[following[j]]["end"] = time
                continue
            parent = current[born[j]] if j in born else None
            generation = 0 if parent is None else tracks[parent]["generation"] + 1
            following[j] = len(tracks)
            tracks.append({"parent": parent, "generation": generation, "start": time, "end": time})
        current = following
    return tracks


@given(problems(largest=5, times=5))
@settings(max_examples=60, deadline=None)
def test_lineage_by_hand_and_unmoved_by_what_comes_later(problem):
    pairs, choices = problem
    solution = solve(pairs, choices)
    times = [3 * time for time in range(len(choices))]
    traced = trace(times, solution)
    expected = {
        number: (0 if t["parent"] is None else t["parent"] + 1, t["generation"], 3 * t["start"], 3 * t["end"])
        for number, t in enumerate(by_hand(solution), 1)
    }
    assert traced[-1].number == len(expected)
    ends = {track: time for time, frame in zip(times, traced, strict=True) for track in frame.track.tolist()}
    for frame, selected in zip(traced, solution.selected, strict=True):
        np.testing.assert_array_equal(frame.track > 0, selected)
        assert frame.track.dtype == np.uint32
        for track, *rest in np.stack([frame.track, frame.parent, frame.generation, frame.start], axis=1).tolist():
            assert not track or (*rest, ends[track]) == expected[track]
    assert ends.keys() - {0} == expected.keys()
    shorter = trace(times[:-1], Solution(solution.selected[:-1], solution.events[:-1]))
    for a, b in zip(shorter, traced, strict=False):
        for name in ("track", "parent", "generation", "start"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_numbers_and_families():
    events = Events(np.array([[1, 2]]), np.array([[0, 0, 3]]))
    lineage = extend(begin(0, np.array([True, True])), 1, np.ones(4, bool), events)
    assert lineage.track.tolist() == [3, 4, 2, 5]
    assert lineage.parent.tolist() == [1, 0, 0, 1]
    assert lineage.generation.tolist() == [1, 0, 0, 1]
    assert lineage.start.tolist() == [1, 1, 0, 1]
    assert lineage.number == 5


def test_contradictions_are_refused():
    merge = Events(np.array([[0, 0], [1, 0]]), np.empty((0, 3), np.int64))
    with pytest.raises(ValueError, match="later time point is in two events"):
        extend(begin(0, np.ones(2, bool)), 1, np.ones(1, bool), merge)
    left_out = Events(np.array([[0, 0]]), np.empty((0, 3), np.int64))
    with pytest.raises(ValueError, match="earlier time point"):
        extend(begin(0, np.zeros(1, bool)), 1, np.ones(1, bool), left_out)
