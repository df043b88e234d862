"""Movies for tests of tracking: detections and overlaps from label images in memory, made-up tissues, agreement."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from skimage.measure import regionprops

from bigseg.kernels.contingency import count_pairs
from bigseg.kernels.tracking.candidates import LinkCosts, candidates
from bigseg.kernels.tracking.model import Detections, Overlaps, Pair, Solution

Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Movie:
    """Detections with the true track of each and, for each pair, overlaps and true events as rows of detections."""

    detections: list[Detections]
    overlaps: list[Overlaps]
    links: list[set[tuple[int, int]]]
    divisions: list[set[tuple[int, int, int]]]

    def pairs(self, costs: LinkCosts | None = None) -> list[Pair]:
        """Candidate events."""
        return [
            candidates(self.detections[t], self.detections[t + 1], self.overlaps[t], costs or LinkCosts())
            for t in range(len(self.overlaps))
        ]


def detections_of(labels: Labels, voxel_um: Sequence[float] = (1, 1, 1)) -> Detections:
    """Detections of a label image (z, y, x)."""
    spacing = np.asarray(voxel_um, float)
    regions = sorted(regionprops(labels), key=lambda region: region.label)
    border = []
    for region in regions:
        low, high = np.array(region.bbox[:3]), np.array(region.bbox[3:])
        free = [min(a, n - b) * s for a, b, n, s in zip(low, high, labels.shape, spacing, strict=True) if n > 1]
        border.append(min(free))
    return Detections(
        np.array([region.label for region in regions], np.uint64),
        np.array([region.centroid for region in regions]).reshape(-1, 3) * spacing,
        np.array([region.area for region in regions], float) * spacing.prod(),
        np.array(border, float),
    )


def overlaps_of(before: Labels, after: Labels, voxel_um: Sequence[float] = (1, 1, 1)) -> Overlaps:
    """What the labels of two time points share."""
    table = count_pairs(before, after)
    inside = (table.result > 0) & (table.truth > 0)
    return Overlaps(table.result[inside], table.truth[inside], table.count[inside] * float(np.prod(voxel_um)))


def movie_of(tracks: Labels, parents: dict[int, int], voxel_um: Sequence[float] = (1, 1, 1), seed: int = 0) -> Movie:
    """A movie from true tracks (t, z, y, x), whose labels are shuffled at each time point so that ids tell nothing.

    Args:
        tracks: true tracks.
        parents: for each track that a division began, the track that divided.
        voxel_um: size of a voxel.
        seed: of the shuffling.
    """
    generator = np.random.default_rng(seed)
    frames, truth = [], []
    for frame in tracks:
        ids = np.unique(frame[frame > 0])
        names = generator.permutation(len(ids)) + 1
        lookup = np.zeros(int(ids.max()) + 1, np.uint64)
        lookup[ids] = names
        frames.append(lookup[frame])
        truth.append(ids[np.argsort(names)])
    links, divisions = true_events(truth, parents)
    overlaps = [overlaps_of(a, b, voxel_um) for a, b in itertools.pairwise(frames)]
    return Movie([detections_of(frame, voxel_um) for frame in frames], overlaps, links, divisions)


def true_events(
    truth: Sequence[NDArray[np.integer]], parents: dict[int, int]
) -> tuple[list[set[tuple[int, int]]], list[set[tuple[int, int, int]]]]:
    """Links and divisions between detections whose tracks are given for each time point."""
    links, divisions = [], []
    for before, after in itertools.pairwise(truth):
        row = {int(track): place for place, track in enumerate(before)}
        links.append({(row[int(track)], place) for place, track in enumerate(after) if int(track) in row})
        daughters: dict[int, list[int]] = {}
        for place, track in enumerate(after):
            if int(track) not in row and int(track) in parents:
                daughters.setdefault(parents[int(track)], []).append(place)
        divisions.append({(row[m], *sorted(d)) for m, d in daughters.items() if m in row and len(d) == 2})
    return links, divisions


@dataclass(frozen=True)
class Agreement:
    """How chosen events agree with true ones, over a whole movie."""

    links: int
    links_found: int
    links_right: int
    divisions: int
    divisions_found: int
    divisions_right: int

    @property
    def link_recall(self) -> float:
        """Share of the true links that were chosen."""
        return self.links_right / max(self.links, 1)

    @property
    def link_f1(self) -> float:
        """Harmonic mean of precision and recall of links."""
        return 2 * self.links_right / max(self.links + self.links_found, 1)

    @property
    def division_f1(self) -> float:
        """Harmonic mean of precision and recall of divisions, mother and both daughters right."""
        return 2 * self.divisions_right / max(self.divisions + self.divisions_found, 1)


def agreement(movie: Movie, solution: Solution) -> Agreement:
    """Compare a solution with the truth."""
    counts = np.zeros(6, int)
    for links, divisions, events in zip(movie.links, movie.divisions, solution.events, strict=True):
        found = {tuple(row) for row in events.links.tolist()}
        split = {tuple(row) for row in events.divisions.tolist()}
        counts += [len(links), len(found), len(links & found), len(divisions), len(split), len(divisions & split)]
    return Agreement(*counts.tolist())


def tissue(
    seed: int = 0,
    cells: int = 120,
    times: int = 6,
    size: int = 160,
    move: float = 0.3,
    own: float = 0.1,
    dividing: float = 0.1,
    depth: int = 1,
    conserve: bool = True,
) -> tuple[NDArray[np.uint32], dict[int, int]]:
    """A dense tissue whose cells keep their volumes, move, and divide in two when they are large.

    Cells are those of a power diagram of points; its weights are chosen such that volumes are as wanted.

    Args:
        seed: of the random numbers.
        cells: at the first time point.
        times: time points.
        size: voxels along y and x (and z, if ``depth`` is more than 1).
        move: mean distance in cell diameters by which a smooth flow carries the cells in a step.
        own: mean distance in cell diameters that each moves besides.
        dividing: share of the cells that divide in a step.
        depth: planes; 1 is a 2D tissue.
        conserve: False takes the Voronoi diagram as it is, whose volumes change at random.

    Returns:
        True tracks (t, z, y, x), and the parent of each track that a division began.
    """
    generator = np.random.default_rng(seed)
    box = (depth, size, size)
    shape = np.array(box, float)
    axes = [axis for axis in range(3) if shape[axis] > 1]
    points = _relaxed(generator.random((cells, 3)) * shape * [depth > 1, 1, 1], shape, axes, generator)
    volume = np.exp(0.15 * generator.normal(size=cells))
    names = np.arange(1, cells + 1)
    parents: dict[int, int] = {}
    grid = np.indices(box).reshape(3, -1).T.astype(float)
    frames = []
    for time in range(times):
        owner, points = _cells(points, volume, grid, 12 if conserve else 0)
        frames.append(names[owner].reshape(box).astype(np.uint32))
        if time == times - 1:
            break
        diameter = (np.prod(shape[axes]) / len(points)) ** (1 / len(axes))
        ripe = volume * np.exp(0.2 * generator.normal(size=len(points)))
        mothers = np.argsort(ripe)[len(ripe) - round(dividing * len(ripe)) :]
        direction = generator.normal(size=(len(mothers), 3)) * np.isin(range(3), axes)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        shift = 0.25 * diameter * direction
        begun = int(max(names.max(), max(parents, default=0))) + 1
        daughters = np.arange(begun, begun + 2 * len(mothers))
        parents.update(zip(daughters.tolist(), np.tile(names[mothers], 2).tolist(), strict=True))
        kept = np.setdiff1d(np.arange(len(points)), mothers)
        share = generator.uniform(0.4, 0.6, len(mothers))
        names = np.concatenate([names[kept], daughters])
        points = np.concatenate([points[kept], points[mothers] - shift, points[mothers] + shift])
        volume = np.concatenate([volume[kept], volume[mothers] * share, volume[mothers] * (1 - share)])
        points = points + _motion(points, shape, axes, move * diameter, own * diameter, generator)
        points[:, axes] = np.abs(points[:, axes])  # walls reflect
        points[:, axes] = shape[axes] - np.abs(shape[axes] - points[:, axes])
    return np.stack(frames), parents


def _cells(
    points: NDArray[np.float64], volume: NDArray[np.float64], grid: NDArray[np.float64], rounds: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The cell of each voxel, and the points, with cells of nearly the wanted volumes."""
    owner = KDTree(points).query(grid)[1]
    wanted = volume / volume.sum() * len(grid)
    radius = (len(grid) / len(points)) ** (1 / 3 if np.ptp(grid[:, 0]) else 1 / 2)
    weight = np.zeros(len(points))
    for _ in range(rounds):
        found = np.bincount(owner, minlength=len(points))
        weight += 0.25 * radius**2 * np.clip((wanted - found) / wanted, -1, 1)
        lifted = np.column_stack([points, np.sqrt(weight.max() - weight)])  # distance² − weight as a distance²
        owner = KDTree(lifted).query(np.column_stack([grid, np.zeros(len(grid))]))[1]
    return owner, points


def _relaxed(
    points: NDArray[np.float64], shape: NDArray[np.float64], axes: list[int], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Lloyd's iteration on random samples, so that cells are of about one size."""
    for _ in range(4):
        samples = np.zeros((60 * len(points), 3))
        samples[:, axes] = generator.random((len(samples), len(axes))) * shape[axes]
        owner = KDTree(points).query(samples)[1]
        weight = np.bincount(owner, minlength=len(points))
        moved = np.stack([np.bincount(owner, samples[:, axis], len(points)) for axis in range(3)], axis=1)
        points = np.where(weight[:, None] > 0, moved / np.maximum(weight, 1)[:, None], points)
    return points


def _motion(
    points: NDArray[np.float64],
    shape: NDArray[np.float64],
    axes: list[int],
    flow: float,
    own: float,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """A smooth flow and what each point does besides, with steps of the given mean lengths."""
    wave = generator.normal(size=(3, 3)) * np.pi / shape.max()
    swirl = np.sin(points @ wave + generator.random(3) * 2 * np.pi) * np.sin(
        np.pi * points / shape
    )  # not through walls
    parts = (swirl, generator.normal(size=points.shape))
    motion = np.zeros_like(points)
    for part, mean in zip(parts, (flow, own), strict=True):
        along = part * np.isin(range(3), axes)
        motion += along * (mean / np.linalg.norm(along, axis=1).mean())
    return motion
