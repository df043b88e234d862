"""The table of tracks, and which track each object of a time point is part of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigseg.geometry.movie import Seam, Window, seam_ranges, window_ranges
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


class TrackTable(WholeStep):
    """Put the windows together, follow the lineages, and write ``tracks.parquet``."""

    stage, step, version, per_time = "track", "table", VERSION, False
    files = (TRACKS,)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The method and the windows, or how the graph of all time points is partitioned."""
        settings = config.track
        if settings.method == "volume":
            rest: Parameters = {"blocks": plan.grid.number_of_blocks, "volume": settings.volume.model_dump()}
        else:
            rest = {"window": settings.window, "context": settings.joint.context if settings.method in NESTED else 1}
        return {**movie_parameters(plan), "method": settings.method, **rest}

    def needs(self, piece: int) -> list[Need]:
        """What was chosen everywhere, and where the detections are."""
        detections = [needs_detections(time) for time in self.parameters["times"]]
        if self.parameters["method"] == "volume":
            blocks, later = range(self.parameters["blocks"]), self.parameters["times"][1:]
            return [*detections, *(Need("track.overlaps", blocks, len(blocks), time=time) for time in later)]
        windows, seams = len(self._windows), len(self._seams)
        found = [*detections, Need("track.windows", range(windows), windows)]
        return [*found, Need("track.seams", range(seams), seams)] if seams else found

    def intact(self, piece: int, record: Record) -> bool:
        """Whether all tables are still there."""
        return all(path.exists() for path in self._paths)

    def process(self, piece: int) -> Outcome:
        """Write the table of tracks, and for each time point the track of each object."""
        from bigseg.stages.track.lineages import by_windows
        from bigseg.stages.track.space_time import by_volume
        from bigseg.tracks.table import write_tracks
        from bigseg.volumes.tables import write_table

        if self.parameters["method"] == "volume":
            tracks, names = by_volume(self.layout, self.parameters)
        else:
            tracks, names = by_windows(self.layout, self.parameters, self._windows, self._seams)
        table_path, *name_paths = self._paths
        write_tracks(table_path, tracks)
        for path, table in zip(name_paths, names, strict=True):
            write_table(path, table)
        columns = (column for table in (tracks, *names) for column in table.values())
        return Outcome(digest_arrays(*columns), {"tracks": int(tracks["track"].max(initial=0))})

    def rehash(self, piece: int, record: Record) -> str:
        """All tables."""
        return digest_tables(self._paths)

    @property
    def _paths(self) -> list[Path]:
        names = [self.layout.table("track", "names", time) for time in self.parameters["times"]]
        return [self.layout.track_table, *names]

    @property
    def _windows(self) -> list[Window]:
        return window_ranges(len(self.parameters["times"]), self.parameters["window"], 0)

    @property
    def _seams(self) -> list[Seam]:
        return seam_ranges(len(self.parameters["times"]), self.parameters["window"], self.parameters["context"])
