"""The partition in an octree of superblocks against one in-core solve: equality, memory, time.

The tables of a synthetic region graph (:mod:`_synthetic_graph`) in 8 × 8 × 8 blocks are written as stage ``graph``
would write them; then the steps of stage ``partition`` run as they do in the workflow. A job is a batch of superblocks
in a process of its own, forked from one that has done the imports: its peak resident memory and CPU time are what the
system accounts to it, reading and writing included. The in-core solvers read the same tables in a process of their own.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import bioimage_cpp as bic
import numpy as np
from _multicut_gap import largest_gap
from _root_share import plot_root_shares
from _synthetic_graph import SyntheticGraph
from numpy.typing import NDArray

from bigseg.geometry.octree import Octree
from bigseg.kernels.agglomerate import contract_average, contract_linkage
from bigseg.kernels.clusters import name_clusters
from bigseg.kernels.multicut import lifted_multicut
from bigseg.kernels.region_graph import between_blocks
from bigseg.kernels.signed_graph import SignedEdges, concatenate
from bigseg.layout import Layout
from bigseg.stages.partition.levels import PartitionRoot, partition_level
from bigseg.stages.partition.problem import read_graph, signed_edges
from bigseg.stages.partition.superblocks import object_names
from bigseg.stages.step import Parameters, Step
from bigseg.volumes.tables import read_table, write_table

GRID = 8
"""Blocks along each axis of the large problem: three levels of superblocks (512, 64, 8) and the root."""

JOBS = 16
"""Jobs per level at most, so that each works for some seconds."""

BETA = 0.5
METHODS: dict[str, Parameters] = {
    "gasp": {"method": "gasp", "linkage": "mean", "beta": BETA},
    "mutex": {"method": "mutex_watershed", "beta": BETA, "lifted": True},
    "multicut": {"method": "multicut", "beta": BETA, "size_weight": 1.0},
}


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


@dataclass(frozen=True)
class Workspace:
    """The tables of one graph and one method in a folder."""

    folder: Path
    graph: SyntheticGraph
    method: str
    levels: int

    @property
    def layout(self) -> Layout:
        """Where the tables are."""
        return Layout(self.folder, self.folder, "graph")

    @property
    def tree(self) -> Octree:
        """The octree over the blocks."""
        return Octree((self.graph.grid,) * 3)

    @property
    def blocks(self) -> range:
        """All blocks."""
        return range(self.tree.number(0))

    @property
    def parameters(self) -> Parameters:
        """Those of the steps."""
        return {**METHODS[self.method], "blocks_per_axis": [self.graph.grid] * 3}

    def write_graph(self, blocks: range) -> None:
        """Job: tables of stage ``graph``, and of long-range edges for the mutex watershed."""
        for block in blocks:
            write_table(self.layout.table("graph", "nodes", 0, block), self.graph.nodes(block))
            contacts = self.graph.contacts(block)
            write_table(self.layout.table("graph", "edges", 0, block), contacts)
            write_table(self.layout.table("graph", "across", 0, block), between_blocks(contacts))
            if self.parameters.get("lifted"):
                lifted = self.graph.long_range(block, BETA)
                write_table(self.layout.table("partition", "lifted", 0, block), lifted)
                write_table(self.layout.table("partition", "lifted_across", 0, block), between_blocks(lifted))

    def process(self, step: Step, pieces: range) -> None:
        """Job: a batch of a step's pieces, one after the other."""
        for piece in pieces:
            step.process(piece)

    def level(self, level: int) -> Step:
        """The step of a level, or of the root."""
        if level == self.levels:
            return PartitionRoot({**self.parameters, "levels": self.levels}, self.layout, 0)
        return partition_level(level)(self.parameters, self.layout, 0)

    def compose(self, blocks: range) -> None:
        """Job: the object of each supervoxel, by the maps on each block's path to the root, as ``segment`` does it."""
        for block in blocks:
            ids = self.graph.nodes(block)["id"]
            np.save(self._names_path(block, "blocks"), object_names(self.layout, 0, self.tree, self.levels, ids))

    def in_blocks(self, workers: int) -> list[Usage]:
        """Solve level by level; the usage of each, and of the composition."""
        used = []
        for level in range(self.levels + 1):
            step = self.level(level)
            used.append(run((partial(self.process, step, batch) for batch in batches(step.number_of_pieces)), workers))
        return [*used, run((partial(self.compose, batch) for batch in batches(len(self.blocks))), workers)]

    def solve_in_core(self, solver: str, threads: int) -> None:
        """Job: everything at once, by bioimage_cpp or by bigseg's kernel."""
        started = time.perf_counter()
        ids, edges = self._whole()
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
        for block, part in enumerate(np.split(names, len(self.blocks))):
            np.save(self._names_path(block, solver), part)
        facts = {"edges": len(pairs), "read": read - started, "solve": solved - read}
        (self.folder / f"facts-{solver}-{threads}.json").write_text(json.dumps(facts))

    def _whole(self) -> tuple[NDArray[np.uint64], SignedEdges]:
        graph = read_graph(self.layout, 0, self.blocks, self.blocks)
        parts = [signed_edges(graph.contacts, self.parameters)]
        if self.parameters.get("lifted"):
            tables = (read_table(self.layout.table("partition", "lifted", 0, block)) for block in self.blocks)
            parts += [SignedEdges(**table) for table in tables]
        return graph.nodes, concatenate(parts)

    def _clusters(
        self,
        solver: str,
        nodes: int,
        pairs: NDArray[np.uint64],
        value: NDArray[np.float64],
        count: NDArray[np.float64],
        threads: int,
    ) -> np.ndarray:
        match solver, self.method:
            case "bigseg", "gasp":
                return contract_average(nodes, pairs, value, count, offset=1 - BETA, threads=threads).clusters
            case "bigseg", "mutex":
                return contract_linkage(nodes, pairs, value, linkage="abs_max", threads=threads).clusters
            case _, "gasp":
                graph = bic.graph.UndirectedGraph.from_unique_edges(nodes, pairs)
                policy = bic.graph.agglomeration.GaspClusterPolicy(num_clusters_stop=1, linkage="mean")
                return np.asarray(policy.optimize(graph, (1 - BETA) + value / count, edge_sizes=count))
            case _, "mutex":
                joins = value > 0
                graph = bic.graph.UndirectedGraph.from_unique_edges(nodes, pairs[joins])
                apart = pairs[~joins]
                solve = bic.graph.mutex_watershed.mutex_watershed_clustering
                return np.asarray(solve(graph, value[joins], apart, -value[~joins]))
            case _:
                return lifted_multicut(nodes, pairs, value, np.ones(len(value), np.bool_))

    def facts(self, solver: str, threads: int) -> dict[str, float]:
        """What an in-core job noted."""
        return dict(json.loads((self.folder / f"facts-{solver}-{threads}.json").read_text()))

    def nodes_at(self, level: int) -> int:
        """Nodes that the superblocks of a level, or the root, solved."""
        kind, index = ("map", None) if level == self.levels else (f"level{level}-map", 0)
        count = 1 if index is None else self.tree.number(level)
        paths = [self.layout.table("partition", kind, 0, index if index is None else i) for i in range(count)]
        return sum(len(read_table(path, ["id"])["id"]) for path in paths)

    def same(self, first: str, second: str) -> bool:
        """Whether two solvers gave every supervoxel the same name."""
        return all(np.array_equal(self.names(block, first), self.names(block, second)) for block in self.blocks)

    def names(self, block: int, solver: str) -> NDArray[np.uint64]:
        """The object of each supervoxel of a block."""
        return np.asarray(np.load(self._names_path(block, solver)))

    def objects(self) -> int:
        """Number of objects: an object's name is one of its supervoxels, so each is counted in one block."""
        return sum(int((self.names(b, "blocks") == self.graph.nodes(b)["id"]).sum()) for b in self.blocks)

    def energy(self, solver: str) -> float:
        """Sum of the costs of the cut edges of a multicut."""
        ids, edges = self._whole()
        names = np.concatenate([self.names(block, solver) for block in self.blocks])
        cut = names[np.searchsorted(ids, edges.u)] != names[np.searchsorted(ids, edges.v)]
        return float(edges.value[cut].sum())

    def _names_path(self, block: int, solver: str) -> Path:
        return self.folder / f"names-{solver}-{block}.npy"


def batches(pieces: int) -> list[range]:
    """Runs of pieces, one for each job."""
    cuts = [pieces * i // min(JOBS, pieces) for i in range(min(JOBS, pieces) + 1)]
    return [range(a, b) for a, b in itertools.pairwise(cuts)]


def write_graph(space: Workspace) -> None:
    """Make the tables."""
    run((partial(space.write_graph, batch) for batch in batches(len(space.blocks))), 2)


def measure(space: Workspace) -> dict[str, float | bool]:
    """All figures of one method; prints them."""
    write_graph(space)
    own_threads = () if space.method == "multicut" else (1, 2)
    # The library's Kernighan-Lin takes minutes where costs say little, and can end above its start: no reference.
    reference = "bigseg" if space.method == "multicut" else "bioimage_cpp"
    incore = run([partial(space.solve_in_core, reference, 1)])
    own = {threads: run([partial(space.solve_in_core, "bigseg", threads)]) for threads in own_threads}
    two = sum(space.in_blocks(2), Usage())
    levels = space.in_blocks(1)
    one = sum(levels, Usage())
    facts = space.facts(reference, 1)
    nodes = [space.nodes_at(level) for level in range(space.levels + 1)]
    print(f"\n{space.method}: {space.graph.number_of_nodes:,} nodes, {int(facts['edges']):,} edges, ", end="")
    print(f"{space.objects():,} objects; nodes at each level {', '.join(f'{n:,}' for n in nodes)}")
    print("| | CPU seconds | seconds solving | wall seconds | peak GB of a process |")
    print("|---|---|---|---|---|")
    for solver, threads, used in [(reference, 1, incore), *(("bigseg", n, used) for n, used in own.items())]:
        seconds = space.facts(solver, threads)["solve"]
        name = f"in core, {solver}, {threads} thread{'s'[: threads - 1]}"
        print(f"| {name} | {used.cpu:.1f} | {seconds:.1f} | {used.wall:.1f} | {used.peak_gb:.2f} |")
    for name, used in zip([*(f"level {n}" for n in range(space.levels)), "root", "names"], levels, strict=True):
        print(f"| blocks, {name} | {used.cpu:.1f} | | {used.wall:.1f} | {used.peak_gb:.2f} |")
    print(f"| blocks, all | {one.cpu:.1f} | | {one.wall:.1f} | {one.peak_gb:.2f} |")
    print(f"| blocks, all, two processes | {two.cpu:.1f} | | {two.wall:.1f} | {two.peak_gb:.2f} |", flush=True)
    found: dict[str, float | bool] = {
        "n_edges": int(facts["edges"]),
        "peak_gb_job": round(one.peak_gb, 3),
        "peak_gb_incore": round(incore.peak_gb, 3),
        "cpu_ratio": round(one.cpu / incore.cpu, 3),
        "seconds_incore": round(facts["solve"], 2),
        "speedup_two_cores": round(one.wall / two.wall, 3),
        "root_share": round(nodes[-1] / space.graph.number_of_nodes, 5),
    }
    if space.method == "multicut":
        energies = [space.energy(solver) for solver in ("blocks", reference)]
        print(f"energy in blocks {energies[0]:.6g}, in core {energies[1]:.6g}")
        return {**found, "gap": round((energies[0] - energies[1]) / abs(energies[1]), 6)}
    own_seconds = [space.facts("bigseg", threads)["solve"] for threads in own_threads]
    return {
        **found,
        "identical": space.same("blocks", "bigseg"),
        "same_as_bioimage_cpp": space.same("blocks", "bioimage_cpp"),
        "seconds_incore_bigseg": round(own_seconds[0], 2),
        "speedup_two_threads_incore": round(own_seconds[0] / own_seconds[1], 3),
    }


def root_shares(side: int, methods: Iterable[str]) -> dict[str, list[float]]:
    """Share of the nodes that is left to the root, of 1, 8, 64 and 512 blocks of one shape."""
    found: dict[str, list[float]] = {}
    for method in methods:
        for levels in range(4):
            with tempfile.TemporaryDirectory() as folder:
                space = Workspace(Path(folder), SyntheticGraph(side, 1 << levels), method, levels)
                write_graph(space)
                space.in_blocks(2)
                found.setdefault(method, []).append(space.nodes_at(levels) / space.graph.number_of_nodes)
    return found


def main() -> None:
    """Measure the methods, print a table for each and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=4_100_000, help="about so many nodes")
    parser.add_argument("--multicut-nodes", type=int, default=1_000_000, help="the same for the multicut")
    parser.add_argument("--quick", action="store_true", help="64,000 nodes")
    parser.add_argument("--methods", default="gasp,mutex,multicut", help="some of them, separated by commas")
    parser.add_argument("--plot", type=Path, help="draw the share of the root into this PNG")
    arguments = parser.parse_args()
    methods = arguments.methods.split(",")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:  # imports and compiles, or reads numba's cache, once for all jobs
        for method in methods:
            warm = Workspace(Path(folder, method), SyntheticGraph(2, 2), method, levels=1)
            warm.write_graph(warm.blocks)
            for level in range(2):
                warm.process(warm.level(level), range(warm.level(level).number_of_pieces))
            warm.compose(warm.blocks)
            for solver in ("bioimage_cpp", "bigseg"):
                warm.solve_in_core(solver, 1)
    compiled = time.perf_counter() - started
    bare = run([lambda: None]).peak_gb
    print(f"peak of a process that does nothing {bare:.2f} GB; first call of everything {compiled:.1f} s", flush=True)
    found, graphs = {}, {}
    for method in methods:
        nodes = arguments.multicut_nodes if method == "multicut" else arguments.nodes
        side = max(5, round(((64_000 if arguments.quick else nodes) / GRID**3) ** (1 / 3)))
        graphs[method] = SyntheticGraph(side, GRID)
        with tempfile.TemporaryDirectory() as folder:
            found[method] = measure(Workspace(Path(folder), graphs[method], method, levels=3))
    if arguments.plot:
        side = 5 if arguments.quick else 12
        plot_root_shares(root_shares(side, methods), side, arguments.plot)
    figures: dict[str, object] = {"peak_gb_bare": round(bare, 3)}
    for method in ("gasp", "mutex"):
        if method in found:
            for key in ("identical", "same_as_bioimage_cpp"):
                figures[f"{method}_{key}"] = found[method].pop(key)
    if "gasp" in found:
        figures |= {"n_nodes": graphs["gasp"].number_of_nodes, **found["gasp"]}
    if "multicut" in found:
        hard = largest_gap(12 if arguments.quick else 30)
        figures["multicut_gap_max"] = round(max(found["multicut"]["gap"], hard), 6)
    for method in ("mutex", "multicut"):
        if method in found:
            figures[method] = {"n_nodes": graphs[method].number_of_nodes, **found[method]}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
