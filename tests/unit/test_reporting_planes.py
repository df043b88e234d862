"""Which planes a report shows, and that no more than these is read."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reporting_sample import cells, finished_sample

from bigseg.geometry.box import Box
from bigseg.reporting import planes
from bigseg.reporting.pictures import Pictures
from bigseg.reporting.planes import Canvas, Cut, PlaneReader, choose_times
from bigseg.volumes.store import VolumeArray


@pytest.fixture
def boxes(monkeypatch):
    """The boxes that are read from any of bigseg's arrays."""
    found: list[Box] = []
    read = VolumeArray.read

    def recording(self, t, c, box):
        found.append(box)
        return read(self, t, c, box)

    monkeypatch.setattr(VolumeArray, "read", recording)
    return found


class TestChoice:
    @pytest.mark.parametrize(
        ("times", "shown"),
        [([0], [0]), ([2, 5], [2, 5]), ([0, 1, 2, 3], [0, 1, 2, 3]), (list(range(10, 21)), [10, 15, 20])],
    )
    def test_times(self, times, shown):
        assert choose_times(times) == shown

    def test_middle_planes_by_default(self):
        cuts = Canvas((32, 128, 100), (0.235, 0.15, 0.15)).cuts(1)
        assert cuts == [[Cut(0, 16)], [Cut(1, 64)], [Cut(2, 50)]]

    def test_several_planes_are_spread_evenly(self):
        assert [cut.position for cut in Canvas((40, 40, 40), (1, 1, 1)).cuts(4)[0]] == [5, 15, 25, 35]

    def test_no_plane_is_shown_twice(self):
        assert [cut.position for cut in Canvas((3, 40, 40), (9, 1, 1)).cuts(16)[0]] == [0, 1, 2]

    def test_images_of_one_plane_show_that_plane(self):
        assert Canvas((1, 40, 50), (5, 0.1, 0.1)).cuts(3) == [[Cut(0, 0)]]

    def test_upright_images_of_one_plane(self):
        assert Canvas((40, 1, 50), (1, 1, 1)).cuts(1) == [[Cut(1, 0)]]

    def test_planes_that_would_be_lines_are_left_out(self):
        assert [cuts[0].name for cuts in Canvas((3, 5000, 5000), (1, 1, 1)).cuts(1)] == ["xy"]

    def test_a_line_still_shows_something(self):
        assert Canvas((1, 1, 50), (1, 1, 1)).cuts(1) == [[Cut(0, 0)]]


class TestCanvas:
    def test_all_axes_have_one_scale(self):
        canvas = Canvas((30, 200, 100), (0.5, 0.1, 0.1))
        assert [canvas.pixels(axis) for axis in range(3)] == [480, 640, 320]
        assert canvas.pixels(1) * canvas.pixel_um == pytest.approx(20)

    @pytest.mark.parametrize(("length", "pixels"), [(64, 640), (700, 700), (50_000, 768)])
    def test_pictures_are_neither_tiny_nor_huge(self, length, pixels):
        canvas = Canvas((10, length, 10), (1, 1, 1))
        assert canvas.pixels(1) == pixels

    def test_the_thickness_of_a_2d_image_does_not_count(self):
        assert Canvas((1, 100, 100), (1000, 0.1, 0.1)).pixel_um == pytest.approx(10 / 640)

    def test_position_of_a_voxel(self):
        assert Canvas((1, 64, 64), (1, 1, 1)).pixel_of(2, 32) == pytest.approx(325)


class TestReading:
    def test_each_pixel_is_the_voxel_under_its_centre(self, tmp_path):
        labels = cells((1, 8, 40, 32))
        reader = PlaneReader((made := finished_sample(tmp_path, labels, (2.0, 0.5, 0.5))).layout, made.parameters)
        for cut, plane in ((Cut(0, 5), labels[0, 5]), (Cut(1, 3), labels[0, :, 3]), (Cut(2, 9), labels[0, :, :, 9])):
            found = reader.labels(0, cut)
            rows = (np.arange(found.shape[0]) + 0.5) * plane.shape[0] / found.shape[0]
            columns = (np.arange(found.shape[1]) + 0.5) * plane.shape[1] / found.shape[1]
            assert (found == plane[np.ix_(rows.astype(int), columns.astype(int))]).all()
        # 16 µm by 20 µm by 16 µm, whatever the voxels
        assert reader.labels(0, Cut(1, 3)).shape == (512, 512)
        assert reader.image(0, Cut(2, 9)).shape == (512, 640)

    def test_truth_and_boundary_map(self, tmp_path):
        made = finished_sample(tmp_path, cells((2, 4, 40, 32)), scored=True)
        reader = PlaneReader(made.layout, made.parameters)
        assert (reader.truth(1, Cut(0, 1)) == reader.labels(1, Cut(0, 1))).all()
        assert (reader.boundary(1, Cut(0, 1)) == reader.image(1, Cut(0, 1))).all()

    def test_nothing_but_the_shown_planes_is_read(self, tmp_path, boxes):
        made = finished_sample(tmp_path, cells((2, 8, 40, 32)))
        list(Pictures(PlaneReader(made.layout, made.parameters), [0, 1], 2).draw())
        assert boxes
        assert all(1 in box.shape for box in boxes)
        assert {box.begin[0] for box in boxes if box.shape == (1, 40, 32)} == {2, 6}

    def test_large_planes_come_from_a_coarser_level(self, tmp_path, boxes):
        labels = cells((1, 4, 200, 120), (4, 8, 8))
        made = finished_sample(tmp_path, labels, pyramid={"smallest": 32}, boundary=False)
        reader = PlaneReader(made.layout, made.parameters, longest=50, longest_plane=50)
        found = reader.labels(0, Cut(0, 2))
        assert max(max(box.shape) for box in boxes) == 50
        assert found.shape == (50, 30)
        assert (found == labels[0, 2, 2::4, 2::4]).all()
        reader.image(0, Cut(2, 60))
        assert max(max(box.shape) for box in boxes) == 50

    def test_without_a_pyramid_planes_are_read_in_strips(self, tmp_path, boxes, monkeypatch):
        monkeypatch.setattr(planes, "_STRIP", 1000)
        labels = cells((1, 2, 90, 60), (4, 8, 8))
        made = finished_sample(tmp_path, labels)
        reader = PlaneReader(made.layout, made.parameters)
        whole = reader.labels(0, Cut(0, 1))
        assert max(math.prod(box.shape) for box in boxes) <= 1000
        monkeypatch.setattr(planes, "_STRIP", 1 << 20)
        assert (reader.labels(0, Cut(0, 1)) == whole).all()
