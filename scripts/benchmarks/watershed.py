"""Supervoxels of one block: bigseg's distance-transform watershed against elf's, one thread each.

Both get the same boundary map and the same parameters (PlantSeg's). Repeats alternate between the two and medians are
taken, so that other work on the machine slows both. The last line of standard output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bioimage_cpp
import h5py
import numpy as np
from elf.evaluation import variation_of_information
from elf.segmentation.watershed import distance_transform_watershed
from numpy.typing import NDArray

from bigseg.kernels.maxima import local_maxima, mark_groups
from bigseg.kernels.watershed import (
    DISTANCE_SCALE,
    crop_and_split,
    distance_watershed,
    flood_small,
    height_map,
    smoothed_distance,
)

Volume = NDArray[np.float32]
Sampling = tuple[float, float, float]

THRESHOLD, SIGMA, ALPHA, MINIMUM_SIZE = 0.4, 2.0, 0.9, 100
OVULE = Path(__file__).resolve().parents[3] / "shared/data/membranes/sample_ovule.h5"


def synthetic_membranes(size: int, seed: int) -> Volume:
    """Blurred walls of Voronoi cells about 24 voxels wide, with correlated noise, in [0, 1]."""
    rng = np.random.default_rng(seed)
    shape = (size, size, size)
    elsewhere = np.ones(shape, np.uint8)
    elsewhere[tuple(rng.integers(0, size, (3, max(2, (size // 24) ** 3))))] = 0
    nearest = bioimage_cpp.distance.distance_transform(elsewhere, return_distances=False, return_indices=True)
    cell = (nearest[0] * size + nearest[1]) * size + nearest[2]  # int32 holds this up to 1290³
    del nearest, elsewhere
    wall = np.zeros(shape, np.float32)
    for axis in range(3):
        here, there = np.moveaxis(cell, axis, 0), np.moveaxis(wall, axis, 0)
        between = here[1:] != here[:-1]
        there[1:][between] = 1
        there[:-1][between] = 1
    del cell
    noise = bioimage_cpp.filters.gaussian_smoothing(rng.standard_normal(shape, np.float32), 0.7)
    boundary: Volume = bioimage_cpp.filters.gaussian_smoothing(wall, 1.0) + np.float32(0.3) * noise
    np.clip(boundary, 0, 1, out=boundary)
    return boundary


def ovule_membranes(path: Path) -> tuple[Volume, Sampling]:
    """The ovule sample as stage `predict` makes it a boundary map by default, and its sampling."""
    with h5py.File(path) as file:
        raw = file["raw"][:].astype(np.float32)
        voxel_size = [float(v) for v in file["raw"].attrs["element_size_um"]]
    raw = bioimage_cpp.filters.gaussian_smoothing(raw, 1.0)
    low, high = np.percentile(raw, [1.0, 99.8])
    z, y, x = (v / min(voxel_size) for v in voxel_size)
    return np.clip((raw - low) / (high - low), 0, 1).astype(np.float32), (z, y, x)


def run_bigseg(boundary: Volume, sampling: Sampling, **options: Any) -> NDArray[np.uint32]:
    """The kernel with PlantSeg's parameters."""
    return distance_watershed(
        boundary,
        threshold=THRESHOLD,
        sigma_seeds=SIGMA,
        sigma_weights=SIGMA,
        alpha=ALPHA,
        minimum_size=MINIMUM_SIZE,
        sampling=sampling,
        **options,
    )


def run_elf(boundary: Volume, sampling: Sampling) -> NDArray[np.uint64]:
    """The elf function with the same parameters; it takes one sigma per axis where the voxels are no cubes."""
    sigma = tuple(SIGMA / s for s in sampling)
    labels: NDArray[np.uint64] = distance_transform_watershed(
        boundary, THRESHOLD, sigma, sigma_weights=sigma, min_size=MINIMUM_SIZE, alpha=ALPHA, pixel_pitch=sampling
    )[0]
    return labels


def run_steps(boundary: Volume, sampling: Sampling) -> dict[str, float]:
    """The steps of the kernel one by one; seconds per step."""
    seconds: dict[str, float] = {}

    def timed(name: str, step: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = step()
        seconds[name] = time.perf_counter() - start
        return result

    distance = timed("distance, smoothed", lambda: smoothed_distance(boundary, THRESHOLD, SIGMA, sampling, None))
    points = timed("local maxima", lambda: local_maxima(distance))
    markers, count = timed("seeds", lambda: mark_groups(points, boundary.shape))
    height = timed("height map", lambda: height_map(boundary, distance, SIGMA, ALPHA, sampling, DISTANCE_SCALE))
    labels = timed("flooding", lambda: bioimage_cpp.segmentation.watershed(height, markers))
    labels, _ = timed("small supervoxels", lambda: flood_small(labels, count, height, MINIMUM_SIZE, None))
    z, y, x = (slice(n // 8, n - n // 8) for n in boundary.shape)
    timed("crop and split", lambda: crop_and_split(labels, (z, y, x)))
    return seconds


def compare(boundary: Volume, sampling: Sampling, repeats: int) -> dict[str, Any]:
    """Time both in turn and compare what they return."""
    ours: list[float] = []
    theirs: list[float] = []
    steps: list[dict[str, float]] = []
    for _ in range(repeats):
        start = time.perf_counter()
        labels = run_bigseg(boundary, sampling)
        middle = time.perf_counter()
        reference = run_elf(boundary, sampling)
        theirs.append(time.perf_counter() - middle)
        ours.append(middle - start)
        steps.append(run_steps(boundary, sampling))
    split, merge = variation_of_information(labels, reference)
    same_split, same_merge = variation_of_information(run_bigseg(boundary, sampling, distance_scale=None), reference)
    seconds, seconds_elf = statistics.median(ours), statistics.median(theirs)
    return {
        "shape": list(boundary.shape),
        "seconds": round(seconds, 4),
        "seconds_elf": round(seconds_elf, 4),
        "ratio_to_elf": round(seconds_elf / seconds, 3),
        "mvox_per_s": round(boundary.size / seconds / 1e6, 3),
        "mvox_per_s_elf": round(boundary.size / seconds_elf / 1e6, 3),
        "seconds_per_step": {name: round(statistics.median(s[name] for s in steps), 4) for name in steps[0]},
        "supervoxels": int(labels.max()),
        "supervoxels_elf": len(np.unique(reference)),
        "voi_to_elf": round(float(split + merge), 5),
        "voi_to_elf_same_normalisation": abs(round(float(same_split + same_merge), 5)),
    }


def main() -> None:
    """Run the comparison and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="edge of the synthetic volume in voxels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ovule", type=Path, default=OVULE, help="left out where the file does not exist")
    options = parser.parse_args()

    cube: Sampling = (1.0, 1.0, 1.0)
    results = {"synthetic": compare(synthetic_membranes(options.size, options.seed), cube, options.repeats)}
    if options.ovule.exists():
        # Half a megavoxel takes a tenth of a second: more repeats for the same trust.
        results["ovule"] = compare(*ovule_membranes(options.ovule), 3 * options.repeats)

    print(
        f"{'volume':<12}{'shape':<18}{'bigseg Mvox/s':>14}{'elf Mvox/s':>12}{'ratio':>8}"
        f"{'VOI to elf':>12}{'same norm.':>12}"
    )
    for name, row in results.items():
        shape = "×".join(map(str, row["shape"]))
        print(
            f"{name:<12}{shape:<18}{row['mvox_per_s']:>14.2f}{row['mvox_per_s_elf']:>12.2f}{row['ratio_to_elf']:>8.2f}"
            f"{row['voi_to_elf']:>12.4f}{row['voi_to_elf_same_normalisation']:>12.4f}"
        )
    print()
    for step, seconds in results["synthetic"]["seconds_per_step"].items():
        print(f"{step:<22}{seconds:>8.3f} s")
    print(json.dumps({**results["synthetic"], "size": options.size, "repeats": options.repeats, "volumes": results}))


if __name__ == "__main__":
    main()
