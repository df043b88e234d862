"""Which tracks divide: the rule by brute force, on real data, and on a movie of which all is known."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage_problems import seen_in, truth_movie, wrong_result
from pipeline_checks import DATA

from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid
from bigseg.kernels.contingency import count_pairs, merge
from bigseg.kernels.derived_lineage import LineageFinder, find_places, merge_places
from bigseg.kernels.lineage import Lineage, restrict
from bigseg.kernels.synthetic.tissue_movie import TissueMovie

FLUO = DATA / "timelapse" / "fluo_n2dh_sim_10f.h5"


def derive(lapse: np.ndarray, voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Lineage:
    """In one piece."""
    finder = LineageFinder(voxel_size, plane=lapse.shape[1] == 1)
    for t, labels in enumerate(lapse):
        finder.add(t, find_places(labels, (0, 0, 0)), count_pairs(lapse[max(t - 1, 0)], labels))
    return finder.lineage()


def parents(lineage: Lineage) -> dict[int, int]:
    rows = zip(lineage.track.tolist(), lineage.parent.tolist(), strict=True)
    return {track: parent for track, parent in rows if parent}


def by_the_rule(lapse: np.ndarray, voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> dict[int, int]:
    """The rule, word by word."""
    seen = seen_in(lapse)
    start, end = (dict(zip(seen.track.tolist(), times.tolist(), strict=True)) for times in (seen.start, seen.end))
    found = {}
    for t in range(len(lapse) - 1):
        ended, begun = ([i for i in start if when[i] == u] for when, u in ((end, t), (start, t + 1)))

        def shared(mother: int, daughter: int, t: int = t) -> int:
            return int(((lapse[t] == mother) & (lapse[t + 1] == daughter)).sum())

        def distance(mother: int, daughter: int, t: int = t) -> float:
            ends = ((lapse[t] == mother), (lapse[t + 1] == daughter))
            a, b = (np.argwhere(where).mean(axis=0) * voxel_size for where in ends)
            return float(np.sqrt(((a - b) ** 2).sum()))

        def diameter(mother: int, t: int = t) -> float:
            size = float((lapse[t] == mother).sum())
            if lapse.shape[1] == 1:
                return float(np.sqrt(4 * size * voxel_size[1] * voxel_size[2] / np.pi))
            return float(np.cbrt(6 * size * np.prod(voxel_size) / np.pi))

        candidates: dict[int, list[int]] = {}
        for daughter in begun if ended else []:
            mother = max(ended, key=lambda i: (shared(i, daughter), -i))
            if shared(mother, daughter) == 0:
                mother = min(ended, key=lambda i: (distance(i, daughter), i))
                if distance(mother, daughter) > diameter(mother):
                    continue
            candidates.setdefault(mother, []).append(daughter)
        for mother, daughters in candidates.items():
            daughters.sort(key=lambda i: (-shared(mother, i), distance(mother, i), i))
            if len(daughters) > 1:
                found |= dict.fromkeys(daughters[:2], mother)
    return found


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_the_rule_on_random_movies(seed):
    rng = np.random.default_rng(seed)
    truth, lineage = truth_movie(rng)
    result, _ = wrong_result(rng, truth, lineage)
    size = (1.0, float(rng.uniform(0.5, 2)), float(rng.uniform(0.2, 3)))
    for lapse in (truth, result):
        assert parents(derive(lapse, size)) == by_the_rule(lapse, size)


@pytest.mark.parametrize("block_shape", [(2, 5, 7), (1, 30, 4)])
def test_blocks_add_up(block_shape):
    movie = TissueMovie((7, 24, 26), times=2, cell_diameter_um=5, outline=False)
    whole = Box((0, 0, 0), movie.shape)
    before, now = movie.labels(whole, 0), movie.labels(whole, 1)
    grid = Grid(movie.shape, tuple(min(b, n) for b, n in zip(block_shape, movie.shape, strict=True)))
    boxes = [grid.box(index) for index in range(grid.number_of_blocks)]
    places = merge_places(find_places(now[box.slices], box.begin) for box in boxes)
    one = find_places(now, (0, 0, 0))
    for name in ("label", "voxels", "sums"):
        np.testing.assert_array_equal(getattr(places, name), getattr(one, name))
    for label, voxels, sums in zip(one.label, one.voxels, one.sums, strict=True):
        where = np.argwhere(now == label)
        assert (len(where), where.sum(axis=0).tolist()) == (voxels, sums.tolist())
    pairs = merge(count_pairs(before[box.slices], now[box.slices]) for box in boxes)
    np.testing.assert_array_equal(pairs.count, count_pairs(before, now).count)
    assert merge_places([]).label.size == 0


def test_divisions_of_real_nuclei():
    """Cell Tracking Challenge, Fluo-N2DH-SIM+: 27 tracks, of which 6 divide."""
    if not FLUO.exists():
        pytest.skip(f"{FLUO} is not there")
    with h5py.File(FLUO) as file:
        lineage = derive(file["track_ids"][:][:, None])
    assert lineage.number_of_tracks == 27
    assert len(lineage.mothers()) == 6
    assert parents(lineage) == {
        16: 6, 17: 6, 18: 14, 19: 14, 20: 7, 21: 7, 22: 8, 23: 8, 24: 13, 25: 13, 26: 12, 27: 12,
    }  # fmt: skip


@pytest.mark.parametrize("drift", [(0.0, 0.0, 0.0), (0.3, 3.0, -1.5)])
def test_divisions_of_a_dense_tissue(drift):
    movie = TissueMovie(
        (26, 60, 60), times=6, cell_diameter_um=5, division_rate=0.1, death_rate=0.02, drift=drift, outline=False
    )
    lapse = np.stack([movie.labels(Box((0, 0, 0), movie.shape), t) for t in range(movie.times)])
    truth = restrict(movie.lineage(), seen_in(lapse))
    whole = {track: mother for track, mother in parents(truth).items() if mother in truth.mothers()}
    found = parents(derive(lapse, movie.voxel_size_um))
    right = found.items() & whole.items()
    assert len(whole) > 30
    assert len(right) / len(whole) > 0.9
    assert len(right) / len(found) > 0.9


def test_what_comes_again_has_not_ended():
    lapse = np.zeros((4, 1, 1, 8), np.uint8)
    lapse[0], lapse[1, ..., :4], lapse[1, ..., 4:], lapse[2] = 1, 2, 3, 1
    assert parents(derive(lapse)) == {}
    lapse[2] = 0
    assert parents(derive(lapse)) == {2: 1, 3: 1}


def test_time_goes_forward():
    finder = LineageFinder()
    places, nothing = find_places(np.ones((1, 2, 2), int), (0, 0, 0)), count_pairs(np.ones(0, int), np.ones(0, int))
    finder.add(3, places, nothing)
    with pytest.raises(ValueError, match="time point 3 is not later than 3"):
        finder.add(3, places, nothing)
    assert LineageFinder().lineage().number_of_tracks == 0
