"""Synthetic stains: what each property does to the image of two cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bigseg.training.stain import Stain, render

PLAIN = Stain(
    weak_walls=0.0,
    gaps=0.0,
    gap_size=2.0,
    thickness=0.0,
    blur=0.01,
    axial=1.0,
    body=0.0,
    texture=0.0,
    haze=0.0,
    spots=0.0,
    background=0.0,
    uneven=0.0,
    photons=1e6,
    read_noise=0.0,
    grain=0.0,
    gamma=1.0,
    exposure=0.8,
)


def two_cells() -> np.ndarray:
    labels = np.ones((8, 24, 24), np.int64)
    labels[:, :, 12:] = 2
    return labels


def stained(stain: Stain, sampling: tuple[float, float, float] = (1.0, 1.0, 1.0), seed: int = 0) -> np.ndarray:
    return render(two_cells(), stain, sampling, np.random.default_rng(seed))


def width(image: np.ndarray) -> int:
    """Voxels across the wall that are brighter than half."""
    return int((image[4, 12] > image.max() / 2).sum())


def test_a_plain_wall_is_two_voxels_thick_and_dark_beside() -> None:
    image = stained(PLAIN)
    assert np.array_equal(np.flatnonzero(image[4, 12] > 60), [11, 12])
    assert image[:, :, :11].max() < 10


@pytest.mark.parametrize(("thickness", "voxels"), [(0.0, 2), (1.0, 4), (2.4, 6)])
def test_walls_are_thicker_on_either_side(thickness: float, voxels: int) -> None:
    assert width(stained(replace(PLAIN, thickness=thickness))) == voxels


def test_thickness_is_in_voxels_of_the_finest_axis() -> None:
    labels = two_cells().transpose(2, 0, 1).copy()  # the wall lies across z
    for step, voxels in ((4.0, 4), (1.0, 6)):
        image = render(labels, replace(PLAIN, thickness=2.4), (step, 1.0, 1.0), np.random.default_rng(0))
        assert (image[:, 4, 12] > image.max() / 2).sum() == voxels


def test_a_well_stained_wall_is_as_bright_whatever_its_blur_and_thickness() -> None:
    # Its strength, 0.6 to 1, is drawn before anything else, so it is the same in all.
    peaks = [
        float(stained(replace(PLAIN, blur=blur, thickness=thickness))[4, 12].max())
        for blur in (0.01, 1.5)
        for thickness in (0.0, 2.0)
    ]
    assert max(peaks) - min(peaks) <= 2


def test_the_same_generator_gives_the_same_image() -> None:
    stain = Stain.draw(np.random.default_rng(3))
    assert np.array_equal(stained(stain, seed=1), stained(stain, seed=1))
    assert not np.array_equal(stained(stain, seed=1), stained(stain, seed=2))


def test_dense_cells_are_about_as_bright_as_walls() -> None:
    image = stained(replace(PLAIN, dense=1.0)).astype(int)
    wall, bodies = image[:, :, 11:13].mean(), (image[:, :, 4].mean(), image[:, :, 20].mean())
    for body in bodies:
        assert 0.35 * wall < body < 1.15 * wall
    assert stained(PLAIN)[:, :, 4].mean() < 0.1 * wall


def test_only_who_asks_for_dense_cells_draws_them_and_the_rest_is_the_same() -> None:
    plain = [Stain.draw(np.random.default_rng(seed)) for seed in range(40)]
    dense = [Stain.draw(np.random.default_rng(seed), dense=True) for seed in range(40)]
    assert all(stain.dense == 0 for stain in plain)
    assert 0.5 < np.mean([stain.dense > 0 for stain in dense]) < 0.9
    assert [replace(stain, dense=0.0) for stain in dense] == plain
