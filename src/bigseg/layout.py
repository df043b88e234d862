"""Where the files of a sample lie; the steps name those in the result folder that they declare."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SCORES, SEAMS, PROVENANCE, TRACKS = "scores.json", "seams.json", "provenance.json", "tracks.parquet"
TRACKING_SCORES, LINEAGES = "tracking_scores.json", "lineages.png"
"""Files in the folder of a sample's results."""
TRACKS_KEY = "labels/tracks"
"""Label image of a result in which an object has the same label at all time points."""


def time_name(time: int) -> str:
    """The name of a time point in paths: ``t0003``."""
    return f"t{time:04d}"


def _when(time: int | None) -> str:
    return "all" if time is None else time_name(time)


MADE_AGAIN = "run `bigseg verify --fix`, which finds all that is damaged, then snakemake, which makes just that again"
"""What a user does about something in the work or results folder that is not what was written."""


@dataclass(frozen=True)
class Layout:
    """The folders of one sample."""

    results: Path
    work: Path
    sample: str

    @property
    def result(self) -> Path:
        """The OME-Zarr of image and labels."""
        return self.results / f"{self.sample}.ome.zarr"

    @property
    def result_folder(self) -> Path:
        """Tables, scores and report beside the OME-Zarr."""
        return self.results / self.sample

    @property
    def scores(self) -> Path:
        """Scores against the truth."""
        return self.result_folder / SCORES

    @property
    def tracking_scores(self) -> Path:
        """Scores of the tracks against those of the truth."""
        return self.result_folder / TRACKING_SCORES

    @property
    def seams(self) -> Path:
        """What lies on block faces."""
        return self.result_folder / SEAMS

    @property
    def provenance(self) -> Path:
        """What the result was made from, and with what."""
        return self.result_folder / PROVENANCE

    @property
    def track_table(self) -> Path:
        """The table of tracks."""
        return self.result_folder / TRACKS

    @property
    def folder(self) -> Path:
        """Intermediates of the sample."""
        return self.work / self.sample

    def image(self, level: int = 0) -> Path:
        """Image array of a pyramid level, (t, c, z, y, x)."""
        return self.result / str(level)

    def labels(self, level: int = 0) -> Path:
        """Label array of a pyramid level, (t, z, y, x) uint64."""
        return self.result / "labels" / "segmentation" / str(level)

    def tracks(self, level: int = 0) -> Path:
        """Track array of a pyramid level, (t, z, y, x) uint32."""
        return self.result / TRACKS_KEY / str(level)

    @property
    def boundary_map(self) -> Path:
        """Boundary map of stage ``predict``, (t, z, y, x) uint8 or float16."""
        return self.folder / "predict.zarr" / "boundary"

    @property
    def foreground_map(self) -> Path:
        """Foreground map of a network, (t, z, y, x) uint8 or float16."""
        return self.folder / "predict.zarr" / "foreground"

    @property
    def affinity_maps(self) -> Path:
        """Affinities of a network, (t, c, z, y, x) uint8 or float16; their offsets are in predict's parameters."""
        return self.folder / "predict.zarr" / "affinities"

    def foreground_threshold(self, time: int) -> Path:
        """The threshold of the foreground that was found for one time point."""
        return self.folder / "supervoxels" / time_name(time) / "threshold.json"

    @property
    def model(self) -> Path:
        """What was found out about the network."""
        return self.folder / "model.json"

    @property
    def supervoxels(self) -> Path:
        """Supervoxels, (t, z, y, x) uint64."""
        return self.folder / "supervoxels.zarr" / "labels"

    @property
    def continues(self) -> Path:
        """Where supervoxels go on beyond a face of their block, (t, z, y, x) uint8."""
        return self.folder / "supervoxels.zarr" / "continues"

    def lock(self, path: Path) -> Path:
        """The file that is locked while an array is made."""
        return self.folder / "locks" / ("-".join(path.parts[-3:]) + ".lock")

    def table(self, stage: str, name: str, time: int | None, piece: int | None = None) -> Path:
        """A Parquet table of a stage, of one piece or of a whole time point; ``time`` None is over all of them."""
        suffix = "" if piece is None else f"-{piece:06d}"
        return self.folder / stage / _when(time) / f"{name}{suffix}.parquet"

    def multicut_quality(self, time: int) -> Path:
        """Energy of a multicut and what it is compared with."""
        return self.folder / "partition" / time_name(time) / "quality.json"

    def drift(self, time: int) -> Path:
        """Motion of the whole from the time point before to this one."""
        return self.folder / "track" / time_name(time) / "drift.json"

    def statistics(self, time: int) -> Path:
        """Global intensity statistics of one time point."""
        return self.folder / "ingest" / time_name(time) / "statistics.json"

    @property
    def cleaned(self) -> Path:
        """Markers and ledgers of intermediates that `bigseg clean` removed, laid out like those that count."""
        return self.folder / "cleaned"

    def pieces_lock(self, stage: str, time: int | None, step: str) -> Path:
        """The file of which each piece of a step locks a byte while a job works on it."""
        return self.folder / "locks" / f"{stage}-{_when(time)}-{step}.lock"

    @property
    def run_lock(self) -> Path:
        """The file that whoever changes the sample's intermediates locks: a run, ``bigseg clean``, …."""
        return self.folder / "locks" / "run.lock"

    def status(self, stage: str) -> Path:
        """Folder with the markers of a stage, one folder per time point."""
        return self.folder / "status" / stage

    def marker(self, stage: str, time: int | None, unit: str) -> Path:
        """The marker of one job; ``time`` is None for jobs over all time points."""
        return self._job("status", stage, time, unit, ".json")

    def ledger(self, stage: str, time: int | None, unit: str) -> Path:
        """The ledger of one job."""
        return self._job("ledger", stage, time, unit, ".jsonl")

    def attempt(self, stage: str, time: int | None, unit: str) -> Path:
        """How the last attempt at a job ended, if not well."""
        return self._job("attempts", stage, time, unit, ".json")

    def _job(self, kind: str, stage: str, time: int | None, unit: str, suffix: str) -> Path:
        return self.folder / kind / stage / _when(time) / f"{unit}{suffix}"
