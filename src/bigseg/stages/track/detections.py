"""The objects of a time point, or the nested candidates among which objects are chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigseg.geometry.box import triple
from bigseg.resume.digest import digest_arrays
from bigseg.stages.step import Need, Outcome, Parameters, WholeStep, digest_tables, grid_parameters
from bigseg.stages.track.settings import NESTED, OF_FRAGMENTS, VERSION

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandas as pd

    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record


class TrackDetections(WholeStep):
    """Merge what the blocks tell about the objects of a time point; with ``joint`` also build the candidates."""

    stage, step, version = "track", "detections", VERSION

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The voxel size, and which clusters of objects are candidates."""
        return {
            **grid_parameters(plan),
            "voxel_size_um": list(plan.voxel_size_um),
            "contacts": config.track.method in OF_FRAGMENTS,
            "joint": config.track.joint.model_dump() if config.track.method in NESTED else None,
        }

    def needs(self, piece: int) -> list[Need]:
        """What all blocks tell."""
        blocks = range(self.grid.number_of_blocks)
        found = [Need("measure.blocks", blocks, len(blocks))]
        return [*found, Need("track.contacts", blocks, len(blocks))] if self.parameters["contacts"] else found

    def tables(self, piece: int) -> list[Path]:
        """The objects, their contacts, the candidates."""
        return [self.layout.table("track", name, self.time) for name in self._tables]

    def process(self, piece: int) -> Outcome:
        """Write the tables."""
        from bigseg.stages.track.nested import hierarchy_tables
        from bigseg.stages.track.tables import fragments_of
        from bigseg.volumes.tables import write_table

        z, y, x = self.parameters["voxel_size_um"]
        written = {"fragments": fragments_of(self._objects(), triple(self.parameters["shape"]), (z, y, x))}
        if self.parameters["contacts"]:
            written["contacts"] = self._contacts()
        if self.parameters["joint"]:
            written |= hierarchy_tables(written["fragments"], written["contacts"], self.parameters["joint"])
        for path, name in zip(self.tables(piece), self._tables, strict=True):
            write_table(path, written[name])
        digest = digest_arrays(*(column for name in self._tables for column in written[name].values()))
        return Outcome(digest, {name: len(next(iter(written[name].values()))) for name in self._tables})

    def rehash(self, piece: int, record: Record) -> str:
        """All tables."""
        return digest_tables(self.tables(piece))

    @property
    def _tables(self) -> list[str]:
        names = ["fragments"]
        names += ["contacts"] if self.parameters["contacts"] else []
        return names + (["candidates", "nesting"] if self.parameters["joint"] else [])

    def _objects(self) -> pd.DataFrame:
        import pandas as pd

        from bigseg.kernels.objects import merge_measurements, object_table
        from bigseg.volumes.tables import read_table

        tables = (self.layout.table("measure", "objects", self.time, b) for b in range(self.grid.number_of_blocks))
        z, y, x = self.parameters["voxel_size_um"]
        merged = merge_measurements([pd.DataFrame(read_table(path)) for path in tables])
        return object_table(merged, self.time, triple(self.parameters["shape"]), (z, y, x))

    def _contacts(self) -> dict[str, np.ndarray]:
        from bigseg.kernels.small_objects import Contacts, add_up_contacts
        from bigseg.volumes.tables import read_table

        tables = (self.layout.table("track", "contacts", self.time, b) for b in range(self.grid.number_of_blocks))
        return add_up_contacts([Contacts(**read_table(path)) for path in tables]).columns()


def needs_detections(time: int) -> Need:
    """The need for the detections of a time point."""
    return Need("track.detections", [0], time=time)
