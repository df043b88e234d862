"""Colours, outlines and grey values of the report's pictures."""

from __future__ import annotations

import numpy as np
import pytest

from bigseg.reporting import overlay

NONE = np.empty((0, 2), np.uint64)


def spread(count: int) -> np.ndarray:
    """Ids as bigseg makes them: block number above, local number below."""
    local = np.arange(1, count + 1, dtype=np.uint64)
    return np.sort(np.concatenate([local, local + np.uint64(7 << 32)]))


class TestGrey:
    def test_limits_become_black_and_white(self):
        picture = overlay.grey(np.array([[10, 60, 110, 200, 0]], np.uint16), 10, 110)
        assert picture.shape == (1, 5, 3)
        assert picture.dtype == np.uint8
        assert picture[0, :, 0].tolist() == [0, 127, 255, 255, 0]
        assert (picture[..., 0] == picture[..., 2]).all()

    def test_constant_images_do_not_divide_by_zero(self):
        assert (overlay.grey(np.full((2, 2), 5.0), 5.0, 5.0) == 0).all()

    def test_heat_orders_by_brightness(self):
        picture = overlay.heat(np.array([[0, 128, 255]], np.uint8)).astype(int).sum(axis=2)[0]
        assert picture[0] < picture[1] < picture[2]


class TestTouchingPairs:
    def test_sides_count_corners_and_background_do_not(self):
        labels = np.array([[1, 2, 0], [3, 9, 9], [9, 9, 4]], np.uint64)
        assert overlay.touching_pairs(labels).tolist() == [[1, 2], [1, 3], [2, 9], [3, 9], [4, 9]]

    @pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
    def test_pictures_one_pixel_wide(self, shape):
        assert len(overlay.touching_pairs(np.ones(shape, np.uint64))) == 0


class TestColours:
    def test_follow_from_the_id_alone_where_nothing_touches(self):
        ids = spread(50)
        together = overlay.choose_colours(ids, NONE)
        again = overlay.choose_colours(ids[10:20], NONE)
        assert (together.colours[10:20] == again.colours).all()

    def test_are_the_same_in_every_run(self):
        """Colours of a published picture must not change with a new release by accident."""
        palette = overlay.choose_colours(np.array([1, 2, (3 << 32) + 1], np.uint64), NONE)
        assert palette.colours.tolist() == [[115, 231, 135], [43, 210, 48], [245, 88, 141]]

    def test_touching_objects_differ_well(self):
        ids = spread(200)
        grid = np.random.default_rng(0).permutation(ids).reshape(20, 20).repeat(2, 0).repeat(2, 1)
        pairs = overlay.touching_pairs(grid)
        colours = overlay.choose_colours(ids, pairs).colours.astype(float) / 255
        u, v = np.searchsorted(ids, pairs).T
        assert np.linalg.norm(colours[u] - colours[v], axis=1).min() > 0.4

    def test_a_crowd_of_neighbours_is_served_as_well_as_possible(self):
        ids = np.arange(1, 31, dtype=np.uint64)
        pairs = np.array([(a, b) for a in ids for b in ids if a < b], np.uint64)
        colours = overlay.choose_colours(ids, pairs).colours
        assert len(np.unique(colours, axis=0)) == 30

    def test_order_of_pairs_does_not_matter(self):
        ids = spread(30)
        pairs = overlay.touching_pairs(ids[np.random.default_rng(1).integers(0, 60, (15, 15))])
        mixed = np.random.default_rng(2).permutation(np.concatenate([pairs, pairs[:5]]))[:, ::-1]
        assert (overlay.choose_colours(ids, pairs).colours == overlay.choose_colours(ids, mixed).colours).all()

    def test_no_objects(self):
        palette = overlay.choose_colours(np.empty(0, np.uint64), NONE)
        assert palette.colours.shape == (0, 3)
        assert (palette.paint(np.zeros((3, 4), np.uint64)) == 0).all()

    def test_painting(self):
        ids = np.array([5, 9, 1 << 40], np.uint64)
        palette = overlay.choose_colours(ids, NONE)
        painted = palette.paint(np.array([[0, 9], [1 << 40, 5]], np.uint64))
        assert painted[0, 0].tolist() == [0, 0, 0]
        assert painted[0, 1].tolist() == palette.colours[1].tolist()
        assert painted[1, 0].tolist() == palette.colours[2].tolist()


class TestOutlines:
    def test_both_sides_of_a_border_but_only_objects(self):
        labels = np.array([[1, 1, 1, 2, 2, 2, 0, 0]], np.uint64)
        assert overlay.outlines(labels)[0].tolist() == [False, False, True, True, False, True, False, False]

    def test_one_object_that_fills_the_picture_has_none(self):
        assert not overlay.outlines(np.ones((4, 4), np.uint64)).any()

    def test_broad_ones_show_beside_narrow_ones(self):
        labels = np.ones((9, 9), np.int64)
        labels[:, 5:] = 2
        black = np.zeros((9, 9, 3), np.uint8)
        below = overlay.outline_over(black, labels, (255, 0, 0), broad=True)
        both = overlay.outline_over(below, labels, (0, 0, 255))
        assert (both[4, :, 0] == 255).tolist() == [False, False, True, True, False, False, True, True, False]
        assert (both[4, :, 2] == 255).nonzero()[0].tolist() == [4, 5]
        assert not black.any()

    def test_colour_leaves_the_background_as_it_is(self):
        grey = np.full((4, 6, 3), 100, np.uint8)
        labels = np.zeros((4, 6), np.uint64)
        labels[:, 3:] = 8
        palette = overlay.choose_colours(np.array([8], np.uint64), NONE)
        picture = overlay.colour_over(grey, labels, palette)
        assert (picture[:, :3] == 100).all()
        assert (picture[:, 3] == palette.colours[0]).all()
        assert (picture[:, 4] == (0.5 * 100 + 0.5 * palette.colours[0]).astype(np.uint8)).all()
