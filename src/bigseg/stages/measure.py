"""Stage ``measure``: the table of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigseg.geometry.box import triple
from bigseg.resume.digest import digest_arrays
from bigseg.stages.step import (
    BlockStep,
    Need,
    Outcome,
    Parameters,
    WholeStep,
    digest_tables,
    grid_parameters,
    image_parameters,
)

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bigseg.config import Config
    from bigseg.geometry.box import Box
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record

VERSION = 2


class MeasureBlocks(BlockStep):
    """Sums over the voxels of each object in a block."""

    stage, step, version = "measure", "blocks", VERSION

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The channel whose intensity is measured."""
        return {**grid_parameters(plan), **image_parameters(config, plan), "channel": config.predict.channel}

    def needs_within(self, box: Box) -> list[Need]:
        """Labels and image of the block."""
        blocks, total = self.grid.touching(box), self.grid.number_of_blocks
        return [Need("segment.blocks", blocks, total), Need("ingest.blocks", blocks, total)]

    def empty_with(self, piece: int) -> list[Need]:
        """The block's labels."""
        return [Need("segment.blocks", [piece], self.grid.number_of_blocks)]

    def tables(self, piece: int) -> list[Path]:
        """The objects in the block."""
        return [self.layout.table("measure", "objects", self.time, piece)]

    def process(self, piece: int) -> Outcome:
        """Measure and write the block's table."""
        from bigseg.kernels.objects import measure_block
        from bigseg.volumes.image import open_image
        from bigseg.volumes.store import VolumeArray
        from bigseg.volumes.tables import write_table

        box = self.grid.box(piece)
        labels = VolumeArray(self.layout.labels(), "tzyx", self.grid.shape).read(self.time, 0, box)
        image = open_image(self.layout, self.parameters, self.grid.shape).read(
            self.time, self.parameters["channel"], box
        )
        columns = {str(name): column.to_numpy() for name, column in measure_block(labels, image, box.begin).items()}
        (path,) = self.tables(piece)
        write_table(path, columns)
        return Outcome(digest_arrays(*columns.values()), {"objects": len(columns["object"])})

    def rehash(self, piece: int, record: Record) -> str:
        """The table."""
        return digest_tables(self.tables(piece))


class MeasureTable(WholeStep):
    """Write ``objects.parquet``, one row per object and time point."""

    stage, step, version, per_time = "measure", "table", VERSION, False
    files = ("objects.parquet",)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """Time points and voxel size."""
        return {
            **grid_parameters(plan),
            "blocks": plan.grid.number_of_blocks,
            "times": list(plan.times),
            "voxel_size_um": list(plan.voxel_size_um),
        }

    def needs(self, piece: int) -> list[Need]:
        """All blocks of all time points."""
        blocks = self.parameters["blocks"]
        return [Need("measure.blocks", range(blocks), blocks, time=t) for t in self.parameters["times"]]

    def process(self, piece: int) -> Outcome:
        """Merge the tables of the blocks of each time point."""
        import pandas as pd

        from bigseg.volumes.tables import write_table

        table = pd.concat([self._time_point(time) for time in self.parameters["times"]], ignore_index=True)
        columns = {str(name): column.to_numpy() for name, column in table.items()}
        write_table(self.layout.result_folder / "objects.parquet", columns)
        return Outcome(digest_arrays(*columns.values()), {"objects": len(table)})

    def rehash(self, piece: int, record: Record) -> str:
        """The table."""
        return digest_tables([self.layout.result_folder / "objects.parquet"])

    def _time_point(self, time: int) -> pd.DataFrame:
        import pandas as pd

        from bigseg.kernels.objects import merge_measurements, object_table
        from bigseg.volumes.tables import read_table

        parts = [
            pd.DataFrame(read_table(self.layout.table("measure", "objects", time, block)))
            for block in range(self.parameters["blocks"])
        ]
        z, y, x = self.parameters["voxel_size_um"]
        return object_table(merge_measurements(parts), time, triple(self.parameters["shape"]), (z, y, x))
