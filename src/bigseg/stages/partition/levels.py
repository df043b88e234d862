"""The steps that solve: one per level of superblocks, and the root."""

from __future__ import annotations

import re
from functools import cache, cached_property
from typing import TYPE_CHECKING, ClassVar

from bigseg.geometry.box import triple
from bigseg.geometry.octree import Octree
from bigseg.resume.digest import digest_arrays
from bigseg.stages.partition.settings import method_parameters, number_of_levels
from bigseg.stages.step import Need, Outcome, Parameters, Step, WholeStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from bigseg.config import Config
    from bigseg.kernels.octree import Superblock
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record

VERSION = 4


class PartitionLevel(Step):
    """Superblocks of one level: contract what is certain, leave the rest to the level above."""

    stage, version = "partition", VERSION
    level: ClassVar[int]

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The method; how many levels there are above makes no difference."""
        return method_parameters(config, plan)

    @property
    def number_of_pieces(self) -> int:
        """One per superblock."""
        return self._tree.number(self.level)

    def voxels(self, piece: int) -> int:
        """Nothing that a rate in voxels would describe."""
        return 0

    def describe(self, piece: int) -> str:
        """The superblock."""
        return f"time point {self.time}, superblock {piece} of level {self.level}"

    def needs(self, piece: int) -> list[Need]:
        """Of blocks the graph, of superblocks what the level below left; with context, also of the neighbours."""
        tree = self._tree
        if self.level == 0:
            blocks = tree.neighbourhood(0, [piece]) if self._with_context else tree.below(0, piece)
            return [Need("graph.blocks", blocks, tree.number(0))]
        below = self._context(piece) if self._with_context else tree.children(self.level, piece)
        return [Need(f"partition.level{self.level - 1}", below, tree.number(self.level - 1))]

    def intact(self, piece: int, record: Record) -> bool:
        """Whether all tables are still there."""
        from bigseg.stages.partition.superblocks import table_paths

        return all(path.exists() for path in table_paths(self.layout, self.time, self.level, piece))

    def process(self, piece: int) -> Outcome:
        """Solve a superblock and write its tables."""
        from bigseg.kernels.octree import solve
        from bigseg.stages.partition.settings import objective
        from bigseg.stages.partition.superblocks import write_superblock

        problem, around = self._problem(piece)
        clusters, solved = solve(problem, objective(self.parameters), around=around)
        digest = write_superblock(self.layout, self.time, self.level, piece, problem.nodes, clusters, solved)
        objects = len(set(clusters.tolist())) - len(solved.nodes)
        return Outcome(digest, {"nodes": len(problem.nodes), "left": len(solved.nodes), "objects": objects})

    def _problem(self, piece: int) -> tuple[Superblock, Superblock | None]:
        """The superblock's own graph, and with its neighbours'."""
        from bigseg.kernels.octree import join
        from bigseg.stages.partition.problem import read_problem
        from bigseg.stages.partition.superblocks import read_superblock

        tree = self._tree
        if self.level == 0:
            own = read_problem(self.layout, self.time, self.parameters, [piece], tree.below(0, piece))
            if not self._with_context:
                return own, None
            near = tree.neighbourhood(0, [piece])
            return own, read_problem(self.layout, self.time, self.parameters, near, near)

        def joined(superblocks: Sequence[int]) -> Superblock:
            return join([read_superblock(self.layout, self.time, self.level - 1, index) for index in superblocks])

        own = joined(tree.children(self.level, piece))
        return own, joined(self._context(piece)) if self._with_context else None

    @property
    def superblocks_read(self) -> int:
        """What a piece reads at most, in superblocks of its size: with context 3³ blocks, above 4³ of its children."""
        return 1 if not self._with_context else 27 if self.level == 0 else 8

    @property
    def _with_context(self) -> bool:
        """Whether what to contract depends on what lies around: no linkage that is solved exactly does."""
        return bool(self.parameters["method"] == "multicut")

    def _context(self, piece: int) -> list[int]:
        """Children of a superblock, and the superblocks of their level around them."""
        return self._tree.neighbourhood(self.level - 1, self._tree.children(self.level, piece))

    @cached_property
    def _tree(self) -> Octree:
        return Octree(triple(self.parameters["blocks_per_axis"]))


@cache
def partition_level(level: int) -> type[PartitionLevel]:
    """The step of one level, named e.g. ``partition.level0``."""
    return type(f"PartitionLevel{level}", (PartitionLevel,), {"step": f"level{level}", "level": level})


def partition_level_named(name: str) -> type[PartitionLevel] | None:
    """The step with a name such as ``level0``, or None if it is no such name."""
    match = re.fullmatch(r"level(\d+)", name)
    return partition_level(int(match[1])) if match else None


class PartitionRoot(WholeStep):
    """Solve all that is left, or the whole graph of a volume without levels."""

    stage, step, version = "partition", "root", VERSION

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The method, and what is below."""
        return {**method_parameters(config, plan), "levels": number_of_levels(config, plan)}

    def needs(self, piece: int) -> list[Need]:
        """The graph of all blocks, or all superblocks of the highest level."""
        levels, tree = self.parameters["levels"], self._tree
        step, total = (
            (f"partition.level{levels - 1}", tree.number(levels - 1)) if levels else ("graph.blocks", tree.number(0))
        )
        return [Need(step, range(total), total)]

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the map is still there."""
        from bigseg.stages.partition.superblocks import map_path

        return map_path(self.layout, self.time).exists()

    def process(self, piece: int) -> Outcome:
        """Solve, and write the map from what is left to objects."""
        import numpy as np

        from bigseg.stages.partition.superblocks import map_path
        from bigseg.volumes.tables import write_table

        problem = self._problem()
        clusters = self._solve(problem)
        write_table(map_path(self.layout, self.time), {"id": problem.nodes, "cluster": clusters})
        note = {"nodes": len(problem.nodes), "edges": len(problem.edges), "objects": len(np.unique(clusters))}
        return Outcome(digest_arrays(problem.nodes, clusters), note)

    def _problem(self) -> Superblock:
        from bigseg.kernels.octree import join
        from bigseg.stages.partition.problem import read_problem
        from bigseg.stages.partition.superblocks import read_superblock

        levels, tree = self.parameters["levels"], self._tree
        if levels == 0:
            blocks = range(tree.number(0))
            return read_problem(self.layout, self.time, self.parameters, blocks, blocks)
        top = levels - 1
        return join([read_superblock(self.layout, self.time, top, index) for index in range(tree.number(top))])

    def _solve(self, problem: Superblock) -> np.ndarray:
        from bigseg.kernels.octree import solve
        from bigseg.stages.partition.settings import objective

        what = objective(self.parameters)
        if what.linkage == "sum":
            return self._solve_sum(problem)
        return solve(problem, what, self.threads)[0]

    def _solve_sum(self, problem: Superblock) -> np.ndarray:
        """The linkage that cannot be solved in blocks."""
        import numpy as np

        from bigseg.kernels.clusters import name_clusters
        from bigseg.kernels.signed_graph import contract_edges
        from bigseg.kernels.solvers import gasp

        nodes = problem.nodes
        edges = contract_edges(problem.edges, nodes, nodes, "sum")
        pairs = np.stack([np.searchsorted(nodes, edges.u), np.searchsorted(nodes, edges.v)], axis=1).astype(np.uint64)
        return name_clusters(nodes, gasp(len(nodes), pairs, edges.value, edges.count, "sum"))

    @cached_property
    def _tree(self) -> Octree:
        return Octree(triple(self.parameters["blocks_per_axis"]))
