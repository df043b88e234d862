"""Stage ``segment``: small objects merged on the tables, then the label volume written block by block."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from bigseg.config.samples import owner
from bigseg.errors import UserError
from bigseg.geometry.octree import Octree
from bigseg.resume.digest import digest_arrays
from bigseg.stages.partition.paths import needs_of_names
from bigseg.stages.partition.settings import number_of_levels
from bigseg.stages.step import (
    BlockStep,
    Need,
    Outcome,
    Parameters,
    WholeStep,
    digest_tables,
    grid_parameters,
    storage_parameters,
)
from bigseg.volumes.signature import files_signature, time_files

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from bigseg.config import Config
    from bigseg.geometry.box import Box
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record
    from bigseg.volumes.source import Source
    from bigseg.volumes.store import VolumeArray

VERSION = 3


class SegmentContacts(BlockStep):
    """What a block tells about objects that may be too small: their voxels and their contacts."""

    stage, step, version = "segment", "contacts", VERSION
    passing = ("segment/*/sizes-*", "segment/*/contacts-*")
    looked_up_by = ("levels",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The octree, by which objects are looked up, and the minimum size."""
        return {
            **grid_parameters(plan),
            "levels": number_of_levels(config, plan),
            "minimum_object_size": config.segment.minimum_object_size,
        }

    def needs_within(self, box: Box) -> list[Need]:
        """The graph of the block; of the partition only the objects of its supervoxels and their neighbours."""
        outer = box.grow((0, 0, 0), (1, 1, 1), self.grid.shape)
        tree = Octree(self.grid.blocks_per_axis)
        return [
            Need("graph.blocks", self.grid.touching(box), self.grid.number_of_blocks),
            *needs_of_names(tree, self.parameters["levels"], self.grid.places(outer)),
        ]

    def evidence(self, piece: int) -> str:
        """The objects of the block and of what touches it."""
        return digest_arrays(*self._objects(piece))

    def empty_with(self, piece: int) -> list[Need]:
        """The block's graph."""
        return [Need("graph.blocks", [piece], self.grid.number_of_blocks)]

    def tables(self, piece: int) -> list[Path]:
        """Sizes and contacts."""
        return [self.layout.table("segment", name, self.time, piece) for name in ("sizes", "contacts")]

    def process(self, piece: int) -> Outcome:
        """Contract the block's graph to objects and keep what concerns small ones."""
        from bigseg.kernels.small_objects import Contacts, may_be_small
        from bigseg.volumes.tables import read_table, write_table

        nodes = read_table(self.layout.table("graph", "nodes", self.time, piece))
        edges = read_table(self.layout.table("graph", "edges", self.time, piece), ["u", "v", "count", "outside"])
        ids, objects = self._objects(piece)
        minimum = self.parameters["minimum_object_size"]
        found = may_be_small(nodes["id"], nodes["size"], Contacts(**edges), ids, objects, minimum)
        sizes = {"id": found.ids, "size": found.sizes}
        contacts = found.contacts.columns()
        for path, columns in zip(self.tables(piece), (sizes, contacts), strict=True):
            write_table(path, columns)
        return Outcome(digest_arrays(*sizes.values(), *contacts.values()))

    def rehash(self, piece: int, record: Record) -> str:
        """Both tables."""
        return digest_tables(self.tables(piece))

    def _objects(self, piece: int) -> tuple[np.ndarray, np.ndarray]:
        """Supervoxels of the block and those that touch it, ascending, and the object of each."""
        import numpy as np

        from bigseg.stages.partition.superblocks import object_names
        from bigseg.volumes.tables import read_table

        edges = read_table(self.layout.table("graph", "edges", self.time, piece), ["u", "v"])
        nodes = read_table(self.layout.table("graph", "nodes", self.time, piece), ["id"])
        ids = np.unique(np.concatenate([nodes["id"], edges["u"], edges["v"]]))
        tree = Octree(self.grid.blocks_per_axis)
        return ids, object_names(self.layout, self.time, tree, self.parameters["levels"], ids)


class SegmentObjects(WholeStep):
    """Decide which objects become part of others because they are too small."""

    stage, step, version = "segment", "objects", VERSION
    passing = ("segment/*/map.parquet",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The minimum size, and whether what is too small and alone is background."""
        return {
            "blocks": plan.grid.number_of_blocks,
            "minimum_object_size": config.segment.minimum_object_size,
            **({"remove_isolated": True} if config.segment.remove_isolated else {}),
        }

    def needs(self, piece: int) -> list[Need]:
        """What all blocks tell."""
        return [Need("segment.contacts", range(self.parameters["blocks"]), self.parameters["blocks"])]

    def tables(self, piece: int) -> list[Path]:
        """The map."""
        return [self.layout.table("segment", "map", self.time)]

    def process(self, piece: int) -> Outcome:
        """Write the map from objects that are renamed to what they become part of; 0 is the background."""
        import numpy as np

        from bigseg.kernels.small_objects import Contacts, add_up_contacts, merge_small, remove_small
        from bigseg.volumes.tables import read_table, write_table

        minimum, blocks = self.parameters["minimum_object_size"], range(self.parameters["blocks"])
        parts = [read_table(self.layout.table("segment", "sizes", self.time, block)) for block in blocks]
        contacts = add_up_contacts(
            [Contacts(**read_table(self.layout.table("segment", "contacts", self.time, block))) for block in blocks]
        )
        known, inverse = np.unique(np.concatenate([part["id"] for part in parts]), return_inverse=True)
        ids = np.unique(np.concatenate([known, contacts.u, contacts.v]))
        # No block tells the size of an object that is surely large enough.
        sizes = np.full(len(ids), minimum, np.uint64)
        voxels = np.bincount(inverse, np.concatenate([part["size"] for part in parts]), len(known))
        sizes[np.searchsorted(ids, known)] = voxels.astype(np.uint64)
        final = merge_small(ids, sizes, contacts, minimum)
        if self.parameters.get("remove_isolated"):
            final = remove_small(sizes, final, minimum)
        renamed = final != ids
        (path,) = self.tables(piece)
        write_table(path, {"id": ids[renamed], "cluster": final[renamed]})
        # An object is named by its smallest supervoxel, so each merger renames one.
        return Outcome(digest_arrays(ids[renamed], final[renamed]), {"merged": int(renamed.sum())})

    def rehash(self, piece: int, record: Record) -> str:
        """The map."""
        return digest_tables(self.tables(piece))


class SegmentBlocks(BlockStep):
    """Write the labels of a block: the objects of its supervoxels, or those of a segmentation that is given."""

    stage, step, version = "segment", "blocks", VERSION
    looked_up_by = ("levels", "owner")
    opens = ("_given",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """How labels are stored, and the octree; what the labels are comes from the tables, or where they are given."""
        if plan.sample.segmentation is not None:
            place = plan.sample.segmentation.place()
            return {**storage_parameters(plan), "segmentation": place, "owner": owner(plan.sample)}
        return {**storage_parameters(plan), "levels": number_of_levels(config, plan)}

    def needs_within(self, box: Box) -> list[Need]:
        """The block's supervoxels; of the tables only the rows of these supervoxels. A segmentation needs nothing."""
        if self._segmentation is not None:
            return []
        return [
            Need("supervoxels.blocks", self.grid.touching(box), self.grid.number_of_blocks),
            *needs_of_names(Octree(self.grid.blocks_per_axis), self.parameters["levels"], self.grid.places(box)),
            Need("segment.objects", [0], in_key=False),
        ]

    def evidence(self, piece: int) -> str:
        """The final object of each supervoxel of the block, or the state of the files of the segmentation."""
        if self._segmentation is not None:
            return self._signature
        return digest_arrays(self._names(piece))

    def empty_with(self, piece: int) -> list[Need]:
        """The block's supervoxels; nothing is known of labels that are given."""
        if self._segmentation is not None:
            return []
        return [Need("supervoxels.blocks", [piece], self.grid.number_of_blocks)]

    def arrays(self) -> list[tuple[VolumeArray, int]]:
        """The labels."""
        return [(self._store, 1)]

    def process(self, piece: int) -> Outcome:
        """Paint the supervoxels with their objects, or copy the labels that are given."""
        box = self.grid.box(piece)
        labels = self._painted(piece, box) if self._segmentation is None else self._copied(box)
        self._store.write(self.time, 0, box, labels)
        return Outcome(digest_arrays(labels), {} if labels.any() else {"empty": True})

    def rehash(self, piece: int, record: Record) -> str:
        """The labels."""
        from bigseg.volumes.store import VolumeArray

        store = VolumeArray(self.layout.labels(), "tzyx", self.grid.shape)
        return digest_arrays(store.read(self.time, 0, self.grid.box(piece)))

    def _painted(self, piece: int, box: Box) -> np.ndarray:
        """The objects of the supervoxels of a block."""
        from bigseg.kernels.clusters import paint
        from bigseg.volumes.store import VolumeArray

        supervoxels = VolumeArray(self.layout.supervoxels, "tzyx", self.grid.shape).read(self.time, 0, box)
        return paint(supervoxels, self._names(piece))

    def _copied(self, box: Box) -> np.ndarray:
        """The labels of a block that are given, with their ids.

        Raises:
            UserError: there is a negative label.
        """
        import numpy as np

        from bigseg.volumes.image import claim_result

        labels = self._given.read(self.time, 0, box)
        if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
            place = np.argwhere(labels < 0)[0] + np.array(box.begin)
            raise UserError(
                f"{self.parameters['segmentation']['path']}: holds the negative label {labels.min()}, the first at "
                f"(z, y, x) = {tuple(map(int, place))}",
                "labels are 0 (background) or more: correct the file",
            )
        claim_result(self.layout, self.parameters["owner"])
        return labels.astype(np.uint64)

    @property
    def _segmentation(self) -> Parameters | None:
        """Where the labels are, if they are given."""
        return self.place_of("segmentation")

    @cached_property
    def _signature(self) -> str:
        """The state of the files of the segmentation that hold the time point."""
        return files_signature(time_files(self.user_input("segmentation"), self.time))

    @cached_property
    def _given(self) -> Source:
        """The segmentation, opened once per job."""
        return self.open_user("segmentation")

    def _names(self, piece: int) -> np.ndarray:
        """Compose the tables for the supervoxels of one block; nothing of the whole volume is loaded."""
        from bigseg.stages.partition.superblocks import final_names
        from bigseg.volumes.tables import read_table

        ids = read_table(self.layout.table("graph", "nodes", self.time, piece), ["id"])["id"]
        return final_names(self.layout, self.time, Octree(self.grid.blocks_per_axis), self.parameters["levels"], ids)

    @cached_property
    def _store(self) -> VolumeArray:
        """The array that is written, opened once per job."""
        from bigseg.volumes.image import stage_array

        return stage_array(self.layout, self.layout.labels(), self.parameters, self.time, "uint64", self.name)
