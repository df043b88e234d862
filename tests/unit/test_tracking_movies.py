"""Tracking of real and made-up movies, all with the same coefficients."""

from __future__ import annotations

import h5py
import pytest
import tifffile
from tracking_checks import agreement, movie_of, simulated_nuclei, tissue, tra_of_true_masks
from volumes_checks import real

from bigseg.kernels.tracking.greedy import solve_greedy
from bigseg.kernels.tracking.model import Solution, no_events
from bigseg.kernels.tracking.program import solve


@pytest.mark.parametrize("method", [solve, solve_greedy])
def test_simulated_nuclei_from_true_masks(method):
    with h5py.File(real("timelapse/fluo_n2dh_sim_10f.h5")) as file:
        movie = simulated_nuclei(file["track_ids"][()])
    assert sum(map(len, movie.divisions)) == 6
    solution = method(movie.pairs())
    found = agreement(movie, solution)
    assert tra_of_true_masks(movie, solution) >= 0.99
    assert found.divisions_right == 6
    assert found.divisions_found == 6
    nothing = Solution(solution.selected, tuple(no_events() for _ in movie.links))
    assert tra_of_true_masks(movie, nothing) < 0.9


def test_hamster_nuclei_with_a_faulty_segmentation():
    """Of 184 ids that persist, 10 change places with another one, which no tracker can know."""
    masks = tifffile.imread(real("timelapse/fluo_n3dh_cho_noisy_masks.tif"))
    movie = movie_of(masks, {}, (1.0, 0.2, 0.2))
    found = agreement(movie, solve(movie.pairs()))
    assert found.links == 184
    assert found.links_right >= 0.95 * 174


@pytest.mark.parametrize(
    "made",
    [
        {"seed": 20},
        {"seed": 21, "move": 0.4},
        {"seed": 22, "depth": 40, "size": 40, "cells": 110, "times": 4},
        {"seed": 23, "move": 0.1, "own": 0.05, "dividing": 0.05},
    ],
)
def test_dense_tissues(made):
    movie = movie_of(*tissue(**made))
    found = agreement(movie, solve(movie.pairs()))
    assert found.divisions > 20
    assert found.division_f1 >= 0.9
    assert found.link_f1 >= 0.95
