from __future__ import annotations

import dataclasses
import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bigseg.config.samples import Input
from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid
from bigseg.kernels.lineage import Lineage, appearing, restrict
from bigseg.kernels.synthetic import cell_life
from bigseg.kernels.synthetic import tissue_movie as kernel
from bigseg.kernels.synthetic.cell_life import CellLife, lengthening, present, relative_positions
from bigseg.kernels.synthetic.tissue_movie import MEMBRANES, NUCLEI, TissueMovie
from bigseg.volumes.source import open_source

ORGAN = TissueMovie((21, 50, 44), times=9, drift=(0.3, 1.5, -0.7), seed=3)
LIVELY = TissueMovie(
    (15, 30, 34),
    times=9,
    cell_diameter_um=5.0,
    division_rate=0.3,
    death_rate=0.1,
    youngest_mother=2,
    growth=0.03,
    outline=False,
    seed=-4,
)
FLAT = TissueMovie((1, 60, 50), times=4, voxel_size_um=(1.0, 0.3, 0.3), division_rate=0.2, seed=2**70)
MOVIES = (ORGAN, LIVELY, FLAT)
TIMES = (0, 3, -1)
"""Time points that are looked at; the last one from behind."""


def whole(movie: TissueMovie) -> Box:
    return Box((0, 0, 0), movie.shape)


Rendered = dict[tuple[TissueMovie, int], tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


def render(movie: TissueMovie, box: Box, t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return movie.labels(box, t), movie.nuclei(box, t), movie.image(box, t), movie.image(box, t, NUCLEI)


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    return {(m, t % m.times): render(m, whole(m), t % m.times) for m in MOVIES for t in TIMES}


def seen_in(lapse: np.ndarray) -> Lineage:
    return appearing((t, np.unique(labels)) for t, labels in enumerate(lapse))


@pytest.fixture(scope="module")
def lapse() -> np.ndarray:
    """Labels (t, z, y, x) of the lively movie."""
    return np.stack([LIVELY.labels(whole(LIVELY), t) for t in range(LIVELY.times)])


@st.composite
def boxes(draw: st.DrawFn, shape: tuple[int, int, int]) -> Box:
    sides = []
    for n in shape:
        begin = draw(st.integers(0, n - 1))
        sides.append((begin, draw(st.one_of(st.just(begin + 1), st.integers(begin + 1, n)))))
    (z, zz), (y, yy), (x, xx) = sides
    return Box((z, y, x), (zz, yy, xx))


@given(data=st.data(), movie=st.sampled_from(MOVIES), t=st.sampled_from(TIMES), forget=st.booleans())
@settings(max_examples=50, deadline=None)
def test_any_box_equals_the_crop_of_the_whole(rendered, data, movie, t, forget):
    box = data.draw(boxes(movie.shape))
    if forget:  # whatever was asked for before
        kernel._families.cache_clear()
        kernel._material.cache_clear()
    t %= movie.times
    for part, all_ in zip(render(movie, box, t), rendered[movie, t], strict=True):
        np.testing.assert_array_equal(part, all_[box.slices])


@given(
    movie=st.sampled_from(MOVIES), block=st.tuples(*[st.integers(5, 60)] * 3), order=st.randoms(use_true_random=False)
)
@settings(max_examples=6, deadline=None)
def test_blocks_in_any_order_tile_to_the_whole(rendered, movie, block, order):
    grid = Grid(movie.shape, tuple(min(b, n) for b, n in zip(block, movie.shape, strict=True)))
    t = movie.times - 1
    made = np.zeros(movie.shape, np.uint32)
    numbers = list(range(grid.number_of_blocks))
    order.shuffle(numbers)
    for number in numbers:
        made[grid.box(number).slices] = movie.labels(grid.box(number), t)
    np.testing.assert_array_equal(made, rendered[movie, t][0])


def test_every_voxel_of_a_row_by_itself(rendered):
    for x in range(0, ORGAN.shape[2], 3):
        voxel = Box((10, 25, x), (11, 26, x + 1))
        for part, all_ in zip(render(ORGAN, voxel, 3), rendered[ORGAN, 3], strict=True):
            assert part.item() == all_[10, 25, x]


@pytest.mark.parametrize("movie", MOVIES)
def test_labels_are_the_power_diagram_of_all_cells(rendered, movie):
    """Brute force: every cell of the whole lattice, no tiles, no candidates, double precision."""
    a, (first, number) = movie.spacing_um, movie._lattice
    everyone, families, places = kernel._families(movie, first, number)
    for t in {t % movie.times for t in TIMES}:
        now = present(everyone, t)
        cells = cell_life.Cells(*(column[now] for column in everyone))
        at = places[cells.family] + a * (movie.life.wandering(families, t)[cells.family] + relative_positions(cells, t))
        points = [kernel._material(movie, t, axis) for axis in range(3)]
        best, owner = np.full(movie.shape, np.inf), np.zeros(movie.shape, np.int64)
        for i, (place, longer) in enumerate(zip(at, lengthening(cells, t) * a * a, strict=True)):
            squares = [np.square(p - c) for p, c in zip(points, place, strict=True)]
            power = squares[0][:, None, None] + squares[1][:, None] + squares[2] + longer
            owner[power < best] = i
            best = np.minimum(best, power)
        truth = np.where((best < (kernel._RADIUS * a) ** 2) & (cells.end >= t)[owner], cells.id[owner], 0)
        found = rendered[movie, t][0]
        if movie.outline:
            truth[found == 0] = 0  # the organ's surface has a test of its own
            assert (found > 0).mean() > 0.3
        assert (found != truth).mean() < 2e-4  # rounding may decide a voxel in the very middle of a wall


def test_nothing_is_outside_the_organ_and_little_within_is_empty(rendered):
    labels = rendered[ORGAN, 0][0]
    corner = Box((0, 0, 0), (1, 1, 1))
    assert labels[corner.slices].item() == 0
    inner = labels[7:14, 15:35, 15:30]
    assert (inner > 0).mean() > 0.97


@pytest.mark.parametrize("movie", MOVIES)
def test_candidates_of_a_tile_fit_their_bits(movie):
    counts = [len(kernel._seeds(movie, tile).ids) for tile in movie._tiles(whole(movie), movie.times - 1)]
    assert max(counts) < 100 < int(kernel.INDEX_MASK)


# --- life ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=20, unique=True))
@settings(max_examples=20, deadline=None)
def test_a_family_does_not_depend_on_the_others(numbers):
    life = LIVELY.life
    together = life.cells(np.array(sorted(numbers), np.uint64))
    for position, number in enumerate(sorted(numbers)):
        alone = life.cells(np.array([number], np.uint64))
        of_it = together.family == position
        for one, many in zip(alone._replace(family=alone.id), together._replace(family=together.id), strict=True):
            np.testing.assert_array_equal(one, many[of_it])
        # Ids of a family are its own.
        assert ((alone.id - np.uint64(1)) // np.uint64(life.cells_of_family) == number).all()


def test_cells_are_born_of_one_mother_two_at_a_time():
    life = CellLife(12, 0.25, 0.05, 3, seed=1)
    cells = life.cells(np.arange(400, dtype=np.uint64))
    assert (np.diff(cells.id.astype(np.int64)) > 0).all()
    row = {int(i): r for r, i in enumerate(cells.id)}
    children: dict[int, list[int]] = {}
    for r, parent in enumerate(cells.parent):
        if parent:
            children.setdefault(row[int(parent)], []).append(r)
    for mother, daughters in children.items():
        assert len(daughters) == 2
        assert not cells.dies[mother]
        assert {int(cells.start[d]) for d in daughters} == {int(cells.end[mother]) + 1}
        assert {int(cells.generation[d]) for d in daughters} == {int(cells.generation[mother]) + 1}
        if cells.parent[mother]:
            assert cells.end[mother] + 1 - cells.start[mother] >= life.youngest_mother
    for r in range(len(cells.id)):  # who does not divide or die is there to the end
        assert r in children or cells.dies[r] or cells.end[r] == life.times - 1
    assert len(children) > 100 < cells.dies.sum()
    assert cells.generation.max() <= life.generations


@pytest.mark.parametrize(("divisions", "deaths"), [(0.1, 0.03), (0.0, 0.1), (0.2, 0.0), (0.0, 0.0)])
def test_rates_are_what_they_are_called(divisions, deaths):
    life = CellLife(11, divisions, deaths, 1, seed=5)
    cells = life.cells(np.arange(3000, dtype=np.uint64))
    steps = (np.minimum(cells.end + 1, life.times - 1) - cells.start).sum()
    mothers = len(np.unique(cells.parent[cells.parent > 0]))
    for rate, number in ((divisions, mothers), (deaths, cells.dies.sum())):
        assert abs(number - rate * steps) <= 4 * math.sqrt(rate * steps)
    if divisions == 0:
        assert life.cells_of_family == 1


def test_cells_move_by_less_than_their_radius_and_daughters_start_where_their_mother_was():
    life = CellLife(14, 0.15, 0.0, 3, seed=2)
    families = np.arange(500, dtype=np.uint64)
    cells = life.cells(families)
    row = {int(i): r for r, i in enumerate(cells.id)}
    for t in range(1, 14):
        places = relative_positions(cells, t) + life.wandering(families, t)[cells.family]
        before = relative_positions(cells, t - 1) + life.wandering(families, t - 1)[cells.family]
        lived = (cells.start < t) & (t <= cells.end)
        assert np.abs(places - before)[lived].max() < 0.06
        assert np.sqrt((places[lived] ** 2).sum(axis=1)).max() <= life.reach
        for r in np.flatnonzero((cells.start == t) & (cells.parent > 0)):
            mother = row[int(cells.parent[r])]
            assert np.sqrt(((places[r] - before[mother]) ** 2).sum()) < 0.16 + 0.1


def test_daughters_share_the_territory_of_their_mother():
    movie = dataclasses.replace(LIVELY, shape=(32, 64, 64), times=4, growth=0.0)
    lapse = np.stack([movie.labels(whole(movie), t) for t in range(movie.times)])
    lineage = restrict(movie.lineage(), seen_in(lapse))
    shares = []
    for mother in lineage.mothers():
        t = int(lineage.end[lineage.rows(np.array([mother]))[0]])
        daughters = lineage.track[lineage.parent == mother]
        territory = lapse[t] == mother
        touches = territory[[0, -1]].any() or territory[:, [0, -1]].any() or territory[:, :, [0, -1]].any()
        if not touches:
            assert len(daughters) == 2
            shares.append(np.isin(lapse[t + 1], daughters)[territory].mean())
    assert len(shares) > 5
    assert np.median(shares) > 0.7


def test_a_death_leaves_a_gap_that_closes():
    movie = TissueMovie((21, 44, 44), times=12, division_rate=0.0, death_rate=0.05, outline=False, seed=8)
    lapse = np.stack([movie.labels(whole(movie), t) for t in range(movie.times)])
    seen = seen_in(lapse)
    dead = [
        (int(i), int(e))
        for i, e in zip(seen.track, seen.end, strict=True)
        if e < movie.times - cell_life.GONE and (lapse[e] == i).sum() > 500
    ]
    gaps = []
    for cell, end in dead:
        place = lapse[end] == cell
        gaps.append([(lapse[t][place] == 0).mean() for t in range(end + 1, end + 1 + cell_life.GONE)])
    first, *_, last = np.mean(gaps, axis=0)
    assert len(gaps) > 3
    assert first > 0.4
    assert last < 0.3 * first


def test_drift_moves_all_by_whole_voxels_and_by_fractions(monkeypatch):
    monkeypatch.setattr(cell_life, "_WANDER", 0.0)
    still = TissueMovie((12, 40, 40), times=4, division_rate=0, death_rate=0, outline=False, seed=11)
    moved = dataclasses.replace(still, drift=(0.0, 2.0, -0.5))
    kernel._families.cache_clear()
    # Another drift numbers the places otherwise: what is compared is where the walls are.
    start, later = moved.labels(whole(moved), 0), moved.labels(whole(moved), 2)
    assert (later[:, 4:, :-1] != start[:, :-4, 1:]).mean() < 1e-3
    assert (later[:, 4:] == start[:, :-4]).mean() < 0.99
    kernel._families.cache_clear()


def test_growth_enlarges_cells():
    def mean_size(movie: TissueMovie, t: int) -> float:
        labels = movie.labels(whole(movie), t)
        return labels.size / len(np.unique(labels))

    base = TissueMovie((30, 60, 60), times=6, cell_diameter_um=4, division_rate=0, death_rate=0, outline=False)
    grown = dataclasses.replace(base, growth=0.06)
    assert 0.9 < mean_size(base, 5) / mean_size(base, 0) < 1.1
    assert 1.25 < mean_size(grown, 5) / mean_size(grown, 0) < 1.06**15


def test_ids_persist_and_the_lineage_of_what_is_seen_is_valid(lapse):
    seen = seen_in(lapse)
    lineage = restrict(LIVELY.lineage(), seen)
    assert len(lineage.mothers()) > 5
    for t in range(1, LIVELY.times):
        both = np.intersect1d(lapse[t - 1], lapse[t])
        both = both[both > 0]
        overlap = [((lapse[t - 1] == i) & (lapse[t] == i)).sum() / (lapse[t - 1] == i).sum() for i in both]
        assert np.median(overlap) > 0.7
    assert lapse.max() <= LIVELY.max_id


# --- stains --------------------------------------------------------------------------------------------------------


def test_a_cell_has_one_nucleus_well_inside():
    movie = dataclasses.replace(ORGAN, outline=False, shape=(36, 70, 70), cell_diameter_um=5.5)
    labels, nuclei = movie.labels(whole(movie), 3), movie.nuclei(whole(movie), 3)
    faces = [np.take(labels, [0, -1], axis) for axis in range(3)]
    inner = np.setdiff1d(labels, np.concatenate([face.ravel() for face in faces]))
    assert len(inner) >= 3
    for cell in inner:
        _, pieces = ndimage.label(nuclei == cell)
        assert pieces == 1
        assert 0.02 < (nuclei == cell).sum() / (labels == cell).sum() < 0.4
    assert ((nuclei == labels) | (nuclei == 0)).all()
    assert not nuclei[labels == 0].any()


def test_stains_show_what_they_are_named_after(rendered):
    labels, nuclei, walls, stained = rendered[ORGAN, 3]
    edge = np.zeros(labels.shape, bool)
    for axis in range(3):
        edge |= ndimage.generic_filter1d(labels, lambda i, o: np.copyto(o, i[1:-1] != i[2:]), 3, axis).astype(bool)
    deep = (labels > 0) & (ndimage.distance_transform_edt(~edge, sampling=ORGAN.voxel_size_um) > 1.2)
    assert walls[edge].mean() > 2.5 * walls[deep].mean()
    assert stained[nuclei > 0].mean() > 3 * stained[(nuclei == 0) & (labels > 0)].mean()
    assert MEMBRANES != NUCLEI


def test_noise_differs_between_times_and_channels():
    movie = dataclasses.replace(ORGAN, photons=1.0)
    a, b = movie.image(whole(movie), 0).astype(float), movie.image(whole(movie), 0, NUCLEI).astype(float)
    empty = (movie.labels(whole(movie), 0) == 0) & (a < 60)
    assert abs(np.corrcoef(a[empty], b[empty])[0, 1]) < 0.2


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": (0, 5, 5)},
        {"times": 0},
        {"youngest_mother": 0},
        {"division_rate": 0.9, "death_rate": 0.2},
        {"death_rate": -0.1},
        {"growth": -0.1},
        {"cell_diameter_um": 1.0},
        {"voxel_size_um": (1.0, 0.0, 1.0)},
        {"shape": (100_000, 100_000, 100_000)},
        {"times": 200, "division_rate": 0.1},
    ],
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must be|must not|are less|fit uint32"):
        TissueMovie(**{"shape": (10, 10, 10), **wrong})


def test_boxes_times_and_channels_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="outside the volume"):
        ORGAN.labels(Box((0, 0, 0), (1, 1, ORGAN.shape[2] + 1)), 0)
    with pytest.raises(ValueError, match="no time 9"):
        ORGAN.image(whole(ORGAN), 9)
    with pytest.raises(ValueError, match="no channel 2"):
        ORGAN.image(whole(ORGAN), 0, 2)
    assert ORGAN.labels(Box((3, 3, 3), (3, 9, 9)), 0).shape == (0, 6, 6)


def test_a_corner_of_a_huge_movie_costs_only_itself():
    huge = TissueMovie((3000, 6000, 6000), times=6, outline=False)
    box = Box((2990, 3000, 5980), (3000, 3020, 6000))
    labels = huge.labels(box, 5)
    voxel = Box((2995, 3010, 5990), (2996, 3011, 5991))
    assert huge.labels(voxel, 5).item() == labels[voxel.inside(box).slices].item()


# --- the script ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "make_demo_data.py"
    spec = importlib.util.spec_from_file_location("make_demo_data", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_script_writes_image_truth_and_lineage(script, tmp_path, monkeypatch, capsys):
    options = ["--movie", "--shape", "24", "50", "46", "--times", "5", "--division-rate", "0.3", "--seed", "5"]
    options += ["--diameter", "8.4", "--growth", "0", "--photons", "25", "--drift", "0.2", "1.3", "-0.6", "--organ"]
    monkeypatch.setattr(sys, "argv", ["make_demo_data.py", str(tmp_path), *options])
    script.main()
    movie = TissueMovie((24, 50, 46), times=5, division_rate=0.3, drift=(0.2, 1.3, -0.6), seed=5)
    names = [f"movie_t{t}_c{c}.tif" for t in range(5) for c in (0, 1)] + [f"truth_t{t}.tif" for t in range(5)]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*names, "tissue.json", "truth_lineage.txt"])
    lapse = np.stack([movie.labels(whole(movie), t) for t in range(5)])
    with open_source(Input(path=str(tmp_path / "truth_t{t}.tif"))) as truth:
        assert truth.header.voxel_size_um == (0.5, 0.25, 0.25)
        np.testing.assert_array_equal([truth.read(t, 0, whole(movie)) for t in range(5)], lapse)
    with open_source(Input(path=str(tmp_path / "movie_t{t}_c{c}.tif"))) as image:
        assert image.header.shape == (5, 2, *movie.shape)
        np.testing.assert_array_equal(image.read(2, 1, whole(movie)), movie.image(whole(movie), 2, NUCLEI))
    lineage = np.loadtxt(tmp_path / "truth_lineage.txt", dtype=int)
    expected = restrict(movie.lineage(), seen_in(lapse))
    np.testing.assert_array_equal(lineage[:, 0], expected.track)
    np.testing.assert_array_equal(lineage[:, 3], expected.parent)
    for label, begin, end, _ in lineage:
        present_at = [t for t in range(5) if (lapse[t] == label).any()]
        assert (present_at[0], present_at[-1]) == (begin, end)
    assert (lineage[:, 3] > 0).sum() > 2
    capsys.readouterr()
    script.main()
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"kept"}


def test_in_the_movie_of_the_demo_cells_fill_the_volume_and_divide(script, tmp_path, monkeypatch):
    """The movie of ``make demo``, of which only the lineage is written here: generating all of it takes seconds."""
    made = []
    monkeypatch.setattr(script, "make", lambda folder, movie, files: made.append((movie, files)))
    monkeypatch.setattr(sys, "argv", ["make_demo_data.py", str(tmp_path), "--movie", "--seed", "7"])
    script.main()
    ((movie, files),) = made
    assert movie.shape == (48, 96, 128)
    assert len(files) == 3 * movie.times == 18
    lapse = np.stack([movie.labels(whole(movie), t) for t in range(movie.times)])
    assert (lapse[0] > 0).all()
    seen = restrict(movie.lineage(), seen_in(lapse))
    _, daughters = np.unique(seen.parent[seen.parent > 0], return_counts=True)
    assert (daughters == 2).sum() >= 2


def test_script_writes_ids_beyond_uint16(script, tmp_path):
    movie = TissueMovie((4, 20, 20), times=40, division_rate=0.1, voxel_size_um=(0.5, 0.25, 0.25), seed=5)
    assert movie.max_id > script.LARGEST_ID
    slabs, dtype = script.movie_files(movie)["truth_t3.tif"]
    script.write_tiff(tmp_path / "truth_t3.tif", movie, slabs, dtype)
    with open_source(Input(path=str(tmp_path / "truth_t3.tif"))) as truth:
        assert truth.header.voxel_size_um == (0.5, 0.25, 0.25)
        assert truth.header.dtype == "uint32"
        np.testing.assert_array_equal(truth.read(0, 0, whole(movie)), movie.labels(whole(movie), 3))
