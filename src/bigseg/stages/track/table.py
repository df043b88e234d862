"""The table of tracks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigseg.layout import TRACKS
from bigseg.resume.digest import digest_arrays
from bigseg.stages.step import Need, Outcome, Parameters, WholeStep, digest_tables
from bigseg.stages.track.detections import needs_detections
from bigseg.stages.track.settings import NESTED, VERSION, movie_parameters

if TYPE_CHECKING:
    from pathlib import Path

    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record
    from bigseg.volumes.tables import Table


class TrackTable(WholeStep):
    """Write ``tracks.parquet``; with method ``volume`` also find the tracks, of all time points at once."""

    stage, step, version, per_time = "track", "table", VERSION, False
    files = (TRACKS,)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The method, or how the graph of all time points is partitioned."""
        settings = config.track
        if settings.method != "volume":
            return {**movie_parameters(plan), "nested": settings.method in NESTED}
        volume = settings.volume.model_dump()
        size = {"blocks": plan.grid.number_of_blocks, "voxel_size_um": list(plan.voxel_size_um)}
        return {**movie_parameters(plan), **size, "volume": volume}

    def needs(self, piece: int) -> list[Need]:
        """The detections of all time points, and their tracks or what they share."""
        times = self.parameters["times"]
        detections = [needs_detections(time) for time in times]
        if "volume" not in self.parameters:
            return [*detections, *(Need("track.lineages", [0], time=time) for time in times)]
        blocks = range(self.parameters["blocks"])
        return [*detections, *(Need("track.overlaps", blocks, len(blocks), time=time) for time in times[1:])]

    def tables(self, piece: int) -> list[Path]:
        """The table of tracks, and with ``volume`` for each time point the track of each object."""
        times = self.parameters["times"] if "volume" in self.parameters else []
        return [self.layout.track_table, *(self.layout.table("track", "names", time) for time in times)]

    def process(self, piece: int) -> Outcome:
        """Write the table, and with ``volume`` for each time point the track of each object."""
        from bigseg.stages.track.space_time import by_volume
        from bigseg.tracks.table import write_tracks
        from bigseg.volumes.tables import write_table

        names: list[Table] = []
        if "volume" in self.parameters:
            tracks, names = by_volume(self.layout, self.parameters)
        else:
            tracks = self._tracks()
        table_path, *name_paths = self.tables(piece)
        write_tracks(table_path, tracks)
        for path, table in zip(name_paths, names, strict=True):
            write_table(path, table)
        columns = (column for table in (tracks, *names) for column in table.values())
        return Outcome(digest_arrays(*columns), {"tracks": int(tracks["track"].max(initial=0))})

    def rehash(self, piece: int, record: Record) -> str:
        """All tables."""
        return digest_tables(self.tables(piece))

    def _tracks(self) -> Table:
        """The rows of all time points."""
        from bigseg.stages.track.tables import read_traced, track_rows, tracks_table
        from bigseg.volumes.tables import read_table

        table = "candidates" if self.parameters["nested"] else "fragments"
        return tracks_table(
            [
                track_rows(time, read_table(self.layout.table("track", table, time)), read_traced(self.layout, time))
                for time in self.parameters["times"]
            ]
        )
