"""Stage ``segment``: small objects merged on the tables, then the label volume written block by block."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from bigseg.geometry.grid import supervoxel_id_range
from bigseg.resume.digest import digest_arrays
from bigseg.stages.step import (
    Need,
    Outcome,
    Parameters,
    Step,
    WholeStep,
    all_stored,
    storage_parameters,
    zero_channels,
)

if TYPE_CHECKING:
    import numpy as np

    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record
    from bigseg.volumes.store import VolumeArray

VERSION = 1


class SegmentObjects(WholeStep):
    """Decide what becomes of each object of the partition."""

    stage, step, version = "segment", "objects", VERSION

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The minimum size."""
        return {"minimum_object_size": config.segment.minimum_object_size}

    def needs(self, piece: int) -> list[Need]:
        """The partition of the time point."""
        return [Need("partition.root", [0])]

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the table is still there."""
        return self.layout.table("segment", "map", self.time).exists()

    def process(self, piece: int) -> Outcome:
        """Write the map from objects of the partition to final objects."""
        import numpy as np

        from bigseg.kernels.region_graph import EdgeTable
        from bigseg.kernels.small_objects import merge_small
        from bigseg.volumes.tables import read_table, write_table

        nodes = read_table(self.layout.table("partition", "nodes", self.time))
        edges = EdgeTable(**read_table(self.layout.table("partition", "edges", self.time)))
        final = merge_small(nodes["id"], nodes["size"], edges, self.parameters["minimum_object_size"])
        write_table(self.layout.table("segment", "map", self.time), {"id": nodes["id"], "cluster": final})
        return Outcome(digest_arrays(nodes["id"], final), {"objects": len(np.unique(final))})


class SegmentBlocks(Step):
    """Write the labels of a block."""

    stage, step, version = "segment", "blocks", VERSION

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """How labels are stored; what they are comes from the tables."""
        return storage_parameters(plan)

    def needs(self, piece: int) -> list[Need]:
        """The block's supervoxels; of the tables only the rows of these supervoxels."""
        return [
            Need("supervoxels.blocks", [piece], self.grid.number_of_blocks),
            Need("partition.root", [0], in_key=False),
            Need("segment.objects", [0], in_key=False),
        ]

    def evidence(self, piece: int) -> str:
        """The final object of each supervoxel of the block."""
        return digest_arrays(self._names(piece))

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the shard is still there."""
        return all_stored(self, self._store, piece, record)

    def process(self, piece: int) -> Outcome:
        """Paint the supervoxels with their objects."""
        from bigseg.kernels.clusters import paint
        from bigseg.volumes.store import VolumeArray

        box = self.grid.box(piece)
        supervoxels = VolumeArray(self.layout.supervoxels, "tzyx").read(self.time, 0, box)
        labels = paint(supervoxels, self._names(piece))
        self._store.write(self.time, 0, box, labels)
        return Outcome(digest_arrays(labels), {"zeros": zero_channels([labels])})

    def _names(self, piece: int) -> np.ndarray:
        """Compose the tables for the supervoxels of one block; nothing of the whole volume is loaded."""
        import numpy as np

        from bigseg.kernels.clusters import look_up
        from bigseg.volumes.tables import read_range

        rows = read_range(self.layout.table("partition", "map", self.time), "id", *supervoxel_id_range(piece))
        objects, inverse = np.unique(rows["cluster"], return_inverse=True)
        if not len(objects):
            return objects.astype(np.uint64)
        table = read_range(self.layout.table("segment", "map", self.time), "id", int(objects[0]), int(objects[-1]) + 1)
        return look_up(objects, table["id"], table["cluster"])[inverse]

    @cached_property
    def _store(self) -> VolumeArray:
        """The array that is written, opened once per job."""
        from bigseg.volumes.image import stage_array

        return stage_array(self.layout, self.layout.labels(), self.parameters, self.time, "uint64", self.name)
