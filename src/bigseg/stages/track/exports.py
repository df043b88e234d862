"""The tracks in the formats of other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bigseg.errors import UserError
from bigseg.layout import MADE_AGAIN
from bigseg.resume.digest import digest_file, digest_json
from bigseg.stages.step import Need, Outcome, Parameters, WholeStep
from bigseg.stages.track.settings import VERSION

if TYPE_CHECKING:
    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record

GEFF = "tracks.geff"


class TrackExports(WholeStep):
    """Write the tracks as GEFF, for napari, and as a lineage of the Cell Tracking Challenge."""

    stage, step, version, per_time = "track", "exports", VERSION, False
    files = ("tracks.csv", "tracks.graph.json", "res_track.txt")

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """Nothing: all follows from the table."""
        return {}

    def needs(self, piece: int) -> list[Need]:
        """The table of tracks."""
        return [Need("track.table", [0])]

    def intact(self, piece: int, record: Record) -> bool:
        """Whether all files are there and hold what was written."""
        try:
            return self.rehash(piece, record) == record.digest
        except UserError:
            return False

    def process(self, piece: int) -> Outcome:
        """Write them from the table."""
        from bigseg.resume.files import replacing
        from bigseg.tracks.ctc import lineage_text
        from bigseg.tracks.geff import write_geff
        from bigseg.tracks.napari import write_napari
        from bigseg.tracks.table import lineage_of, read_tracks

        folder = self.layout.result_folder
        columns = read_tracks(self.layout.track_table)
        labels = os.path.relpath(self.layout.tracks().parent, folder / GEFF)
        write_geff(folder / GEFF, columns, labels, overwrite=True)
        write_napari(folder / "tracks.csv", columns, overwrite=True)
        with replacing(folder / "res_track.txt") as temporary:
            temporary.write_text(lineage_text(lineage_of(columns)), encoding="ascii")
        return Outcome(self._digest(), {"tracks": int(columns["track"].max(initial=0))})

    def rehash(self, piece: int, record: Record) -> str:
        """The bytes of all files."""
        return self._digest()

    def _digest(self) -> str:
        folder = self.layout.result_folder
        paths = [folder / name for name in self.files]
        paths += sorted(path for path in (folder / GEFF).rglob("*") if path.is_file())
        return digest_json({str(path.relative_to(folder)): _digest_of(path) for path in paths})


def _digest_of(path: Path) -> str:
    try:
        return digest_file(path)
    except OSError as error:
        raise UserError(f"{path}: is missing or cannot be read ({error.strerror})", MADE_AGAIN) from error
