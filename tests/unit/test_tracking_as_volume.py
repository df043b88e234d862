"""Time as an axis of the graph: shapes of what moves, divides, meets and flashes; average linkage as an oracle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from tracking_checks import overlaps_of

from bigseg.kernels.tracking.as_volume import Contacts, SpaceTimeObjects, shared_parts, tracks_as_volume


def contacts_of(frame: np.ndarray, evidence: float) -> Contacts:
    """Contacts of the labels of one time point, all with the same evidence."""
    rows = []
    for axis in range(frame.ndim):
        a, b = (np.moveaxis(frame, axis, 0)[s].ravel() for s in (slice(None, -1), slice(1, None)))
        there = (a != b) & (a > 0) & (b > 0)
        rows.append(np.sort(np.stack([a[there], b[there]], axis=1), axis=1))
    pairs, count = np.unique(np.concatenate(rows), axis=0, return_counts=True)
    pairs = pairs.reshape(-1, 2).astype(np.uint64)
    return Contacts(pairs[:, 0], pairs[:, 1], count.astype(float), np.full(len(pairs), evidence))


def as_volume(movie: np.ndarray, wall: float = 0.0, change: float = 0.0, **options) -> SpaceTimeObjects:
    """Track a movie (t, z, y, x) of fragments."""
    shared = [overlaps_of(a, b) for a, b in itertools.pairwise(movie)]
    overlaps = [Contacts(s.source, s.target, s.volume_um3, np.full(len(s.source), change)) for s in shared]
    ids = [np.unique(frame[frame > 0]).astype(np.uint64) for frame in movie]
    return tracks_as_volume(ids, [contacts_of(frame, wall) for frame in movie], overlaps, 0.5, **options)


def draw(*rows: str) -> np.ndarray:
    """One row of pixels for each time point; letters are fragments."""
    return np.array([[[[0 if c == "." else ord(c) - 96 for c in row]]] for row in rows], np.int64)


@pytest.mark.parametrize(
    ("rows", "shape"),
    [
        (("aa...", ".aa..", "..aa."), "I"),
        (("ab...", "aab..", ".ab.."), "I"),
        (("aa.bb", ".aaa.", "aa.bb"), "X"),
        (("aa.bb", ".aaa.", ".aaa."), "X"),
        ((".aaa.", "aa.bb", ".aaa."), "X"),
    ],
)
def test_shapes(rows, shape):
    found = as_volume(draw(*rows))
    assert found.shape.tolist() == [shape]
    assert all((tracks == 1).all() for tracks in found.tracks)


def test_a_division():
    found = as_volume(draw("..aaa..c", "..aaa...", "bbb.ccc.", "bbb.d.e."))
    assert [tracks.tolist() for tracks in found.tracks] == [[1, 0], [1], [2, 3], [2, 4, 5]]
    assert found.parent.tolist() == [0, 1, 1, 3, 3]
    assert set(found.shape.tolist()) == {"Y"}


def test_daughters_may_touch():
    """There is a wall between them, and time alone joins them."""
    found = as_volume(draw("aaaa", "aabb", "aabb"), wall=0.9)
    assert [tracks.tolist() for tracks in found.tracks] == [[1], [2, 3], [2, 3]]
    assert found.parent.tolist() == [0, 1, 1]
    assert as_volume(draw("aaaa", "aabb", "aabb"), wall=0.1).shape.tolist() == ["I"]


def test_overlaps_count_by_their_part_of_the_smaller_object():
    ids = (np.array([3, 7], np.uint64), np.array([2, 5], np.uint64))
    shared = {
        "source": np.array([3, 7], np.uint64),
        "target": np.array([5, 5], np.uint64),
        "voxels": np.array([5, 40], np.uint64),
    }
    found = shared_parts(shared, ids, (np.array([20.0, 40.0]), np.array([9.0, 80.0])))
    np.testing.assert_allclose(found.evidence, [0.75, 0.0])
    assert found.count.tolist() == [5, 40]
    assert found.u.tolist() == [3, 7]
    assert found.v.tolist() == [5, 5]


def test_what_flashes_is_removed_and_tracks_are_numbered_by_first_time_and_fragment():
    found = as_volume(draw("aa..b....", "aa.....cc", "aa..d..cc"))
    assert [tracks.tolist() for tracks in found.tracks] == [[1, 0], [1, 2], [1, 2, 0]]
    assert found.shape.tolist() == ["I", "I"]
    kept = as_volume(draw("aa..b....", "aa.....cc", "aa..d..cc"), minimum_length=1)
    assert [tracks.tolist() for tracks in kept.tracks] == [[1, 2], [1, 3], [1, 3, 4]]


def test_evidence_separates_within_and_between_time_points():
    movie = draw("aabb", "aabb")
    assert len(as_volume(movie, wall=0.9).shape) == 2
    assert len(as_volume(movie, wall=0.2).shape) == 1
    assert len(as_volume(movie, wall=0.9, change=0.9, minimum_length=1).shape) == 4


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_without_evidence_tracks_are_the_components_of_the_foreground(seed):
    generator = np.random.default_rng(seed)
    inside = generator.random((4, 1, 5, 6)) < 0.45
    fragments = np.where(inside, np.arange(1, inside[0].size + 1).reshape(inside[0].shape), 0)  # each voxel one
    expected, number = label(inside)
    found = as_volume(fragments, minimum_length=1)
    founder = np.arange(len(found.parent) + 1)
    for track, parent in enumerate(found.parent.tolist(), 1):
        assert parent < track
        founder[track] = founder[parent] if parent else track
    named = np.concatenate(found.tracks)
    assert (found.parent == 0).sum() == number
    pairs = {(int(a), int(b)) for a, b in zip(founder[named], expected[inside], strict=True)}
    assert len(pairs) == number
