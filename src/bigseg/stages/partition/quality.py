"""How good a multicut is: its energy, a lower bound, and the energy of an in-core solve where the problem fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigseg.geometry.octree import Octree
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.resume.files import write_json
from bigseg.stages.partition.paths import needs_of_names
from bigseg.stages.partition.settings import VERSION, method_parameters, number_of_levels
from bigseg.stages.step import (
    BlockStep,
    Need,
    Outcome,
    Parameters,
    WholeStep,
    digest_tables,
    grid_parameters,
)
from bigseg.volumes.figures import holds_figures, read_figures

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from bigseg.config import Config
    from bigseg.geometry.box import Box
    from bigseg.kernels.signed_graph import SignedEdges
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record

IN_CORE_EDGES = 500_000
"""Edges up to which the whole problem is solved in core as well, to compare: some ten seconds and 0.3 GB."""


class PartitionEnergy(BlockStep):
    """The share of a block: what the partition pays for the edges that it owns, and what any partition has to."""

    stage, step, version = "partition", "energy", VERSION
    passing = ("partition/*/energy-*",)
    looked_up_by = ("levels",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The costs, and the octree by which objects are looked up."""
        levels = number_of_levels(config, plan)
        return {**grid_parameters(plan), **method_parameters(config, plan), "levels": levels}

    def needs_within(self, box: Box) -> list[Need]:
        """The edges that the block owns; of the partition only the objects at their ends."""
        total, tree = self.grid.number_of_blocks, Octree(self.grid.blocks_per_axis)
        blocks, places = self.grid.touching(box), self.grid.places(box)
        lifted = [Need("partition.lifted", blocks, total)] if self.parameters.get("lifted") else []
        around = places.grow((1, 1, 1), (1, 1, 1), self.grid.blocks_per_axis)
        names = needs_of_names(tree, self.parameters["levels"], around)
        return [Need("graph.blocks", blocks, total), *lifted, *names]

    def evidence(self, piece: int) -> str:
        """The objects at the ends of the edges."""
        return digest_arrays(*self._objects(self._edges(piece)))

    def empty_with(self, piece: int) -> list[Need]:
        """The block's graph, and with it its lifted edges."""
        return [Need("graph.blocks", [piece], self.grid.number_of_blocks)]

    def tables(self, piece: int) -> list[Path]:
        """The block's figures."""
        return [self.layout.table("partition", "energy", self.time, piece)]

    def process(self, piece: int) -> Outcome:
        """Add up costs and bound what the edges must cost: bounds of parts add up."""
        import numpy as np

        from bigseg.kernels.multicut import energy, lower_bound
        from bigseg.volumes.tables import write_table

        edges = self._edges(piece)
        ids, objects = self._objects(edges)
        pairs = edges.pairs(ids)
        figures = {
            "edges": np.array([len(edges)], np.uint64),
            "energy": np.array([energy(pairs, edges.value, np.unique(objects, return_inverse=True)[1])]),
            "lower_bound": np.array([lower_bound(len(ids), pairs, edges.value)]),
            "repulsion": np.array([edges.value[edges.value < 0].sum()]),
        }
        (path,) = self.tables(piece)
        write_table(path, figures)
        return Outcome(digest_arrays(*figures.values()))

    def rehash(self, piece: int, record: Record) -> str:
        """The table."""
        return digest_tables(self.tables(piece))

    def _edges(self, piece: int) -> SignedEdges:
        """What the block owns: contacts, and lifted edges."""
        from bigseg.kernels.signed_graph import concatenate
        from bigseg.stages.partition.problem import read_graph, read_lifted, signed_edges

        contacts = read_graph(self.layout, self.time, [piece], [piece]).contacts
        lifted = read_lifted(self.layout, self.time, [piece] if self.parameters.get("lifted") else [])
        return concatenate([signed_edges(contacts, self.parameters), *lifted])

    def _objects(self, edges: SignedEdges) -> tuple[np.ndarray, np.ndarray]:
        """Supervoxels at the ends, ascending, and the object of each."""
        import numpy as np

        from bigseg.stages.partition.superblocks import object_names

        ids = np.union1d(edges.u, edges.v)
        tree = Octree(self.grid.blocks_per_axis)
        return ids, object_names(self.layout, self.time, tree, self.parameters["levels"], ids)


class PartitionQuality(WholeStep):
    """Add up the blocks; write ``quality.json`` of the time point."""

    stage, step, version = "partition", "quality", VERSION

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The costs, and whether there were levels: if not, the solve was one in core."""
        return {**method_parameters(config, plan), "levels": number_of_levels(config, plan)}

    def needs(self, piece: int) -> list[Need]:
        """All blocks, and the graph for a solve in core."""
        total = Octree(self._blocks_per_axis).number(0)
        steps = ["partition.energy", "graph.blocks", *(["partition.lifted"] if self.parameters.get("lifted") else [])]
        return [Need(step, range(total), total) for step in steps]

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the figures are still what was written."""
        return holds_figures(self.layout.multicut_quality(self.time), record.digest)

    def rehash(self, piece: int, record: Record) -> str:
        """The figures."""
        return digest_json(read_figures(self.layout.multicut_quality(self.time)))

    def process(self, piece: int) -> Outcome:
        """Sum, and solve in core if the problem is small enough."""
        from math import fsum

        from bigseg.volumes.tables import read_table

        blocks = range(Octree(self._blocks_per_axis).number(0))
        tables = [read_table(self.layout.table("partition", "energy", self.time, block)) for block in blocks]
        figures = {
            name: fsum(float(table[name][0]) for table in tables) for name in ("energy", "lower_bound", "repulsion")
        }
        edges = sum(int(table["edges"][0]) for table in tables)
        in_core: float | None = None
        if not self.parameters["levels"]:
            in_core = figures["energy"]
        elif edges <= IN_CORE_EDGES:
            in_core = self._solve_in_core()
        found = {**figures, "edges": edges, "in_core_energy": in_core, "relative_gap": _gap(figures["energy"], in_core)}
        write_json(self.layout.multicut_quality(self.time), found)
        return Outcome(digest_json(found), found)

    def _solve_in_core(self) -> float:
        from bigseg.kernels.multicut import energy
        from bigseg.kernels.superblock import solve
        from bigseg.stages.partition.problem import read_problem
        from bigseg.stages.partition.settings import objective

        blocks = range(Octree(self._blocks_per_axis).number(0))
        lifted = blocks if self.parameters.get("lifted") else ()
        problem = read_problem(self.layout, self.time, self.parameters, blocks, blocks, lifted)
        clusters, _ = solve(problem, objective(self.parameters), self.machine.threads)
        return energy(problem.edges.pairs(problem.nodes), problem.edges.value, clusters)

    @property
    def _blocks_per_axis(self) -> tuple[int, int, int]:
        z, y, x = self.parameters["blocks_per_axis"]
        return (z, y, x)


def _gap(energy: float, in_core: float | None) -> float | None:
    """How much higher the energy is than that of the in-core solve, as a share of the latter; negative is better."""
    if in_core is None:
        return None
    return round((energy - in_core) / abs(in_core), 12) + 0.0 if in_core else 0.0  # -0.0 + 0.0 is 0.0
