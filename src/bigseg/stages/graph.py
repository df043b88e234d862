"""Stage ``graph``: edges between supervoxels with their statistics, and the sizes of supervoxels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigseg.geometry.box import Box
from bigseg.geometry.grid import supervoxel_id_range
from bigseg.resume.digest import digest_arrays
from bigseg.stages.step import Need, Outcome, Parameters, Step, grid_parameters

if TYPE_CHECKING:
    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record


class GraphBlocks(Step):
    """The part of the region adjacency graph that a block owns."""

    stage, step, version = "graph", "blocks", 2

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The grid; there is nothing to choose."""
        return {**grid_parameters(plan), **config.graph.model_dump()}

    def needs(self, piece: int) -> list[Need]:
        """Supervoxels and boundary map of the block and one voxel beyond its upper faces."""
        blocks = self.grid.touching(self._outer(piece))
        total = self.grid.number_of_blocks
        return [Need("supervoxels.blocks", blocks, total), Need("predict.blocks", blocks, total)]

    def intact(self, piece: int, record: Record) -> bool:
        """Whether both tables are still there."""
        return all(self.layout.table("graph", name, self.time, piece).exists() for name in ("nodes", "edges"))

    def process(self, piece: int) -> Outcome:
        """Count contacts and voxels."""
        import numpy as np

        from bigseg.kernels.region_graph import block_edges
        from bigseg.volumes.image import read_boundary
        from bigseg.volumes.store import VolumeArray
        from bigseg.volumes.tables import write_table

        box, outer = self.grid.box(piece), self._outer(piece)
        labels = VolumeArray(self.layout.supervoxels, "tzyx").read(self.time, 0, outer)
        boundary = read_boundary(self.layout, self.time, outer)
        continues = VolumeArray(self.layout.continues, "tzyx").read(self.time, 0, outer)
        first = np.uint64(supervoxel_id_range(piece)[0])
        own = labels[box.inside(outer).slices]
        sizes = np.bincount(np.where(own > 0, own - first, 0).astype(np.int64).reshape(-1))[1:]
        nodes = {"id": first + np.arange(1, len(sizes) + 1, dtype=np.uint64), "size": sizes.astype(np.uint64)}
        table = block_edges(labels, boundary, continues, box.shape)
        edges = table.columns()
        write_table(self.layout.table("graph", "nodes", self.time, piece), nodes)
        write_table(self.layout.table("graph", "edges", self.time, piece), edges)
        return Outcome(
            digest_arrays(*nodes.values(), *edges.values()), {"supervoxels": len(sizes), "edges": len(table)}
        )

    def _outer(self, piece: int) -> Box:
        return self.grid.box(piece).grow((0, 0, 0), (1, 1, 1), self.grid.shape)
