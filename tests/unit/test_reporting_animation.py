"""The moving picture of a tracked movie."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence
from reporting_sample import finished_sample
from test_reporting_page import write
from test_reporting_tracks import dividing_cell

from bigseg.reporting.overlay import choose_colours
from bigseg.reporting.tracks import animation as animation_module
from bigseg.reporting.tracks.animation import MOST_BYTES, Animation, webp
from bigseg.volumes.store import VolumeArray

VOXEL_UM = (2.0, 1.0, 1.0)


def moving_cells(times: int) -> np.ndarray:
    """Labels (t, z, y, x) uint64: track 1 goes from left to right, 2 stays, 3 is far from the middle plane."""
    labels = np.zeros((times, 8, 40, 60), np.uint64)
    for t in range(times):
        labels[t, :, 10:20, 4 + 2 * t : 14 + 2 * t] = 1
    labels[:, :, 25:36, 30:50] = 2
    labels[:, :2, 2:8, 50:58] = 3
    return labels


def decoded(content: bytes) -> list[Image.Image]:
    return [frame.copy() for frame in ImageSequence.Iterator(Image.open(io.BytesIO(content)))]


def centre_of(frame: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Where (row, column) the pixels lie whose hue is that of a track, apart from the number in the corner."""
    chroma = frame.astype(float) - frame.mean(axis=-1, keepdims=True)
    wanted = colour - colour.mean()
    length = np.linalg.norm(chroma, axis=-1)
    alike = (chroma @ wanted) > 0.9 * length * np.linalg.norm(wanted)
    return np.argwhere(alike & (length > 25)).mean(axis=0)


class TestFrames:
    @pytest.fixture
    def made(self, tmp_path):
        return finished_sample(tmp_path, moving_cells(5), VOXEL_UM, parents={})

    def test_a_frame_for_each_time_point_with_the_tracks_in_their_colours(self, made):
        moving = Animation(made.layout, made.parameters)
        assert moving.times == [0, 1, 2, 3, 4]
        assert moving.shown.tolist() == [1, 2]
        palette = choose_colours(moving.shown, np.array([[1, 2]], np.uint64))
        frames = [np.asarray(frame.convert("RGB")) for frame in decoded(moving.draw(palette))]
        assert len(frames) == 5
        scale = frames[0].shape[1] / 60
        assert frames[0].shape == (round(40 * scale), 320, 3)
        for t, frame in enumerate(frames):
            where = centre_of(frame, palette.colours[0].astype(float)) / scale
            assert where == pytest.approx([15, 9 + 2 * t], abs=0.7)
            assert centre_of(frame, palette.colours[1].astype(float)) / scale == pytest.approx([30.5, 40], abs=0.7)

    def test_before_it_is_compressed_outlines_have_the_full_colour(self, made):
        moving = Animation(made.layout, made.parameters)
        palette = choose_colours(moving.shown, np.empty((0, 2), np.uint64))
        for frame in moving.frames(palette):
            for colour in palette.colours:
                assert (frame == colour).all(axis=-1).sum() > 100
        assert next(moving.frames(palette)).dtype == np.uint8

    def test_it_repeats_and_pauses_at_the_end(self, made):
        moving = Animation(made.layout, made.parameters)
        frames = decoded(moving.draw(choose_colours(moving.shown, np.empty((0, 2), np.uint64))))
        assert [frame.info["duration"] for frame in frames] == [600] * 4 + [1200]
        assert frames[0].info["loop"] == 0

    def test_frames_are_told_apart_by_their_numbers_though_nothing_moves(self, tmp_path):
        """Encoders join frames that are the same."""
        made = finished_sample(tmp_path, np.ones((4, 2, 20, 20), np.uint64), parents={})
        moving = Animation(made.layout, made.parameters)
        palette = choose_colours(moving.shown, np.empty((0, 2), np.uint64))
        plain = [np.asarray(frame) for frame in moving.frames(palette)]
        corner = [frame[:30, :30].tobytes() for frame in plain]
        assert len(set(corner)) == 4

    def test_touching_tracks_of_any_time_point_are_told_apart(self, tmp_path):
        labels = np.ones((3, 1, 20, 20), np.uint64)
        labels[1, :, :, 10:] = 2
        labels[2, :, 10:] = 3
        moving = Animation((made := finished_sample(tmp_path, labels, parents={})).layout, made.parameters)
        assert moving.touching.tolist() == [[1, 2], [1, 3]]
        assert moving.where == "the xy plane"


class TestBounds:
    def test_of_a_long_movie_some_time_points(self, tmp_path, monkeypatch):
        monkeypatch.setattr(animation_module, "MOST_FRAMES", 3)
        made = finished_sample(tmp_path, moving_cells(7), VOXEL_UM, parents={})
        assert Animation(made.layout, made.parameters).times == [0, 3, 6]
        page = write(made)
        assert "the xy plane at z = 4 (9 µm), 3 of 7 time points, evenly spread" in page.text

    def test_large_planes_come_from_a_coarser_level(self, tmp_path, monkeypatch):
        made = finished_sample(tmp_path, dividing_cell(), parents={2: 1, 3: 1}, pyramid={"smallest": 20})
        monkeypatch.setattr(animation_module, "_SCALE", {"longest": 30, "shortest": 30, "longest_plane": 32})
        boxes = []
        read = VolumeArray.read
        monkeypatch.setattr(VolumeArray, "read", lambda self, t, c, box: boxes.append(box) or read(self, t, c, box))
        moving = Animation(made.layout, made.parameters)
        moving.draw(choose_colours(moving.shown, moving.touching))
        assert len(boxes) == 8  # image and tracks, of two time points, twice
        assert max(max(box.shape) for box in boxes) <= 32

    def test_noise_without_end_is_made_coarser_until_it_fits(self):
        frames = np.random.default_rng(0).integers(0, 255, (30, 400, 400, 3), np.uint8)
        found = webp(list(frames))
        assert len(found) <= MOST_BYTES
        shown = decoded(found)
        assert len(shown) == 30
        assert shown[0].size[0] < 400


class TestPage:
    def test_it_is_in_the_page(self, tmp_path):
        page = write(finished_sample(tmp_path, moving_cells(5), VOXEL_UM, parents={}))
        assert {name: len(frames) for name, frames in page.animations.items()} == {
            "The movie with its tracks in colour": 5
        }
        assert "the xy plane at z = 4 (9 µm), all 5 time points" in page.text

    def test_a_movie_that_is_not_tracked_or_empty_has_none(self, tmp_path):
        for name, parents in (("alone", None), ("empty", {})):
            (tmp_path / name).mkdir()
            labels = moving_cells(2) if parents is None else np.zeros((2, 4, 40, 40), np.uint64)
            assert write(finished_sample(tmp_path / name, labels, parents=parents)).animations == {}
