"""The partition in an octree of superblocks against one in-core solve: equality, memory, time.

A synthetic region graph (supervoxels on a grid, planted objects, noisy boundaries; long-range repulsive edges for the
mutex watershed) is cut into 8 × 8 × 8 blocks. A job is a row of blocks or one superblock, in a process of its own that
is forked from one that has done the imports. Its peak resident memory and CPU time, reading and writing included, are
what the system accounts to it; files in a temporary folder carry everything from job to job. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import bioimage_cpp as bic
import numpy as np
from numpy.typing import NDArray

from bigseg.kernels.agglomerate import contract_average
from bigseg.kernels.clusters import name_clusters
from bigseg.kernels.mutex import contract_mutex
from bigseg.kernels.octree import Objective, Superblock, join, leaf, solve
from bigseg.kernels.signed_graph import SignedEdges, concatenate, follow

GRID = 8
"""Blocks along each axis; three levels of superblocks (512, 64, 8) and the root."""

LEVELS = 3
BETA = 0.5
LOCAL = ((0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 1, 1), (1, 0, 1))
LONG_RANGE = ((0, 0, 4), (0, 4, 0), (4, 0, 0))
OBJECT = 8
"""Distance of the planted objects' centres, in nodes."""

Ints = NDArray[np.int64]
Place = tuple[int, int, int]
GASP, MUTEX = Objective("mean", 1 - BETA), Objective("abs_max")


@dataclass(frozen=True)
class Volume:
    """Synthetic supervoxels on a grid, ``side``³ of them in each of 8³ blocks; blocks can be made one by one."""

    side: int

    @property
    def nodes(self) -> int:
        """Number of supervoxels."""
        return (GRID * self.side) ** 3

    def ids(self, block: int) -> NDArray[np.uint64]:
        """Supervoxels of a block, as bigseg numbers them."""
        return np.arange(1, self.side**3 + 1, dtype=np.uint64) + np.uint64(block << 32)

    def edges(self, block: int, objective: Objective) -> SignedEdges:
        """Edges whose lower end lies in a block; the mutex watershed has long-range ones as well."""
        corner = np.array(coordinate(block)) * self.side
        lower = np.indices((self.side,) * 3).reshape(3, -1) + corner[:, None]
        parts = []
        for number, offset in enumerate(LOCAL + LONG_RANGE):
            far = number >= len(LOCAL)
            if far and objective is GASP:
                break
            upper = lower + np.array(offset)[:, None]
            kept = (upper < GRID * self.side).all(axis=0)
            if sum(offset) > 1:  # neighbours along an axis always touch, others half of the time
                kept &= uniform(lower, 10 + number) < 0.5
            a, b = lower[:, kept], upper[:, kept]
            parts.append(self._edges(a, b, number, far, objective))
        return concatenate(parts)

    def _edges(self, a: Ints, b: Ints, number: int, far: bool, objective: Objective) -> SignedEdges:
        cut = (self._object(a) != self._object(b)).any(axis=0)
        normal = np.sqrt(-2 * np.log1p(-uniform(a, 30 + number))) * np.cos(2 * np.pi * uniform(a, 50 + number))
        probability = 1 / (1 + np.exp(np.where(cut, -1.0, 1.2) + 0.8 * normal))
        u, v = self._ids(a), self._ids(b)
        if objective is GASP:
            count = 1 + np.floor(300 * uniform(a, 70 + number))
            # Finer than the halves of uint8 sums, so that hardly two weights are equal and bioimage_cpp can be
            # compared; sums are exact all the same.
            return SignedEdges(u, v, -np.rint(2**20 * 255 * count * probability) / 2**20, 255 * count)
        weight = (1 - BETA) - probability
        return SignedEdges(u, v, np.minimum(weight, 0.0) if far else weight, np.ones(len(u)))

    def _ids(self, place: Ints) -> NDArray[np.uint64]:
        block, local = place // self.side, place % self.side
        upper = (block[0] * GRID + block[1]) * GRID + block[2]
        lower = (local[0] * self.side + local[1]) * self.side + local[2] + 1
        return np.asarray((upper << 32) + lower, np.uint64)

    def _object(self, place: Ints) -> Ints:
        """Position (3, n) of the cell of the nearest of the planted centres, one at a random place in each cell."""
        best, nearest = np.full(place.shape[1], np.inf), np.zeros_like(place)
        for step in itertools.product((-1, 0, 1), repeat=3):
            cell = place // OBJECT + np.array(step)[:, None]
            distance = np.zeros(place.shape[1])
            for axis in range(3):
                distance += ((cell[axis] + uniform(cell, 90 + axis)) * OBJECT - place[axis]) ** 2
            closer = distance < best
            best[closer], nearest[:, closer] = distance[closer], cell[:, closer]
        return nearest


def uniform(place: Ints, stream: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each position (3, n), the same in whatever block it is asked for (splitmix64)."""
    z, y, x = (place + 2**20).astype(np.uint64)
    key = (z << np.uint64(42)) ^ (y << np.uint64(21)) ^ x
    key += np.uint64(stream * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        key = (key ^ (key >> np.uint64(shift))) * np.uint64(factor)
    key ^= key >> np.uint64(31)
    return np.asarray((key >> np.uint64(11)) / 2**53)


def coordinate(block: int) -> Place:
    """Place of a block in the grid."""
    return block // GRID**2, block // GRID % GRID, block % GRID


@dataclass
class Usage:
    """What a set of jobs took: CPU seconds in sum, peak memory in GB of the heaviest, wall seconds."""

    cpu: float = 0.0
    peak_gb: float = 0.0
    wall: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        """Of one set after the other."""
        return Usage(self.cpu + other.cpu, max(self.peak_gb, other.peak_gb), self.wall + other.wall)


def run(jobs: Iterable[Callable[[], None]], workers: int = 1) -> Usage:
    """Run each job in a forked process, ``workers`` at a time."""
    usage, running, started = Usage(), 0, time.perf_counter()

    def reap() -> None:
        _, status, taken = os.wait4(-1, 0)
        if status:
            raise SystemExit("a job failed")
        usage.cpu += taken.ru_utime + taken.ru_stime
        usage.peak_gb = max(usage.peak_gb, taken.ru_maxrss / 2**20)

    for job in jobs:
        if running == workers:
            reap()
            running -= 1
        if (pid := os.fork()) == 0:
            status = 1
            try:
                job()
                status = 0
            finally:
                os._exit(status)
        running += pid > 0
    for _ in range(running):
        reap()
    usage.wall = time.perf_counter() - started
    return usage


def save(path: Path, *columns: np.ndarray) -> None:
    """Write arrays one after the other into one file (zip archives would take longer than most solves)."""
    with path.open("wb") as file:
        for column in columns:
            np.save(file, column)


def load(path: Path, number: int) -> list[np.ndarray]:
    """Read the arrays of a file."""
    with path.open("rb") as file:
        return [np.load(file) for _ in range(number)]


def columns(edges: SignedEdges) -> list[np.ndarray]:
    """The columns of a table of edges."""
    return [edges.u, edges.v, edges.value, edges.count]


def load_edges(path: Path) -> SignedEdges:
    """Read a table of edges."""
    return SignedEdges(*load(path, 4))


@dataclass(frozen=True)
class Workspace:
    """Files of one objective in a folder."""

    folder: Path
    volume: Volume
    objective: Objective

    def _edges_path(self, block: int, crossing: bool) -> Path:
        return self.folder / f"edges-{block}-{'crossing' if crossing else 'inside'}"

    def _names_path(self, block: int, solver: str) -> Path:
        return self.folder / f"names-{solver}-{block}.npy"

    def _path(self, kind: str, level: int, where: Place) -> Path:
        return self.folder / f"{kind}-{level}-{'-'.join(map(str, where))}"

    def write_graph(self, block: int) -> None:
        """Job: the edges that a block owns, those across its faces in a table of their own."""
        edges = self.volume.edges(block, self.objective)
        across = edges.v >> np.uint64(32) != block
        for crossing, part in ((False, edges.take(~across)), (True, edges.take(across))):
            save(self._edges_path(block, crossing), *columns(part))

    def solve_leaves(self, blocks: range) -> None:
        """Job: a batch of blocks, one after the other."""
        for block in blocks:
            self._solve_leaf(block)

    def _solve_leaf(self, block: int) -> None:
        """Solve a block; reads its own edges and those that its lower neighbours own."""
        where = coordinate(block)
        tables = [load_edges(self._edges_path(block, False)), load_edges(self._edges_path(block, True))]
        for step in itertools.product((0, 1), repeat=3):
            z, y, x = (c - s for c, s in zip(where, step, strict=True))
            if any(step) and min(z, y, x) >= 0:
                table = load_edges(self._edges_path((z * GRID + y) * GRID + x, True))
                tables.append(table.take(table.v >> np.uint64(32) == block))
        self._solve(0, where, leaf(self.volume.ids(block), concatenate(tables)))

    def solve_superblock(self, level: int, where: Place) -> None:
        """Job: join the children of the level below and solve."""
        children = [
            self._part(level - 1, (2 * where[0] + z, 2 * where[1] + y, 2 * where[2] + x))
            for z, y, x in itertools.product((0, 1), repeat=3)
        ]
        self._solve(level, where, join(children))

    def _solve(self, level: int, where: Place, part: Superblock) -> None:
        clusters, solved = solve(part, self.objective)
        save(self._path("map", level, where), part.nodes, clusters)
        tables = (*columns(solved.edges), *columns(solved.crossing))
        save(self._path("part", level, where), solved.nodes, *tables, solved.inside)

    def _part(self, level: int, where: Place) -> Superblock:
        nodes, *tables, inside = load(self._path("part", level, where), 10)
        return Superblock(nodes, SignedEdges(*tables[:4]), SignedEdges(*tables[4:]), inside)

    def compose(self, layer: int) -> None:
        """Job: names of the supervoxels of a layer of blocks, by the maps on each block's path to the root."""
        root = load(self._path("map", LEVELS, (0, 0, 0)), 2)
        for block in range(layer * GRID**2, (layer + 1) * GRID**2):
            names = self.volume.ids(block)
            for level in range(LEVELS):
                z, y, x = (c >> level for c in coordinate(block))
                names = follow(names, *load(self._path("map", level, (z, y, x)), 2))
            np.save(self._names_path(block, "blocks"), follow(names, *root))

    def solve_in_core(self, solver: str, threads: int) -> None:
        """Job: everything at once, by bioimage_cpp or by bigseg's kernel."""
        started = time.perf_counter()
        edges = concatenate(
            [load_edges(self._edges_path(b, crossing)) for b in range(GRID**3) for crossing in (False, True)]
        )
        ids = np.concatenate([self.volume.ids(block) for block in range(GRID**3)])
        pairs = np.stack([np.searchsorted(ids, edges.u), np.searchsorted(ids, edges.v)], axis=1).astype(np.uint64)
        value, count = edges.value, edges.count
        del edges
        if solver == "bioimage_cpp":
            order = np.lexsort((pairs[:, 1], pairs[:, 0]))
            pairs, value, count = pairs[order], value[order], count[order]
            del order
        read = time.perf_counter()
        clusters = self._clusters(solver, len(ids), pairs, value, count, threads)
        solved = time.perf_counter()
        names = name_clusters(ids, clusters)
        for block, part in enumerate(np.split(names, GRID**3)):
            np.save(self._names_path(block, solver), part)
        facts = {"edges": len(pairs), "read": read - started, "solve": solved - read}
        (self.folder / f"facts-{solver}-{threads}.json").write_text(json.dumps(facts))

    def _clusters(
        self,
        solver: str,
        nodes: int,
        pairs: NDArray[np.uint64],
        value: NDArray[np.float64],
        count: NDArray[np.float64],
        threads: int,
    ) -> np.ndarray:
        if solver == "bigseg":
            if self.objective is GASP:
                return contract_average(nodes, pairs, value, count, offset=GASP.offset, threads=threads).clusters
            return contract_mutex(nodes, pairs, value, threads=threads).clusters
        if self.objective is GASP:
            graph = bic.graph.UndirectedGraph.from_unique_edges(nodes, pairs)
            policy = bic.graph.agglomeration.GaspClusterPolicy(num_clusters_stop=1, linkage="mean")
            return np.asarray(policy.optimize(graph, GASP.offset + value / count, edge_sizes=count))
        joins = value > 0
        graph = bic.graph.UndirectedGraph.from_unique_edges(nodes, pairs[joins])
        return np.asarray(
            bic.graph.mutex_watershed.mutex_watershed_clustering(graph, value[joins], pairs[~joins], -value[~joins])
        )

    def facts(self, solver: str, threads: int) -> dict[str, float]:
        """What an in-core job noted."""
        return dict(json.loads((self.folder / f"facts-{solver}-{threads}.json").read_text()))

    def in_blocks(self, workers: int) -> list[Usage]:
        """Solve level by level; the usage of each, and of the composition."""
        rows = (range(first, first + GRID) for first in range(0, GRID**3, GRID))
        used = [run((partial(self.solve_leaves, row) for row in rows), workers)]
        for level in range(1, LEVELS + 1):
            places = itertools.product(range(GRID >> level), repeat=3)
            used.append(run((partial(self.solve_superblock, level, (z, y, x)) for z, y, x in places), workers))
        return [*used, run((partial(self.compose, layer) for layer in range(GRID)), workers)]

    def nodes_at(self, level: int) -> int:
        """Nodes that the superblocks of a level solved."""
        total = 0
        for z, y, x in itertools.product(range(GRID >> level), repeat=3):
            total += len(load(self._path("map", level, (z, y, x)), 1)[0])
        return total

    def same(self, first: str, second: str) -> bool:
        """Whether two solvers gave every supervoxel the same name."""
        return all(
            np.array_equal(np.load(self._names_path(b, first)), np.load(self._names_path(b, second)))
            for b in range(GRID**3)
        )

    def objects(self) -> int:
        """Number of objects: an object's name is one of its supervoxels, so each is counted in one block."""
        return sum(int((np.load(self._names_path(b, "blocks")) == self.volume.ids(b)).sum()) for b in range(GRID**3))


def measure(space: Workspace) -> dict[str, float | bool]:
    """All figures of one objective; prints them."""
    run((partial(space.write_graph, block) for block in range(GRID**3)), 2)
    incore = run([partial(space.solve_in_core, "bioimage_cpp", 1)])
    own = {threads: run([partial(space.solve_in_core, "bigseg", threads)]) for threads in (1, 2)}
    two = sum(space.in_blocks(2), Usage())
    levels = space.in_blocks(1)
    one = sum(levels, Usage())
    facts = space.facts("bioimage_cpp", 1)
    nodes = [space.nodes_at(level) for level in range(LEVELS + 1)]
    print(f"\n{space.objective.linkage}: {space.volume.nodes:,} nodes, {int(facts['edges']):,} edges, ", end="")
    print(f"{space.objects():,} objects; nodes at each level {', '.join(f'{n:,}' for n in nodes)}")
    print("| | CPU seconds | seconds solving | wall seconds | peak GB of a process |")
    print("|---|---|---|---|---|")
    for solver, threads, used in [("bioimage_cpp", 1, incore), *(("bigseg", n, used) for n, used in own.items())]:
        seconds = space.facts(solver, threads)["solve"]
        name = f"in core, {solver}, {threads} thread{'s'[: threads - 1]}"
        print(f"| {name} | {used.cpu:.1f} | {seconds:.1f} | {used.wall:.1f} | {used.peak_gb:.2f} |")
    for name, used in zip([*(f"level {n}" for n in range(LEVELS)), "root", "names"], levels, strict=True):
        print(f"| blocks, {name} | {used.cpu:.1f} | | {used.wall:.1f} | {used.peak_gb:.2f} |")
    print(f"| blocks, all | {one.cpu:.1f} | | {one.wall:.1f} | {one.peak_gb:.2f} |")
    print(f"| blocks, all, two processes | {two.cpu:.1f} | | {two.wall:.1f} | {two.peak_gb:.2f} |", flush=True)
    return {
        "identical": space.same("blocks", "bigseg"),
        "same_as_bioimage_cpp": space.same("blocks", "bioimage_cpp"),
        "n_edges": int(facts["edges"]),
        "peak_gb_job": round(one.peak_gb, 3),
        "peak_gb_incore": round(incore.peak_gb, 3),
        "cpu_ratio": round(one.cpu / incore.cpu, 3),
        "seconds_incore": round(facts["solve"], 2),
        "seconds_incore_bigseg": round(space.facts("bigseg", 1)["solve"], 2),
        "speedup_two_cores": round(one.wall / two.wall, 3),
        "speedup_two_threads_incore": round(space.facts("bigseg", 1)["solve"] / space.facts("bigseg", 2)["solve"], 3),
        "root_share": round(nodes[-1] / space.volume.nodes, 5),
    }


def main() -> None:
    """Measure both methods, print a table for each and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=4_000_000, help="about so many nodes")
    parser.add_argument("--quick", action="store_true", help="64,000 nodes")
    arguments = parser.parse_args()
    side = max(5, round(((64_000 if arguments.quick else arguments.nodes) / GRID**3) ** (1 / 3)))
    volume = Volume(side)
    started = time.perf_counter()
    contract_average(
        2, np.array([[0, 1]]), np.ones(1), np.ones(1)
    )  # compiled, or read from numba's cache, once for all
    contract_mutex(2, np.array([[0, 1]]), np.ones(1))
    compiled = time.perf_counter() - started
    bare = run([lambda: None]).peak_gb
    print(
        f"peak of a process that does nothing {bare:.2f} GB; first call of the kernel {compiled:.2f} s", file=sys.stderr
    )
    found = {}
    for name, objective in (("gasp", GASP), ("mutex", MUTEX)):
        with tempfile.TemporaryDirectory() as folder:
            found[name] = measure(Workspace(Path(folder), volume, objective))
    figures = {key: value for key, value in found["gasp"].items() if key not in ("identical", "same_as_bioimage_cpp")}
    print(
        json.dumps(
            {
                "gasp_identical": found["gasp"]["identical"],
                "mutex_identical": found["mutex"]["identical"],
                "gasp_same_as_bioimage_cpp": found["gasp"]["same_as_bioimage_cpp"],
                "mutex_same_as_bioimage_cpp": found["mutex"]["same_as_bioimage_cpp"],
                "n_nodes": volume.nodes,
                **figures,
                "peak_gb_bare": round(bare, 3),
                "mutex": {k: v for k, v in found["mutex"].items() if "identical" not in k and "same" not in k},
            }
        )
    )


if __name__ == "__main__":
    main()
