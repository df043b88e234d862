"""``labels/tracks``: labels whose ids are the same at all time points."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from bigseg.resume.digest import digest_arrays
from bigseg.stages.step import BlockStep, Need, Outcome, Parameters, storage_parameters
from bigseg.stages.track.settings import VERSION

if TYPE_CHECKING:
    import numpy as np

    from bigseg.config import Config
    from bigseg.geometry.box import Box
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record
    from bigseg.volumes.store import VolumeArray


class TrackBlocks(BlockStep):
    """Paint the objects of a block with their tracks."""

    stage, step, version = "track", "blocks", VERSION
    looked_up_by = ("named_by",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """How they are stored, and which step names them; what they are comes from the table of names."""
        named_by = "track.table" if config.track.method == "volume" else "track.lineages"
        return {**storage_parameters(plan), "named_by": named_by}

    def needs_within(self, box: Box) -> list[Need]:
        """The block's labels; of the table only the tracks of the objects in the block."""
        blocks, total = self.grid.touching(box), self.grid.number_of_blocks
        return [
            Need("segment.blocks", blocks, total),
            Need("measure.blocks", blocks, total, in_key=False),
            Need(self.parameters["named_by"], [0], in_key=False),
        ]

    def evidence(self, piece: int) -> str:
        """The objects of the block and the track of each."""
        return digest_arrays(*self._names(piece))

    def empty_with(self, piece: int) -> list[Need]:
        """The block's labels."""
        return [Need("segment.blocks", [piece], self.grid.number_of_blocks)]

    def arrays(self) -> list[tuple[VolumeArray, int]]:
        """The tracks."""
        return [(self._store, 1)]

    def process(self, piece: int) -> Outcome:
        """Read the labels, rename, write."""
        from bigseg.kernels.objects import rename
        from bigseg.volumes.store import VolumeArray

        box = self.grid.box(piece)
        labels = VolumeArray(self.layout.labels(), "tzyx", self.grid.shape).read(self.time, 0, box)
        tracks = rename(labels, *self._names(piece))
        self._store.write(self.time, 0, box, tracks)
        return Outcome(digest_arrays(tracks))

    def rehash(self, piece: int, record: Record) -> str:
        """The tracks."""
        from bigseg.volumes.store import VolumeArray

        store = VolumeArray(self.layout.tracks(), "tzyx", self.grid.shape)
        return digest_arrays(store.read(self.time, 0, self.grid.box(piece)))

    def _names(self, piece: int) -> tuple[np.ndarray, np.ndarray]:
        """Objects of the block, ascending, and the track of each, 0 for none."""
        import numpy as np

        from bigseg.kernels.clusters import look_up
        from bigseg.volumes.tables import read_range, read_table

        ids = read_table(self.layout.table("measure", "objects", self.time, piece), ["object"])["object"]
        if not len(ids):
            return ids, np.zeros(0, np.uint32)
        table = read_range(self.layout.table("track", "names", self.time), "id", int(ids.min()), int(ids.max()) + 1)
        return ids, look_up(ids, table["id"], table["track"])

    @cached_property
    def _store(self) -> VolumeArray:
        """The array that is written, opened once per job."""
        from bigseg.volumes.image import stage_array

        return stage_array(self.layout, self.layout.tracks(), self.parameters, self.time, "uint32", self.name)
