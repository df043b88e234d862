"""Nested candidates: the tree against average linkage, overlaps against counting, the choice against thresholds."""

from __future__ import annotations

import itertools
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tracking_checks import detections_of, overlaps_of
from tracking_planted import joint, planted
from tracking_problems import windowed

from bigseg.kernels.agglomerate import contract_average
from bigseg.kernels.tracking.candidates import LinkCosts, candidates
from bigseg.kernels.tracking.hierarchy import Hierarchy, Limits, build, candidate_overlaps, choice, most_persistent
from bigseg.kernels.tracking.model import Detections, Solution
from bigseg.kernels.tracking.program import energy, solve

SEEDS = st.integers(0, 2**32)


def sets_of(hierarchy: Hierarchy) -> list[frozenset[int]]:
    return [
        frozenset(hierarchy.leaf[hierarchy.candidate == number].tolist()) for number in range(len(hierarchy.parent))
    ]


def fragments_and_contacts(seed: int):
    generator = np.random.default_rng(seed)
    n = int(generator.integers(1, 12))
    ids = np.cumsum(generator.integers(1, 1 << 33, n)).astype(np.uint64)
    fragments = Detections(ids, generator.normal(size=(n, 3)), generator.integers(1, 9, n) / 1, generator.random(n))
    pairs = np.array(list(itertools.combinations(range(n), 2)), np.int64).reshape(-1, 2)
    pairs = pairs[generator.random(len(pairs)) < 0.5]
    area, evidence = generator.integers(1, 9, len(pairs)) / 1, generator.integers(0, 256, len(pairs)) / 255
    return fragments, pairs, area, evidence


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_candidates_are_the_clusters_of_all_thresholds(seed):
    fragments, pairs, area, evidence = fragments_and_contacts(seed)
    n = len(fragments.ids)
    found = build(fragments, *fragments.ids[pairs.T], area, evidence, Limits(minimum_change=0.0))
    sets = sets_of(found)
    lowest: dict[frozenset[int], int] = {}
    highest: dict[frozenset[int], int] = {}
    for step in range(65):  # each threshold from the fragments
        clusters = contract_average(n, pairs.astype(np.uint64), -area * evidence, area, offset=step / 64).clusters
        for name in np.unique(clusters):
            members = frozenset(np.flatnonzero(clusters == name).tolist())
            lowest.setdefault(members, step)
            highest[members] = step
    assert len(sets) == len(set(sets))
    assert set(sets) == set(lowest)
    for number, members in enumerate(sets):
        assert found.height[number] == lowest[members] / 64
        assert found.parent_height[number] == min(highest[members] + 1, 64) / 64
        around = [other for other, more in enumerate(sets) if more > members]
        assert found.parent[number] == min(around, key=lambda other: len(sets[other]), default=-1)
        rows = sorted(members)
        volume = fragments.volume_um3[rows]
        assert found.detections.volume_um3[number] == pytest.approx(volume.sum())
        centre = volume @ fragments.position_um[rows] / volume.sum()
        np.testing.assert_allclose(found.detections.position_um[number], centre)
        assert found.detections.border_um[number] == fragments.border_um[rows].min()
    assert (found.detections.ids == np.arange(1, len(sets) + 1)).all()


@given(SEEDS, st.floats(0, 0.5), st.floats(0.5, 1), st.integers(1, 4), st.integers(5, 40), st.floats(0, 0.3))
@settings(max_examples=100, deadline=None)
def test_limits_leave_out_what_they_say(seed, low, high, small, large, change):
    fragments, pairs, area, evidence = fragments_and_contacts(seed)
    arguments = (fragments, *fragments.ids[pairs.T], area, evidence)
    limits = Limits(low, high, small, large, change)
    everything, found = build(*arguments, Limits(minimum_change=0.0)), build(*arguments, limits)
    volume = dict(zip(sets_of(everything), everything.detections.volume_um3, strict=True))
    sets = sets_of(found)
    assert set(sets) <= set(volume)
    for number, members in enumerate(sets):
        assert small <= volume[members] <= large
        if members in volume and len(members) > 1:
            assert found.height[number] <= high
        around = [other for other, more in enumerate(sets) if more > members]
        assert found.parent[number] == min(around, key=lambda other: len(sets[other]), default=-1)
        if found.parent[number] >= 0:
            assert found.parent_height[number] > low or everything.parent_height[number] == 1


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_sets_exclude_exactly_what_is_nested(seed):
    fragments, pairs, area, evidence = fragments_and_contacts(seed)
    found = build(fragments, *fragments.ids[pairs.T], area, evidence, Limits())
    made = choice(found, np.ones(len(found.parent)))
    excluded = {
        frozenset(pair)
        for number in np.unique(made.conflict)
        for pair in itertools.combinations(made.member[made.conflict == number].tolist(), 2)
    }
    sets = sets_of(found)
    nested = {frozenset((a, b)) for a, b in itertools.combinations(range(len(sets)), 2) if sets[a] & sets[b]}
    assert excluded == nested
    cut = np.flatnonzero(most_persistent(found))
    assert all(frozenset(pair) not in nested for pair in itertools.combinations(cut.tolist(), 2))


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_overlaps_add_up_along_the_trees(seed):
    generator = np.random.default_rng(seed)
    labels = [generator.integers(0, 5, (1, 6, 6)).astype(np.uint64) * 7 for _ in range(2)]
    trees, ids = [], []
    for frame in labels:
        fragments = detections_of(frame.astype(np.int64))
        pairs = fragments.ids[np.array(list(itertools.combinations(range(len(fragments.ids)), 2)), int).reshape(-1, 2)]
        evidence = generator.random(len(pairs))
        trees.append(build(fragments, *pairs.T, np.ones(len(pairs)), evidence, Limits()))
        ids.append(fragments.ids)
    found = candidate_overlaps(*trees, overlaps_of(*labels), (ids[0], ids[1]))
    shared = dict(zip(zip(found.source.tolist(), found.target.tolist(), strict=True), found.volume_um3, strict=True))
    members = [sets_of(tree) for tree in trees]
    for (a, one), (b, other) in itertools.product(enumerate(members[0]), enumerate(members[1])):
        both = np.isin(labels[0], ids[0][sorted(one)]) & np.isin(labels[1], ids[1][sorted(other)])
        assert shared.get((a + 1, b + 1), 0) == both.sum()


def test_daughters_are_never_nested_and_nothing_else_is_left_out():
    frames = planted(4, times=3)
    trees, _, pairs, choices = joint(frames)
    sets = [sets_of(tree) for tree in trees]
    for time, pair in enumerate(pairs, 1):
        assert len(pair.divisions)
        assert all(not sets[time][a] & sets[time][b] for _, a, b in pair.divisions.tolist())
    with patch("bigseg.kernels.tracking.candidates._nested", lambda one, *_: np.zeros(len(one), bool)):
        _, _, more, _ = joint(frames)
    for time, (pair, all_of) in enumerate(zip(pairs, more, strict=True), 1):
        np.testing.assert_array_equal(pair.links, all_of.links)
        apart = [not sets[time][a] & sets[time][b] for _, a, b in all_of.divisions.tolist()]
        assert 0 < sum(apart) < len(apart)
        np.testing.assert_array_equal(pair.divisions, all_of.divisions[apart])
    found = energy(pairs, choices, solve(pairs, choices))
    assert found == pytest.approx(energy(more, choices, solve(more, choices)))


def link_score(frames, objects: list[list[np.ndarray]], solution: Solution) -> float:
    """F1 of links between objects that match a true cell (IoU above one half) and the same one in the next frame."""
    matched = []
    for (cells, *_), found in zip(frames, objects, strict=True):
        names = []
        for mask in found:
            if not mask.any():
                names.append(0)  # is not taken
                continue
            cell, count = np.unique(cells[mask], return_counts=True)
            best = cell[count.argmax()]
            iou = count.max() / (mask.sum() + (cells == best).sum() - count.max())
            names.append(int(best) if iou > 0.5 else 0)
        matched.append(np.array(names))
    right = wanted = given_ = 0
    for time, events in enumerate(solution.events):
        a, b = matched[time][events.links[:, 0]], matched[time + 1][events.links[:, 1]]
        right += int(((a == b) & (a > 0)).sum())
        given_ += len(events.links)
        wanted += len(np.intersect1d(frames[time][0], frames[time + 1][0]))
    return 2 * right / (wanted + given_)


def masks(half: np.ndarray, ids: np.ndarray, tree: Hierarchy, selected: np.ndarray) -> list[np.ndarray]:
    sets = sets_of(tree)
    return [
        np.isin(half, ids[sorted(sets[number])]) if taken else np.zeros(half.shape, bool)
        for number, taken in enumerate(selected)
    ]


def best_threshold(frames) -> float:
    """The best link score over all thresholds, with the same program."""
    scores = []
    for threshold in np.linspace(0.05, 0.95, 19):
        labels = []
        for _, half, u, v, area, evidence in frames:
            ids = np.unique(half)
            pairs = np.stack([np.searchsorted(ids, u), np.searchsorted(ids, v)], axis=1).astype(np.uint64)
            clusters = contract_average(len(ids), pairs, -area * evidence, area, offset=threshold).clusters
            labels.append(clusters[np.searchsorted(ids, half)] + 1)
        detections = [detections_of(frame) for frame in labels]
        if min(len(found.ids) for found in detections) < 2:
            continue
        pairs_ = [
            candidates(a, b, overlaps_of(labels[t], labels[t + 1]), LinkCosts())
            for t, (a, b) in enumerate(itertools.pairwise(detections))
        ]
        objects = [[frame == name for name in found.ids] for frame, found in zip(labels, detections, strict=True)]
        scores.append(link_score(frames, objects, solve(pairs_)))
    return max(scores)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_joint_choice_beats_the_best_threshold(seed):
    frames = planted(seed)
    trees, ids, pairs, choices = joint(frames)
    solution = solve(pairs, choices)
    objects = [masks(f[1], i, t, s) for f, i, t, s in zip(frames, ids, trees, solution.selected, strict=True)]
    found, best = link_score(frames, objects, solution), best_threshold(frames)
    assert found > best
    for taken, made in zip(solution.selected, choices, strict=True):
        if len(made.conflict):
            assert np.bincount(made.conflict, taken[made.member]).max() == 1, "a fragment is in no object"
    parts = windowed(pairs, choices, 2, 2, 1)
    objects = [masks(f[1], i, t, s) for f, i, t, s in zip(frames, ids, trees, parts.selected, strict=True)]
    assert link_score(frames, objects, parts) > best
