"""Candidate events: the costs as they are documented, nothing lost by leaving events out, independence of units."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tracking_checks import agreement, movie_of, tissue
from tracking_problems import cheapest_pair

from bigseg.kernels.tracking.candidates import LinkCosts, candidates
from bigseg.kernels.tracking.model import Detections, Overlaps, Pair
from bigseg.kernels.tracking.motion import local_motion
from bigseg.kernels.tracking.program import energy, solve

STILL = LinkCosts(flow_neighbours=0, neighbours=50, daughters=50, max_distance=1e9)
"""Every pair of detections is a candidate, every two are daughters."""


def frame(seed: int, n: int) -> Detections:
    generator = np.random.default_rng(seed)
    ids = np.cumsum(generator.integers(1, 1 << 40, n)).astype(np.uint64)
    return Detections(ids, 5 * generator.random((n, 3)), generator.uniform(1, 3, n), 4 * generator.random(n))


def shared(seed: int, before: Detections, after: Detections) -> Overlaps:
    generator = np.random.default_rng(seed)
    pairs = np.argwhere(generator.random((len(before.ids), len(after.ids))) < 0.3)
    return Overlaps(before.ids[pairs[:, 0]], after.ids[pairs[:, 1]], generator.uniform(0.1, 0.5, len(pairs)))


def documented(before: Detections, after: Detections, overlaps: Overlaps, costs: LinkCosts, scale: float) -> Pair:
    """All events with the costs of the module's docstring, one by one."""
    table = {
        (int(np.flatnonzero(before.ids == a)[0]), int(np.flatnonzero(after.ids == b)[0])): float(v)
        for a, b, v in zip(overlaps.source, overlaps.target, overlaps.volume_um3, strict=True)
    }
    p, q, v, w = before.position_um, after.position_um, before.volume_um3, after.volume_um3
    links, link_cost, divisions, division_cost = [], [], [], []
    for i, j in itertools.product(range(len(v)), range(len(w))):
        both = table.get((i, j), 0.0)
        links.append((i, j))
        link_cost.append(
            costs.distance * (np.linalg.norm(p[i] - q[j]) / scale) ** 2
            + costs.overlap * (1 - both / (v[i] + w[j] - both))
            + costs.volume * abs(np.log(v[i] / w[j]))
        )
    for i, (j, k) in itertools.product(range(len(v)), itertools.combinations(range(len(w)), 2)):
        both = table.get((i, j), 0.0) + table.get((i, k), 0.0)
        middle = (w[j] * q[j] + w[k] * q[k]) / (w[j] + w[k])
        divisions.append((i, j, k))
        division_cost.append(
            costs.division
            + costs.distance * (np.linalg.norm(middle - p[i]) / scale) ** 2
            + costs.overlap * (1 - both / (v[i] + w[j] + w[k] - both))
            + costs.volume * abs(np.log((w[j] + w[k]) / v[i]))
            + costs.asymmetry * abs(np.log(w[j] / w[k]))
            + costs.separation * (np.linalg.norm(q[j] - q[k]) / (2 * scale)) ** 2
        )
    near = [np.minimum(d.border_um / (2 * scale), 1) for d in (before, after)]
    gone = costs.disappearance * (costs.border + (1 - costs.border) * near[0])
    new = costs.appearance * (costs.border + (1 - costs.border) * near[1])
    return Pair(
        np.array(links, np.int64).reshape(-1, 2),
        np.array(link_cost),
        np.array(divisions, np.int64).reshape(-1, 3),
        np.array(division_cost),
        gone,
        new,
        scale,
    )


@given(st.integers(0, 2**32), st.integers(0, 4), st.integers(0, 4))
@settings(max_examples=100, deadline=None)
def test_costs_are_as_documented_and_what_is_left_out_is_never_worth_it(seed, n, m):
    before, after = frame(seed, n), frame(seed + 1, m)
    overlaps = shared(seed, before, after)
    costs = dataclasses.replace(STILL, division=0.1, separation=0.05, distance=0.2)
    pair = candidates(before, after, overlaps, costs, scale_um=1.5)
    everything = documented(before, after, overlaps, costs, 1.5)
    np.testing.assert_allclose(pair.disappearance, everything.disappearance)
    np.testing.assert_allclose(pair.appearance, everything.appearance)
    for kind, cost in (("links", "link_cost"), ("divisions", "division_cost")):
        expected = dict(zip(map(tuple, getattr(everything, kind).tolist()), getattr(everything, cost), strict=True))
        found = list(map(tuple, getattr(pair, kind).tolist()))
        assert found == sorted(set(found))
        np.testing.assert_allclose(getattr(pair, cost), [expected[event] for event in found])
    least = cheapest_pair(everything, np.ones(n, bool), np.ones(m, bool))
    assert energy([pair], None, solve([pair])) == pytest.approx(least)


@given(st.integers(0, 2**32), st.sampled_from([0.125, 4.0]))
@settings(max_examples=30, deadline=None)
def test_units_do_not_matter(seed, factor):
    before, after = frame(seed, 9), frame(seed + 1, 10)
    overlaps = shared(seed, before, after)
    larger = [
        Detections(d.ids, d.position_um * factor, d.volume_um3 * factor**3, d.border_um * factor)
        for d in (before, after)
    ]
    more = Overlaps(overlaps.source, overlaps.target, overlaps.volume_um3 * factor**3)
    one, other = candidates(before, after, overlaps, LinkCosts()), candidates(*larger, more, LinkCosts())
    assert other.scale_um == pytest.approx(one.scale_um * factor)
    np.testing.assert_array_equal(one.links, other.links)
    np.testing.assert_allclose(one.link_cost, other.link_cost)
    np.testing.assert_allclose(one.division_cost, other.division_cost)


def test_order_of_overlaps_drift_and_gap():
    before, after = frame(1, 8), frame(2, 9)
    overlaps = shared(3, before, after)
    shuffled = np.random.default_rng(0).permutation(len(overlaps.source))
    again = Overlaps(*(column[shuffled] for column in (overlaps.source, overlaps.target, overlaps.volume_um3)))
    one, other = (candidates(before, after, table, LinkCosts()) for table in (overlaps, again))
    np.testing.assert_array_equal(one.link_cost, other.link_cost)
    drifted = dataclasses.replace(after, position_um=after.position_um + np.array([1, -2, 3]))
    moved = candidates(before, drifted, overlaps, LinkCosts(), (1, -2, 3))
    np.testing.assert_array_equal(one.links, moved.links)
    np.testing.assert_allclose(one.link_cost, moved.link_cost)
    assert candidates(before, after, overlaps, LinkCosts(), gap=3).scale_um == pytest.approx(3 * one.scale_um)


def test_longest_distance_holds_unless_objects_overlap():
    before, after = frame(1, 30), frame(2, 30)
    costs = LinkCosts(max_distance=1.0, flow_neighbours=0, distance=0.001)
    none = Overlaps(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0))
    pair = candidates(before, after, none, costs)
    step = np.linalg.norm(before.position_um[pair.links[:, 0]] - after.position_um[pair.links[:, 1]], axis=1)
    assert len(step)
    assert step.max() <= 1.0
    far = np.linalg.norm(before.position_um[:, None] - after.position_um, axis=2)
    i, j = (int(place) for place in np.unravel_index(far.argmax(), far.shape))
    costs = dataclasses.replace(costs, volume=0.0, border=1.0)
    assert [i, j] not in candidates(before, after, none, costs).links.tolist()
    one = Overlaps(before.ids[[i]], after.ids[[j]], np.array([0.5]))
    assert [i, j] in candidates(before, after, one, costs).links.tolist()


def test_a_uniform_flow_is_found():
    before = frame(1, 200)
    steps = np.tile([0.3, 0.0, -0.2], (200, 1))
    everyone = np.arange(200)
    found = local_motion(before.position_um, steps, everyone, everyone, np.zeros(200), 12)
    np.testing.assert_allclose(found, steps)
    assert (local_motion(before.position_um[:5], steps[:5], everyone[:5], everyone[:5], np.zeros(5), 12) == 0).all()


def test_flow_of_a_tissue_is_what_makes_its_divisions_found():
    movie = movie_of(*tissue(0))
    with_flow, without = (
        agreement(movie, solve(movie.pairs(costs))) for costs in (LinkCosts(), LinkCosts(flow_neighbours=0))
    )
    assert with_flow.division_f1 > without.division_f1 + 0.2
    assert with_flow.link_f1 > without.link_f1


def test_nothing_at_one_time_point():
    none = Overlaps(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0))
    for n, m in ((0, 3), (3, 0), (0, 0), (1, 1)):
        pair = candidates(frame(0, n), frame(1, m), none, LinkCosts())
        assert (len(pair.disappearance), len(pair.appearance)) == (n, m)
        assert len(solve([pair]).selected[1]) == m


def test_bad_input_is_refused():
    before, after = frame(1, 3), frame(2, 3)
    none = Overlaps(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0))
    with pytest.raises(ValueError, match="ids of the earlier time point do not ascend"):
        candidates(dataclasses.replace(before, ids=before.ids[::-1]), after, none, LinkCosts())
    with pytest.raises(ValueError, match="later time point has no volume"):
        candidates(before, dataclasses.replace(after, volume_um3=np.zeros(3)), none, LinkCosts())
    with pytest.raises(ValueError, match="gap is 0"):
        candidates(before, after, none, LinkCosts(), gap=0)
    with pytest.raises(KeyError):
        candidates(before, after, Overlaps(np.array([5], np.uint64), after.ids[:1], np.ones(1)), LinkCosts())
