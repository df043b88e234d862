"""Contacts of the objects of one time point, for methods that may join them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigseg.geometry.octree import Octree
from bigseg.resume.digest import digest_arrays
from bigseg.stages.partition.paths import needs_of_names
from bigseg.stages.partition.settings import number_of_levels
from bigseg.stages.step import BlockStep, Need, Outcome, Parameters, digest_tables, grid_parameters
from bigseg.stages.track.settings import VERSION

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from bigseg.config import Config
    from bigseg.geometry.box import Box
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record


class TrackContacts(BlockStep):
    """Contract the graph of a block to the objects of stage ``segment``."""

    stage, step, version = "track", "contacts", VERSION
    passing = ("track/*/contacts-*",)
    looked_up_by = ("levels",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The octree, by which objects are looked up."""
        return {**grid_parameters(plan), "levels": number_of_levels(config, plan)}

    def needs_within(self, box: Box) -> list[Need]:
        """The graph of the block; of the partition only the objects of its supervoxels and their neighbours."""
        outer = box.grow((0, 0, 0), (1, 1, 1), self.grid.shape)
        tree = Octree(self.grid.blocks_per_axis)
        return [
            Need("graph.blocks", self.grid.touching(box), self.grid.number_of_blocks),
            *needs_of_names(tree, self.parameters["levels"], self.grid.places(outer)),
            Need("segment.objects", [0], in_key=False),
        ]

    def evidence(self, piece: int) -> str:
        """The objects of the block and of what touches it."""
        return digest_arrays(*self._objects(piece))

    def empty_with(self, piece: int) -> list[Need]:
        """The block's graph."""
        return [Need("graph.blocks", [piece], self.grid.number_of_blocks)]

    def tables(self, piece: int) -> list[Path]:
        """The contacts."""
        return [self.layout.table("track", "contacts", self.time, piece)]

    def process(self, piece: int) -> Outcome:
        """Contract and write."""
        from bigseg.kernels.small_objects import Contacts, contract_contacts
        from bigseg.volumes.tables import read_table, write_table

        edges = read_table(self.layout.table("graph", "edges", self.time, piece), ["u", "v", "count", "outside"])
        columns = contract_contacts(Contacts(**edges), *self._objects(piece)).columns()
        (path,) = self.tables(piece)
        write_table(path, columns)
        return Outcome(digest_arrays(*columns.values()), {"contacts": len(columns["u"])})

    def rehash(self, piece: int, record: Record) -> str:
        """The table."""
        return digest_tables(self.tables(piece))

    def _objects(self, piece: int) -> tuple[np.ndarray, np.ndarray]:
        """Supervoxels of the block and those that touch it, ascending, and the object of each."""
        import numpy as np

        from bigseg.stages.partition.superblocks import final_names
        from bigseg.volumes.tables import read_table

        edges = read_table(self.layout.table("graph", "edges", self.time, piece), ["u", "v"])
        nodes = read_table(self.layout.table("graph", "nodes", self.time, piece), ["id"])
        ids = np.unique(np.concatenate([nodes["id"], edges["u"], edges["v"]]))
        tree = Octree(self.grid.blocks_per_axis)
        return ids, final_names(self.layout, self.time, tree, self.parameters["levels"], ids)
