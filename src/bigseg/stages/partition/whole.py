"""Solve a whole graph in one piece: what the root does, and ``bigseg sweep`` for each set of parameters."""

from __future__ import annotations

import numpy as np

from bigseg.geometry.box import Triple
from bigseg.geometry.grid import LOCAL_ID_BITS
from bigseg.kernels.agglomerate import LINKAGES
from bigseg.kernels.climb import climb
from bigseg.kernels.clusters import name_clusters
from bigseg.kernels.signed_graph import Ids, contract_edges
from bigseg.kernels.solvers import gasp
from bigseg.kernels.superblock import Superblock, solve
from bigseg.stages.partition.settings import objective
from bigseg.stages.step import Parameters


def solve_whole(problem: Superblock, parameters: Parameters, threads: int = 1) -> Ids:
    """The object of each node, named by its smallest supervoxel.

    Args:
        problem: a graph without edges to anything else.
        parameters: of a step of the partition.
        threads: worker threads, which make no difference to the result.
    """
    what = objective(parameters)
    if what.linkage == "sum":  # the linkage that cannot be solved in blocks
        nodes = problem.nodes
        edges = contract_edges(problem.edges, nodes, nodes, "sum")
        return name_clusters(nodes, gasp(len(nodes), edges.pairs(nodes), edges.value, edges.count, "sum"))
    return solve(problem, what, threads)[0]


def solve_as_levels(problem: Superblock, parameters: Parameters, blocks_per_axis: Triple, levels: int) -> Ids:
    """What the levels and the root find together, in memory; arguments and result are those of :func:`solve_whole`.

    Args:
        problem: a whole graph.
        parameters: of a step of the partition.
        blocks_per_axis: number of blocks along (z, y, x).
        levels: levels of superblocks below the root.
    """
    what = objective(parameters)
    if not levels or what.linkage in LINKAGES:  # these are solved in blocks with the result of one solve
        return solve_whole(problem, parameters)
    blocks = (problem.nodes >> np.uint64(LOCAL_ID_BITS)).astype(np.int64)
    return climb(problem.nodes, problem.edges, blocks, blocks_per_axis, levels, what).names
