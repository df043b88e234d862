"""The steps that solve: one per level of superblocks, and the root."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache, cached_property
from typing import TYPE_CHECKING, ClassVar

from bigseg.geometry.box import triple
from bigseg.geometry.octree import Octree
from bigseg.resume.digest import digest_arrays
from bigseg.stages.partition.settings import MULTICUTS, VERSION, method_parameters, number_of_levels
from bigseg.stages.step import BlockStep, Need, Outcome, Parameters, WholeStep, digest_tables

if TYPE_CHECKING:
    from pathlib import Path

    from bigseg.config import Config
    from bigseg.geometry.box import Box
    from bigseg.geometry.grid import Grid
    from bigseg.kernels.superblock import Superblock
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record


class PartitionLevel(BlockStep):
    """Superblocks of one level: contract what is certain, leave the rest to the level above."""

    stage, version = "partition", VERSION
    passing = ("partition/*/level*",)
    level: ClassVar[int]

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The method; how many levels there are above makes no difference."""
        return method_parameters(config, plan)

    @property
    def grid(self) -> Grid:
        """The superblocks, one per piece; their boxes are of superblocks, not of voxels."""
        return self._tree.grid(self.level)

    def pieces_of(self, blocks: Collection[int], grid: Grid) -> list[int]:
        """The superblocks in which blocks lie."""
        return sorted({self._tree.ancestor(self.level, block) for block in blocks})

    def voxels(self, piece: int) -> int:
        """Nothing that a rate in voxels would describe."""
        return 0

    def describe(self, piece: int) -> str:
        """The superblock."""
        return f"time point {self.time}, superblock {piece} of level {self.level}"

    def needs_within(self, box: Box) -> list[Need]:
        """Of blocks the graph, of superblocks what the level below left; with context, also of the neighbours."""
        tree = self._tree
        if self.level == 0:
            blocks = tree.neighbourhood_within(0, box) if self._with_context else tree.below_within(0, box)
            lifted = [Need("partition.lifted", self._linked(box), tree.number(0))] if self._lifted else []
            return [Need("graph.blocks", blocks, tree.number(0)), *lifted]
        below = tree.children_within(self.level, box, around=int(self._with_context))
        return [Need(f"partition.level{self.level - 1}", below, tree.number(self.level - 1))]

    def empty_with(self, piece: int) -> list[Need]:
        """The graph of the block, or all superblocks that are joined."""
        if self.level == 0:
            return [Need("graph.blocks", [piece], self._tree.number(0))]
        below = self.level - 1
        return [Need(f"partition.level{below}", self._tree.children(self.level, piece), self._tree.number(below))]

    def tables(self, piece: int) -> list[Path]:
        """The map, what is left, and what neighbours see of it."""
        from bigseg.stages.partition.superblocks import table_paths

        return table_paths(self.layout, self.time, self.level, piece, with_rim=self._with_context)

    def process(self, piece: int) -> Outcome:
        """Solve a superblock and write its tables."""
        from bigseg.kernels.superblock import rim, solve
        from bigseg.stages.partition.settings import objective
        from bigseg.stages.partition.superblocks import write_superblock

        problem, around = self._problem(piece)
        what = objective(self.parameters)
        clusters, solved = solve(problem, what, around=around)
        visible = rim(solved, what.halo) if self._with_context else None
        digest = write_superblock(self.layout, self.time, self.level, piece, problem.nodes, clusters, solved, visible)
        objects = len(set(clusters.tolist())) - len(solved.nodes)
        return Outcome(digest, {"nodes": len(problem.nodes), "left": len(solved.nodes), "objects": objects})

    def rehash(self, piece: int, record: Record) -> str:
        """All tables, in the order in which they were written."""
        return digest_tables(self.tables(piece))

    def _problem(self, piece: int) -> tuple[Superblock, Superblock | None]:
        """The superblock's own graph, and with its neighbours'."""
        from bigseg.kernels.superblock import join
        from bigseg.stages.partition.problem import read_problem
        from bigseg.stages.partition.superblocks import read_rim, read_superblock

        tree = self._tree
        if self.level == 0:
            around = tree.neighbourhood(0, [piece])
            lifted = self._linked(tree.grid(0).box(piece)) if self._lifted else []
            own = read_problem(self.layout, self.time, self.parameters, [piece], tree.below(0, piece), lifted)
            if not self._with_context:
                return own, None
            return own, read_problem(self.layout, self.time, self.parameters, around, around, lifted)

        level = self.level - 1
        children = tree.children(self.level, piece)
        mine = [read_superblock(self.layout, self.time, level, index) for index in children]
        if not self._with_context:
            return join(mine), None
        others = [index for index in self._context(piece) if index not in children]
        return join(mine), join([*mine, *(read_rim(self.layout, self.time, level, index) for index in others)])

    @property
    def superblocks_read(self) -> int:
        """What a piece reads at most, in superblocks of its size: with context 3³ blocks, above the rims around it."""
        return 1 if not self._with_context else 27 if self.level == 0 else 2

    @property
    def _with_context(self) -> bool:
        """Whether what to contract depends on what lies around: no linkage that is solved exactly does."""
        return self.parameters["method"] in MULTICUTS

    @property
    def _lifted(self) -> bool:
        """Whether there are lifted edges."""
        return bool(self.parameters.get("lifted"))

    def _linked(self, box: Box) -> list[int]:
        """Blocks that own lifted edges of blocks, or of those around them: a pair is in the block of its smaller id."""
        return self._tree.neighbourhood_within(0, box) if self._with_context else self._tree.earlier_within(box)

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
    passing = ("partition/*/map.parquet", *PartitionLevel.passing)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The method, and what is below."""
        return {**method_parameters(config, plan), "levels": number_of_levels(config, plan)}

    def needs(self, piece: int) -> list[Need]:
        """The graph of all blocks, or all superblocks of the highest level."""
        levels, tree = self.parameters["levels"], self._tree
        steps = [f"partition.level{levels - 1}"] if levels else ["graph.blocks"]
        if not levels and self.parameters.get("lifted"):
            steps.append("partition.lifted")
        total = tree.number(levels - 1 if levels else 0)
        return [Need(step, range(total), total) for step in steps]

    def tables(self, piece: int) -> list[Path]:
        """The map."""
        from bigseg.stages.partition.superblocks import map_path

        return [map_path(self.layout, self.time)]

    def process(self, piece: int) -> Outcome:
        """Solve, and write the map from what is left to objects."""
        import numpy as np

        from bigseg.stages.partition.whole import solve_whole
        from bigseg.volumes.tables import write_table

        problem = self._problem()
        clusters = solve_whole(problem, self.parameters, self.machine.threads)
        (path,) = self.tables(piece)
        write_table(path, {"id": problem.nodes, "cluster": clusters})
        note = {"nodes": len(problem.nodes), "edges": len(problem.edges), "objects": len(np.unique(clusters))}
        return Outcome(digest_arrays(problem.nodes, clusters), note)

    def rehash(self, piece: int, record: Record) -> str:
        """The map."""
        return digest_tables(self.tables(piece))

    def _problem(self) -> Superblock:
        from bigseg.kernels.superblock import join
        from bigseg.stages.partition.problem import read_problem
        from bigseg.stages.partition.superblocks import read_superblock

        levels, tree = self.parameters["levels"], self._tree
        if levels == 0:
            blocks = range(tree.number(0))
            lifted = blocks if self.parameters.get("lifted") else ()
            return read_problem(self.layout, self.time, self.parameters, blocks, blocks, lifted)
        top = levels - 1
        return join([read_superblock(self.layout, self.time, top, index) for index in range(tree.number(top))])

    @cached_property
    def _tree(self) -> Octree:
        return Octree(triple(self.parameters["blocks_per_axis"]))
