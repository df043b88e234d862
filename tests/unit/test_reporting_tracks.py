"""What the report shows of the tracks of a movie."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from matplotlib import image as pictures_of
from reporting_sample import finished_sample, tracks_table
from test_reporting_page import Page, write

from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.reporting import facts
from bigseg.reporting.overlay import choose_colours
from bigseg.reporting.pictures import Pictures
from bigseg.reporting.planes import Cut, PlaneReader, Volumes
from bigseg.reporting.tracks import strips as strips_module
from bigseg.reporting.tracks.figures import fork_segments, history_png, lineages_png, time_edges
from bigseg.reporting.tracks.history import history_of
from bigseg.reporting.tracks.section import TrackPictures
from bigseg.reporting.tracks.strip_figure import pictures, strips_png, words
from bigseg.reporting.tracks.strips import FRAMES, PIXELS, Strip, choose_strips, diameter_um, read_crop, side_um
from bigseg.reporting.tracks.table import Tracks, tracks_of
from bigseg.reporting.tracks.trees import lineages_by_size, plant
from bigseg.reporting.tracks.words import read_tracking_scores, summary, what_is_drawn
from bigseg.resume.files import write_json
from bigseg.volumes.store import VolumeArray


def tracks_from(spans: dict[int, tuple[int, int]], parents: dict[int, int], times: list[int]) -> Tracks:
    """Tracks by their first and last time points; centres and volumes tell of track and time."""
    rows = [(t, k) for t in times for k, (first, last) in sorted(spans.items()) if first <= t <= last]
    time, track = (np.array([row[n] for row in rows], np.int64) for n in (0, 1))
    objects = {
        "time": time,
        "object": track.astype(np.uint64),
        **{f"centroid_{axis}_um": 10.0 * track for axis in "zyx"},
        "volume_um3": 100.0 + 10 * track + time,
    }
    return tracks_of(tracks_table(objects, parents), times)


def random_tracks(seed: int, begin: int, length: int, divide: float = 0.1) -> Tracks:
    """A random movie with divisions, ends and beginnings, numbered as stage ``track`` does."""
    rng = np.random.default_rng(seed)
    spans, parents, alive = {}, {}, []
    for t in range(length):
        found = []
        for track in alive:
            fate = rng.random()
            if fate < divide:
                for _ in range(2):
                    spans[len(spans) + 1] = (t, t)
                    parents[len(spans)] = track
                    found.append(len(spans))
            elif fate > 0.05 + divide:
                spans[track] = (spans[track][0], t)
                found.append(track)
        for _ in range(begin if t == 0 else rng.poisson(0.3)):
            spans[len(spans) + 1] = (t, t)
            found.append(len(spans))
        alive = found
    return tracks_from(spans, parents, list(range(length)))


FAMILY = {1: (0, 2), 2: (0, 5), 3: (3, 5), 4: (3, 4), 5: (5, 5), 6: (5, 5), 7: (2, 3)}
PARENTS = {3: 1, 4: 1, 5: 4, 6: 4}


@pytest.fixture
def family() -> Tracks:
    """Track 1 divides into 3 and 4, 4 into 5 and 6; 2 is there all the time; 7 begins and ends inside."""
    return tracks_from(FAMILY, PARENTS, list(range(6)))


@pytest.fixture
def none() -> Tracks:
    """A movie of three empty time points."""
    return tracks_from({}, {}, [0, 1, 2])


class TestTable:
    def test_relations(self, family):
        assert family.parent.tolist() == [-1, -1, 0, 0, 3, 3, -1]
        assert family.root.tolist() == [0, 1, 0, 0, 0, 0, 6]
        assert family.mothers.tolist() == [0, 3]
        assert family.daughters(0).tolist() == [2, 3]
        assert family.daughters(1).tolist() == []

    def test_ends(self, family):
        assert np.flatnonzero(family.begins_inside).tolist() == [6]
        assert np.flatnonzero(family.ends_inside).tolist() == [6]

    def test_time_points_that_are_missing_do_not_count(self):
        tracks = tracks_from({1: (2, 9), 2: (2, 5)}, {}, [2, 5, 9])
        assert tracks.length.tolist() == [3, 2]
        assert tracks.ends_inside.tolist() == [False, True]


class TestTrees:
    def test_order(self, family):
        # two divisions; none, six time points; none, two
        assert lineages_by_size(family).tolist() == [0, 1, 6]

    def test_lines(self, family):
        trees = plant(family)
        line = dict(zip((trees.rows + 1).tolist(), trees.line.tolist(), strict=True))
        assert [line[k] for k in (3, 5, 6)] == [0, 1, 2]
        assert line[4] == 1.5
        assert line[1] == 0.75
        assert 2 < line[2] < line[7]
        assert trees.hidden.tolist() == [0] * 7
        assert fork_segments(family, trees, time_edges(family.times)) == [
            [(2.5, 0.0), (2.5, 1.5)],
            [(4.5, 1.0), (4.5, 2.0)],
        ]

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("most", [1, 2, 7, 1000])
    def test_any(self, seed, most):
        tracks = random_tracks(seed, begin=4, length=15)
        trees = plant(tracks, most)
        drawn = trees.rows.tolist()
        assert len(set(drawn)) == len(drawn) == (len(tracks) if most == 1000 else len(drawn)) <= most
        assert len({int(tracks.root[row]) for row in drawn}) == trees.lineages
        # families are drawn together, no two lines cross, and what is not drawn is counted
        shown = set(drawn)
        line = dict(zip(drawn, trees.line.tolist(), strict=True))
        for row in drawn:
            daughters = tracks.daughters(row).tolist()
            assert {d in shown for d in daughters} in (set(), {True}, {False})
            assert tracks.parent[row] < 0 or int(tracks.parent[row]) in shown
        leaves = sorted(line[row] for row in drawn if not set(tracks.daughters(row).tolist()) & shown)
        assert np.diff(leaves, prepend=-1).min() > 1 - 1e-9
        lost = Counter(int(tracks.root[row]) for row in range(len(tracks)) if row not in shown)
        hidden = Counter()
        for row, count in zip(drawn, trees.hidden.tolist(), strict=True):
            hidden[int(tracks.root[row])] += count
        assert all(hidden[root] == lost[root] for root in {int(tracks.root[row]) for row in drawn})

    def test_a_lineage_that_is_too_large_is_drawn_as_far_as_it_goes(self, family):
        trees = plant(family, 4)
        assert (trees.rows + 1).tolist() == [1, 3, 4, 2]
        assert trees.hidden.tolist() == [0, 0, 2, 0]
        assert what_is_drawn(family, trees) == "the 2 largest of 3 lineages; 4 of 7 tracks, 3 not shown"

    def test_all_are_drawn(self, family):
        assert what_is_drawn(family, plant(family)) == "7 tracks in 3 lineages"

    def test_no_tracks(self, none):
        trees = plant(none)
        assert (len(trees.rows), trees.lineages, trees.all_lineages) == (0, 0, 0)


class TestHistory:
    def test_counts(self, family):
        found = history_of(family)
        assert found.objects.tolist() == [2, 2, 3, 4, 3, 4]
        assert found.divisions.tolist() == [0, 0, 0, 1, 0, 1]
        assert found.begun.tolist() == [0, 0, 1, 0, 0, 0]
        assert found.ended.tolist() == [0, 0, 0, 0, 1, 0]
        assert found.volumes[:, 0].tolist() == [112.5, 115, 117.5]

    @pytest.mark.parametrize("seed", range(5))
    def test_the_books_balance(self, seed):
        found = history_of(random_tracks(seed, begin=6, length=20))
        change = found.begun + found.divisions - found.ended
        assert np.diff(found.objects).tolist() == change[1:].tolist()
        assert change[0] == 0

    def test_empty_time_points(self):
        found = history_of(tracks_from({1: (1, 1)}, {}, [0, 1, 2]))
        assert found.objects.tolist() == [0, 1, 0]
        assert found.begun.tolist() == [0, 1, 0]
        assert found.ended.tolist() == [0, 0, 1]
        assert np.isnan(found.volumes[:, [0, 2]]).all()


class TestFigures:
    @pytest.mark.parametrize("number", [0, 1, 7, 5000])
    def test_any_number_of_tracks(self, number, family):
        if number == 7:
            tracks = family
        elif number == 5000:
            tracks = random_tracks(0, begin=1500, length=12, divide=0.2)
            assert len(tracks) > 5000
        else:
            tracks = tracks_from({k + 1: (0, 2) for k in range(number)}, {}, [0, 1, 2])
        trees = plant(tracks)
        palette = choose_colours(np.sort(trees.rows).astype(np.uint64) + np.uint64(1), np.empty((0, 2), np.uint64))
        drawn = pictures_of.imread(io.BytesIO(lineages_png("cells", tracks, trees, palette)))
        assert 200 < drawn.shape[0] < 2600
        for colour in palette.colours[: min(number, 3)] / 255:
            assert (np.abs(drawn[..., :3] - colour).max(axis=2) < 0.01).sum() > 50
        assert pictures_of.imread(io.BytesIO(history_png(history_of(tracks), "µm³", 1.0))).shape[1] == 1152

    def test_time_points_lie_between_their_edges(self):
        assert time_edges(np.array([2, 3, 7])).tolist() == [1.5, 2.5, 5, 7.5]
        assert time_edges(np.array([4])).tolist() == [3.5, 4.5]


class TestChoiceOfStrips:
    def test_divisions_first_with_the_time_points_around_them(self):
        spans = {1: (0, 9), 2: (0, 19), 3: (10, 19), 4: (10, 19), 5: (1, 18)}
        found = choose_strips(tracks_from(spans, {3: 1, 4: 1}, list(range(20))))
        assert found[0] == Strip(0, (2, 3), tuple(range(6, 14)))
        assert [strip.track for strip in found[1:]] == [1, 4]
        assert found[1].at[0] == 0
        assert found[1].at[-1] == 19
        assert len(found[1].at) == FRAMES

    def test_short_tracks(self, family):
        found = choose_strips(family)
        assert found == [
            Strip(0, (2, 3), (0, 1, 2, 3, 4, 5)),
            Strip(3, (4, 5), (3, 4, 5)),
            Strip(1, (), (0, 1, 2, 3, 4, 5)),
            Strip(6, (), (2, 3)),
        ]
        assert words(found[0]) == "Track 1 divides into 3 and 4"

    def test_lineages_take_turns(self):
        spans = {1: (0, 3), 2: (0, 5), 3: (4, 7), 4: (4, 11), 5: (6, 11), 6: (6, 11), 7: (8, 11), 8: (8, 11)}
        found = choose_strips(tracks_from(spans, {3: 1, 4: 1, 5: 2, 6: 2, 7: 3, 8: 3}, list(range(12))))
        assert [strip.track for strip in found] == [0, 1, 2]

    @pytest.mark.parametrize("seed", range(5))
    def test_something_is_there_at_each_time_point(self, seed):
        tracks = random_tracks(seed, begin=8, length=12)
        found = choose_strips(tracks)
        assert 0 < len(found) <= strips_module.MOST_STRIPS
        for strip in found:
            assert 0 < len(strip.at) <= FRAMES
            for at in strip.at:
                assert any(tracks.first[row] <= at <= tracks.last[row] for row in strip.members)

    def test_no_tracks(self, none):
        assert choose_strips(none) == []


def dividing_cell() -> np.ndarray:
    """Labels (t, z, y, x) uint64 of 2 time points: track 1 divides into 2, lower, and 3; 4 is far away."""
    labels = np.zeros((2, 12, 60, 64), np.uint64)
    labels[0, 3:9, 20:32, 20:32] = 1
    labels[1, 1:4, 20:32, 14:22] = 2
    labels[1, 7:11, 20:32, 30:38] = 3
    labels[:, 2:6, 44:56, 44:56] = 4
    return labels


class TestCrops:
    @pytest.fixture
    def made(self, tmp_path):
        return finished_sample(tmp_path, dividing_cell(), (2.0, 0.5, 1.0), parents={2: 1, 3: 1}, boundary=False)

    @pytest.fixture
    def tracks(self, made) -> Tracks:
        return tracks_of(tracks_table(made.objects, {2: 1, 3: 1}), [0, 1])

    def test_a_crop_is_the_plane_through_the_centre(self, made, tracks):
        volumes = Volumes(made.layout, made.parameters)
        strip = choose_strips(tracks)[0]
        crop = read_crop(volumes, tracks, strip, 0, 16.0)
        assert set(np.unique(crop.tracks)) == {0, 1}
        # 12 voxels of 0.5 µm down and of 1 µm across, in the middle of 16 µm
        rows, columns = np.nonzero(crop.tracks)
        assert np.ptp(rows) + 1 == pytest.approx(PIXELS * 6 / 16, abs=1)
        assert np.ptp(columns) + 1 == pytest.approx(PIXELS * 12 / 16, abs=1)
        assert rows.mean() == pytest.approx((PIXELS - 1) / 2, abs=1)
        assert columns.mean() == pytest.approx((PIXELS - 1) / 2, abs=1)
        plane = volumes.image(0).read(0, 0, Box((6, 0, 0), (7, 60, 64)))[0]
        assert crop.image[PIXELS // 2, PIXELS // 2] == plane[26, 26]
        assert crop.inside.all()

    def test_of_daughters_at_different_heights_both_show(self, made, tracks):
        volumes = Volumes(made.layout, made.parameters)
        strip = choose_strips(tracks)[0]
        crop = read_crop(volumes, tracks, strip, 1, 40.0)
        assert set(np.unique(crop.tracks)) == {0, 2, 3}
        planes = volumes.image(0).read(1, 0, Box((2, 0, 0), (10, 60, 64)))
        middle = (14 + 37) / 2 + 0.5  # where the pixels count from
        column = int(np.floor(middle + 40 * (80.5 / PIXELS - 0.5)))
        assert crop.image[80, 80] == planes[:, 26, column].max()

    def test_beyond_the_edge_of_the_image_there_is_nothing(self, made, tracks):
        far = next(strip for strip in choose_strips(tracks) if strip.track == 3)
        crop = read_crop(Volumes(made.layout, made.parameters), tracks, far, 0, 60.0)
        # the centre is 50 µm from the left edge and 14 µm from the right one
        assert crop.inside.any(axis=0).sum() == pytest.approx(PIXELS * 44 / 60, abs=1)
        assert not crop.image[~crop.inside].any()
        assert not crop.tracks[~crop.inside].any()
        palette = choose_colours(np.arange(1, 5, dtype=np.uint64), np.empty((0, 2), np.uint64))
        (picture,) = pictures([crop], palette)
        assert (picture[~crop.inside] == picture[0, -1]).all()
        assert (picture == palette.colours[3]).all(axis=2).any()
        assert pictures_of.imread(io.BytesIO(strips_png([(far, [crop, crop])], tracks.times, palette, 1.0))).ndim == 3

    def test_no_more_than_the_crops_is_read(self, made, tracks, monkeypatch):
        boxes = []
        read = VolumeArray.read
        monkeypatch.setattr(VolumeArray, "read", lambda self, t, c, box: boxes.append(box) or read(self, t, c, box))
        read_crop(Volumes(made.layout, made.parameters), tracks, choose_strips(tracks)[0], 0, 16.0)
        # the image and the tracks of one plane, 32 × 16 voxels
        assert [box.shape for box in boxes] == [(1, 32, 16), (1, 32, 16)]

    def test_wide_crops_come_from_a_coarser_level(self, tmp_path, monkeypatch):
        labels = dividing_cell()
        made = finished_sample(tmp_path, labels, parents={2: 1, 3: 1}, pyramid={"smallest": 20})
        tracks = tracks_of(tracks_table(made.objects, {2: 1, 3: 1}), [0, 1])
        strip = choose_strips(tracks)[0]
        monkeypatch.setattr(strips_module, "_LONGEST_CROP", 16)
        boxes = []
        read = VolumeArray.read
        monkeypatch.setattr(VolumeArray, "read", lambda self, t, c, box: boxes.append(box) or read(self, t, c, box))
        crop = read_crop(Volumes(made.layout, made.parameters), tracks, strip, 0, 48.0)
        assert max(max(box.shape) for box in boxes) <= 16
        assert (crop.tracks == 1).sum() == pytest.approx((PIXELS * 12 / 48) ** 2, rel=0.3)

    def test_all_objects_fit_in(self, made, tracks):
        volumes = Volumes(made.layout, made.parameters)
        strips = choose_strips(tracks)
        side = side_um(tracks, strips, volumes)
        for strip in strips[:1]:
            for at in strip.at:
                crop = read_crop(volumes, tracks, strip, at, side)
                edge = np.concatenate([crop.tracks[[0, -1]].ravel(), crop.tracks[:, [0, -1]].ravel()])
                assert crop.tracks.any()
                assert not edge.any()

    def test_objects_of_a_flat_image_are_discs(self, tmp_path):
        made = finished_sample(tmp_path, np.ones((2, 1, 20, 20), np.uint64), (9.0, 1.0, 1.0), parents={})
        volumes = Volumes(made.layout, made.parameters)
        assert diameter_um(np.array([9 * np.pi * 16]), volumes)[0] == pytest.approx(8)


class TestPage:
    @pytest.fixture
    def movie(self, tmp_path):
        labels = dividing_cell()
        return finished_sample(tmp_path, labels, (2.0, 0.5, 1.0), parents={2: 1, 3: 1}, scored=True)

    def test_section(self, movie):
        page = write(movie)
        assert {"Lineages of cells as trees", "A few tracks, each at several time points"} <= set(page.pictures)
        for said in ("Tracks 4", "Divisions 1", "Over the whole movie 1", "Median length 1 of 2 time points"):
            assert said in page.text
        assert "Each track has one colour" in page.text
        assert "nothing to do with each other" not in page.text
        assert "tracks, xy plane at z = 6 (13 µm)" in page.pictures
        assert "Scores of the tracks" not in page.text
        beside = pictures_of.imread(movie.layout.result_folder / "lineages.png")
        assert (beside == page.pictures["Lineages of cells as trees"]).all()
        assert str(movie.layout.tracks().parent.absolute()) in page.text
        assert "tracks.geff" not in page.text

    def test_mothers_and_daughters_are_told_apart(self, movie):
        tracking = TrackPictures(movie.layout, movie.parameters)
        assert tracking.shown.tolist() == [1, 2, 3, 4]
        assert tracking.families.tolist() == [[1, 2], [1, 3], [2, 3]]
        reader = PlaneReader(movie.layout, movie.parameters)
        # by themselves these two have colours that are much alike
        alike = np.array([[20, 23]], np.uint64)
        palette = Pictures(reader, [0], 1, np.arange(1, 30, dtype=np.uint64), alike).palette
        first, second = palette.of(alike[0]) / 255
        assert np.linalg.norm(first - second) > 0.4
        first, second = Pictures(reader, [0], 1, np.arange(1, 30, dtype=np.uint64)).palette.of(alike[0]) / 255
        assert np.linalg.norm(first - second) < 0.2

    def test_planes_show_tracks(self, movie):
        reader = PlaneReader(movie.layout, movie.parameters)
        shown = reader.tracks(0, Cut(0, 6))
        assert shown is not None
        assert shown.dtype == np.uint32
        assert set(np.unique(shown)) == {0, 1}

    def test_exports_that_are_there_are_listed(self, movie):
        (movie.layout.result_folder / "tracks.csv").write_text("", encoding="utf-8")
        listed = {path.name for path, _ in facts.files(movie.layout, movie.parameters)}
        assert {"tracks.parquet", "tracks", "tracks.csv", "lineages.png"} <= listed
        assert not {"res_track.txt", "tracks.geff"} & listed

    def test_scores(self, movie):
        found = {"det": 0.5, "tra": 0.25, "division_f1": None, "n_tracks_truth": 4, "new": 1.0}
        write_json(movie.layout.result_folder / "tracking_scores.json", {"tracking": found})
        scores = read_tracking_scores(movie.layout)
        assert [(score.name, score.value) for score in scores] == [
            ("TRA", "0.2500"),
            ("DET", "0.5000"),
            ("Division F1", "–"),
            ("True tracks", "4"),
            ("new", "1.0000"),
        ]
        assert "TRA 0.2500 1 Tracking accuracy of the Cell Tracking Challenge" in write(movie).text

    def test_the_picture_of_lineages_is_part_of_the_step(self, movie):
        step = movie.step()
        outcome = step.process(0)
        record = type("Record", (), {"note": outcome.note, "digest": outcome.digest})
        assert step.rehash(0, record) == outcome.digest
        path = movie.layout.result_folder / "lineages.png"
        path.write_bytes(b"other")
        with pytest.raises(UserError, match=r"lineages\.png: is not what was written"):
            step.rehash(0, record)
        path.unlink()
        assert not step.intact(0, record)

    def test_needs(self, movie):
        found = {need.step: need.in_key for need in movie.step().needs(0)}
        assert found["track.table"]
        assert not found["track.exports"]

    def test_a_movie_without_tracks_has_no_such_section(self, tmp_path):
        made = finished_sample(tmp_path, dividing_cell())
        page = write(made)
        assert "Lineages" not in page.text
        assert not (made.layout.result_folder / "lineages.png").exists()
        assert PlaneReader(made.layout, made.parameters).tracks(0, Cut(0, 6)) is None

    def test_a_flat_movie_without_objects(self, tmp_path):
        page: Page = write(finished_sample(tmp_path, np.zeros((3, 1, 40, 40), np.uint64), parents={}))
        assert "Tracks 0" in page.text
        assert "A few tracks" not in page.text

    def test_summary_of_nothing(self, none):
        assert summary(none) == {"tracks": "0"}
