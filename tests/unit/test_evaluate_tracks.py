"""The steps of stage ``evaluate`` that score tracks, against scoring in one piece."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from lineage_problems import seen_in, tally, truth_movie, wrong_result
from test_cli_evaluate_tracks import dense, table_of
from test_derived_lineage import derive

from bigseg.config import Config
from bigseg.errors import UserError
from bigseg.geometry.grid import Grid
from bigseg.kernels.lineage import Lineage, restrict
from bigseg.layout import Layout
from bigseg.resume.ledger import Record
from bigseg.stages.evaluate.tracks import EvaluateTrackOverlaps, EvaluateTracks
from bigseg.tracks.ctc import lineage_text
from bigseg.tracks.table import write_tracks
from bigseg.volumes.image import stage_array

TRUTH, TRUE_LINEAGE = truth_movie(np.random.default_rng(4))
RESULT, LINEAGE = dense(*wrong_result(np.random.default_rng(3), TRUTH, TRUE_LINEAGE))
RESULT, TRUTH = (np.pad(lapse, ((0, 0), (0, 1), (0, 2), (0, 3)), mode="edge") for lapse in (RESULT, TRUTH))
SHAPE = TRUTH.shape[1:]


class Movie:
    """A result with its truth, and the steps that score it."""

    def __init__(self, folder: Path, block_shape: tuple[int, int, int], times: list[int], lineage: Path | None) -> None:
        tifffile.imwrite(folder / "truth.tif", TRUTH.astype(np.uint16), imagej=True, metadata={"axes": "TZYX"})
        self.layout = Layout(folder / "results", folder / "work", "a")
        grid = Grid(SHAPE, block_shape)
        parameters = {"shape": SHAPE, "block_shape": block_shape, "chunk_shape": block_shape}
        for t in times:
            array = stage_array(self.layout, self.layout.tracks(), parameters, t, "uint32", "track.blocks")
            for index in range(grid.number_of_blocks):
                box = grid.box(index)
                array.write(t, 0, box, RESULT[t][box.slices].astype(np.uint32))
        write_tracks(self.layout.result_folder / "tracks.parquet", table_of(LINEAGE, RESULT))
        truth = {"path": str(folder / "truth.tif")}
        sample = {"input": truth, "truth": truth, "truth_lineage": str(lineage) if lineage else None}
        self.config = Config.model_validate({"samples": {"a": sample}})
        self.plan = SimpleNamespace(
            grid=grid, sample=self.config.samples["a"], times=tuple(times), voxel_size_um=(1.0, 1.0, 1.0)
        )
        self.pieces = range(grid.number_of_blocks)

    def overlaps(self, time: int) -> EvaluateTrackOverlaps:
        return EvaluateTrackOverlaps(EvaluateTrackOverlaps.resolve(self.config, self.plan), self.layout, time)

    def whole(self) -> EvaluateTracks:
        return EvaluateTracks(EvaluateTracks.resolve(self.config, self.plan), self.layout, 0)

    def scores(self) -> dict[str, float]:
        """All pieces, and what is written in the end; what is stored is hashed as it was written."""
        steps = [(self.overlaps(time), piece) for time in self.plan.times for piece in self.pieces]
        for step, piece in [*steps, (self.whole(), 0)]:
            done = step.process(piece)
            record = Record(piece, "key", done.digest, done.note)
            assert step.intact(piece, record)
            assert step.rehash(piece, record) == done.digest
            step.close()
        return json.loads((self.layout.result_folder / "tracking_scores.json").read_text())["tracking"]


def expected(times: list[int], lineage: Lineage) -> dict[str, float]:
    result, truth = RESULT[times], TRUTH[times]
    return dict(tally(result, truth).scores(restrict(LINEAGE, seen_in(result)), restrict(lineage, seen_in(truth))))


@pytest.mark.parametrize("block_shape", [(1, 2, 16), (2, 4, 48), (1, 4, 13)])
@pytest.mark.parametrize("times", [list(range(len(TRUTH))), [1, 2, 4]])
def test_scores_with_divisions_found_in_the_labels(tmp_path, block_shape, times):
    found = Movie(tmp_path, block_shape, times, None).scores()
    assert found == pytest.approx(expected(times, derive(TRUTH[times])))
    assert found["n_divisions_truth"] > 0


def test_scores_with_a_lineage(tmp_path):
    lineage = tmp_path / "man_track.txt"
    lineage.write_text(lineage_text(TRUE_LINEAGE))
    times = list(range(len(TRUTH)))
    movie = Movie(tmp_path, (2, 4, 16), times, lineage)
    assert movie.scores() == pytest.approx(expected(times, TRUE_LINEAGE))
    folder = movie.layout.folder / "evaluate" / "t0001"
    assert {path.name.split("-")[0] for path in folder.iterdir()} == {"track_pairs"}


def test_what_a_key_holds(tmp_path):
    """The truth of the time point and of the one before; the content of the lineage; never the list of time points."""
    movie = Movie(tmp_path, (2, 4, 16), [0, 1, 2], None)
    first, third = movie.overlaps(0).evidence(0), movie.overlaps(2).evidence(0)
    fewer = Movie(tmp_path, (2, 4, 16), [0, 2], None)
    assert fewer.overlaps(0).evidence(0) == first
    assert fewer.overlaps(2).evidence(0) != third
    assert "times" not in movie.overlaps(0).dependence
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    for path in (one, other):
        path.write_text(lineage_text(TRUE_LINEAGE))
    steps = [Movie(tmp_path, (2, 4, 16), [0, 1], path).whole() for path in (one, other)]
    assert steps[0].evidence(0) == steps[1].evidence(0)
    assert steps[0].dependence == steps[1].dependence
    other.write_text("1 0 0 0\n")
    assert steps[0].evidence(0) != steps[1].evidence(0)


def test_needs(tmp_path):
    movie = Movie(tmp_path, (2, 4, 16), [0, 2], None)
    (need,) = movie.overlaps(2).needs(1)
    assert (need.step, list(need.pieces), need.time) == ("track.blocks", [1], None)
    needs = movie.whole().needs(0)
    assert [(n.step, len(n.pieces), n.time) for n in needs] == [
        ("evaluate.track_overlaps", len(movie.pieces), 0),
        ("evaluate.track_overlaps", len(movie.pieces), 2),
        ("track.table", 1, None),
    ]


def test_a_lineage_of_another_truth_is_refused(tmp_path):
    lineage = tmp_path / "man_track.txt"
    lineage.write_text("1 0 0 0\n")
    movie = Movie(tmp_path, (2, 4, 48), [0, 1], lineage)
    with pytest.raises(
        UserError, match=r"man_track.txt: does not fit the labels of the truth: the lineage has no track"
    ):
        movie.scores()
    assert not movie.layout.tracking_scores.exists()
