"""Cells that need more than their walls: a tissue with weak walls, and maps that tell what the walls do not.

Each cell has one planted nucleus; some have none, some two. The semantic map gives every cell one of two classes. The
affinities are those of the truth with noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects

from bigseg.geometry.box import Box
from bigseg.kernels.synthetic.tissue import Tissue

OFFSETS = [[-2, 0, 0], [0, -4, 0], [0, 0, -4], [0, -8, 0], [0, 0, -8]]


@dataclass(frozen=True)
class LiftedProblem:
    """A volume and its maps, all of one shape (z, y, x); the affinities have a channel for each offset."""

    image: np.ndarray
    truth: np.ndarray
    nuclei: np.ndarray
    semantic: np.ndarray
    affinities: np.ndarray
    voxel_size_um: tuple[float, float, float]

    def write(self, folder: Path, *roles: str) -> dict[str, Any]:
        """Write the volumes, the maps to a file of their own; the sample of a configuration with maps of ``roles``."""
        sample: dict[str, Any] = {}
        for role, volume in {"input": self.image, "truth": self.truth, **{r: getattr(self, r) for r in roles}}.items():
            path = folder / ("maps.h5" if role in roles else "cells.h5")
            with h5py.File(path, "a") as file:
                file[role] = volume
                file[role].attrs["element_size_um"] = self.voxel_size_um
            sample[role] = {"path": str(path), "key": role}
        if "affinities" in sample:
            sample["affinities"].update(axes="czyx", offsets=OFFSETS)
        return sample


def lifted_problem(
    shape: tuple[int, int, int] = (32, 96, 96),
    *,
    weak_walls: float = 0.4,
    none: float = 0.1,
    two: float = 0.0,
    radius: float = 0.6,
    noise: float = 0.15,
    seed: int = 0,
) -> LiftedProblem:
    """Make a problem.

    Args:
        shape: (z, y, x) in voxels.
        weak_walls: share of the walls that are hardly stained.
        none: share of the cells without a nucleus.
        two: share of the cells with two nuclei, of which one is wrong.
        radius: of a nucleus, relative to the largest ball in its cell.
        noise: standard deviation of the affinities.
        seed: of everything.
    """
    tissue = Tissue(shape, outline=False, weak_walls=weak_walls, seed=seed)
    image, truth = tissue.render(Box((0, 0, 0), shape))
    generator = np.random.default_rng(seed)
    fate = generator.random(int(truth.max()) + 1)
    numbers = np.where(fate < none, 0, np.where(fate > 1 - two, 2, 1))
    nuclei = plant_nuclei(truth, numbers, tissue.voxel_size_um, radius)
    classes = generator.integers(1, 3, int(truth.max()) + 1).astype(np.uint8)
    affinities = np.stack([true_affinity(truth, offset) for offset in OFFSETS])
    affinities = np.clip(affinities + generator.normal(0, noise, affinities.shape), 0, 1)
    semantic = np.where(truth > 0, classes[truth], 0).astype(np.uint8)
    return LiftedProblem(image, truth, nuclei, semantic, (255 * affinities).astype(np.uint8), tissue.voxel_size_um)


def plant_nuclei(
    truth: np.ndarray, numbers: np.ndarray, sampling: tuple[float, float, float], radius: float
) -> np.ndarray:
    """Balls, uint32, in the widest places of cells; ``numbers[cell]`` of them in each."""
    nuclei = np.zeros(truth.shape, np.uint32)
    count = 0
    for cell, place in enumerate(find_objects(truth), 1):
        if place is None:
            continue
        room = np.pad(truth[place] == cell, 1)
        inside = np.zeros(room.shape, np.uint32)
        for _ in range(numbers[cell]):
            depth = distance_transform_edt(room, sampling=sampling)
            grid = np.indices(room.shape) - np.array(np.unravel_index(depth.argmax(), room.shape))[:, None, None, None]
            away = np.sqrt(((grid * np.array(sampling)[:, None, None, None]) ** 2).sum(axis=0))
            ball = (away <= radius * depth.max()) & room
            count += 1
            inside[ball] = count
            room &= away > 1.2 * depth.max()  # a second nucleus finds its place beside the first
            if not room.any():
                break
        inside = inside[1:-1, 1:-1, 1:-1]
        nuclei[place][inside > 0] = inside[inside > 0]
    return nuclei


def true_affinity(labels: np.ndarray, offset: list[int]) -> np.ndarray:
    """1 where the voxel an offset further has the same label, else 0; 0 where it lies outside the volume."""
    here = tuple(slice(max(0, -o), n - max(0, o)) for o, n in zip(offset, labels.shape, strict=True))
    there = tuple(slice(max(0, o), n - max(0, -o)) for o, n in zip(offset, labels.shape, strict=True))
    found = np.zeros(labels.shape, np.float64)
    found[here] = labels[here] == labels[there]
    return found
