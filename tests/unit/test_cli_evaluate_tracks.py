"""``bigseg evaluate`` on tracks: files of all kinds, what they are held to, and what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import typer
from lineage_problems import tally, truth_movie, with_parents, wrong_result
from pipeline_checks import DATA
from test_cli_evaluate import ArraySource, write_ome_zarr
from typer.testing import CliRunner

from bigseg.cli.evaluate import _MEANINGS, evaluate
from bigseg.errors import UserError
from bigseg.kernels.contingency import count_pairs
from bigseg.kernels.derived_lineage import LineageFinder, find_places
from bigseg.kernels.lineage import Lineage
from bigseg.kernels.scores import scores as segmentation_scores
from bigseg.kernels.tracking_scores import TrackingScores
from bigseg.labels.tracking import derive_lineage
from bigseg.tracks.ctc import lineage_text
from bigseg.tracks.table import write_tracks

FLUO = DATA / "timelapse" / "fluo_n2dh_sim_10f.h5"

TRUTH, TRUE_LINEAGE = truth_movie(np.random.default_rng(12))
RESULT, LINEAGE = wrong_result(np.random.default_rng(3), TRUTH, TRUE_LINEAGE)
EXPECTED = tally(RESULT, TRUTH).scores(LINEAGE, TRUE_LINEAGE)

app = typer.Typer()
app.command()(evaluate)


def run(*arguments: str) -> dict[str, float]:
    """The scores that the command prints as JSON."""
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.exception
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def tracking(found: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in found.items() if name in TrackingScores.__annotations__}


def table_of(lineage: Lineage, lapse: np.ndarray) -> dict[str, np.ndarray]:
    """A table of tracks, with the labels as they are; they have to be 1, 2, 3, …."""
    rows = [(t, int(label)) for t, labels in enumerate(lapse) for label in np.unique(labels[labels > 0])]
    time, track = np.array(rows, np.int64).T
    at = lineage.rows(track.astype(np.uint64))
    generation = np.zeros(lineage.number_of_tracks, int)
    for row in np.argsort(lineage.start, kind="stable"):
        if lineage.parent[row]:
            generation[row] = generation[lineage.rows(lineage.parent[row : row + 1])[0]] + 1
    zero = np.zeros(len(rows))
    return {
        "time": time.astype(np.int32),
        "object": track.astype(np.uint64) + np.uint64(2**32),
        "track": track.astype(np.uint32),
        "parent": lineage.parent[at].astype(np.uint32),
        "generation": generation[at].astype(np.uint16),
        "start": lineage.start[at].astype(np.int32),
        "end": lineage.end[at].astype(np.int32),
        "z_um": zero,
        "y_um": zero + 1.5,
        "x_um": track * 0.25,
        "volume_um3": zero + 7,
    }


def dense(lapse: np.ndarray, lineage: Lineage) -> tuple[np.ndarray, Lineage]:
    """The same with labels 1, 2, 3, …."""
    names = np.concatenate([[0], lineage.track]).astype(np.uint64)
    lapse = np.searchsorted(names, lapse).astype(np.uint32)
    parents = np.searchsorted(names, lineage.parent).astype(np.uint64)
    return lapse, Lineage(np.arange(1, len(names)), parents, lineage.start, lineage.end)


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    """Result and truth in many forms, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for folder, masks, text, lapse, lineage in (
        ("01_RES", "mask", "res_track.txt", RESULT, LINEAGE),
        ("TRA", "man_track", "man_track.txt", TRUTH, TRUE_LINEAGE),
    ):
        Path(folder).mkdir()
        for t, labels in enumerate(lapse):
            # A pile of planes, as 3D data of the challenge; each plane twice, which changes no ratio.
            tifffile.imwrite(f"{folder}/{masks}{t:03d}.tif", np.repeat(labels, 2, axis=0).astype(np.uint16))
        Path(folder, text).write_text(lineage_text(lineage))
    for name, lapse in (("result", RESULT), ("truth", TRUTH)):
        with h5py.File(f"{name}.h5", "w") as file:
            file["label"] = np.repeat(lapse, 2, axis=1)
    Path("lineage.txt").write_text(lineage_text(LINEAGE) + "\n")
    labels, lineage = dense(RESULT, LINEAGE)
    labels = np.repeat(labels, 2, axis=1)
    write_ome_zarr(Path("a.ome.zarr"), np.zeros(labels.shape, np.uint8), "tzyx")
    write_ome_zarr(Path("a.ome.zarr/labels/tracks"), labels, "tzyx")
    write_ome_zarr(Path("a.ome.zarr/labels/segmentation"), np.where(labels > 0, labels + 5, 0), "tzyx")
    write_tracks(Path("a/tracks.parquet"), table_of(lineage, labels))
    return tmp_path


OPTIONS = ("--result-axes", "tzyx", "--truth-axes", "tzyx")


@pytest.mark.parametrize(
    "arguments",
    [
        ("01_RES", "TRA"),
        ("01_RES", "truth.h5", "--truth-axes", "tzyx", "--truth-lineage", "TRA/man_track.txt"),
        ("result.h5", "TRA", "--result-axes", "tzyx", "--lineage", "lineage.txt"),
        ("result.h5", "TRA", "--result-axes", "tzyx", "--tracks", "--lineage", "lineage.txt"),
        ("a.ome.zarr", "TRA"),
        ("a.ome.zarr:labels/tracks", "TRA"),
        ("a.ome.zarr", "TRA", "--result-key", "labels/tracks"),
        ("result.h5", "truth.h5", *OPTIONS, "--lineage", "lineage.txt", "--truth-lineage", "TRA/man_track.txt"),
    ],
)
def test_tracks_of_all_kinds(files, arguments):
    found = run(*arguments)
    assert tracking(found) == pytest.approx(EXPECTED)
    assert list(tracking(found)) == list(EXPECTED)
    whole = segmentation_scores(*(count_pairs(r, t) for r, t in zip(RESULT, TRUTH, strict=True)))
    assert {name: found[name] for name in ("ap50", "sbd", "n_truth")} == pytest.approx(
        {name: whole[name] for name in ("ap50", "sbd", "n_truth")}
    )


def test_without_lineages_divisions_of_the_truth_are_found_and_none_of_the_result(files):
    finder = LineageFinder()
    for t, labels in enumerate(np.repeat(TRUTH, 2, axis=1)):
        before = np.repeat(TRUTH[max(t - 1, 0)], 2, axis=0)
        finder.add(t, find_places(labels, (0, 0, 0)), count_pairs(before, labels))
    derived = finder.lineage()
    assert len(derived.mothers()) > 0
    expected = tally(RESULT, TRUTH).scores(with_parents(RESULT, {}), derived)
    assert tracking(run("result.h5", "truth.h5", *OPTIONS, "--tracks")) == pytest.approx(expected)
    assert expected["n_divisions_result"] == 0


@pytest.mark.parametrize("block_shape", [(1, 1, 7), (2, 2, 45), (2, 1, 13)])
def test_blocks_and_threads_do_not_change_the_lineage(block_shape):
    source = ArraySource(np.repeat(TRUTH, 2, axis=1))
    one, other = derive_lineage(source), derive_lineage(source, block_shape=block_shape, threads=3)
    np.testing.assert_array_equal(one.parent, other.parent)
    np.testing.assert_array_equal(one.track, other.track)
    assert all(np.less_equal(box.shape, block_shape).all() for _, box in source.boxes[-5:])


def test_a_region_has_the_tracks_that_are_seen_in_it(files):
    found = tracking(run("01_RES", "TRA", "--roi", ":,:,3:17"))
    part, true_part = RESULT[..., 3:17], TRUTH[..., 3:17]

    def parents(lineage: Lineage) -> dict[int, int]:
        return dict(zip(lineage.track.tolist(), lineage.parent.tolist(), strict=True))

    expected = tally(part, true_part).scores(
        with_parents(part, parents(LINEAGE)), with_parents(true_part, parents(TRUE_LINEAGE))
    )
    assert found == pytest.approx(expected)
    assert found["n_tracks_truth"] < EXPECTED["n_tracks_truth"]


def test_without_tracks_only_objects_are_scored(files):
    assert tracking(run("result.h5", "truth.h5", *OPTIONS)) == {}
    assert tracking(run("01_RES", "TRA", "--time", "1")) == {}
    assert tracking(run("a.ome.zarr:labels/segmentation", "TRA")) == {}


def test_the_table_names_every_score(files):
    done = CliRunner().invoke(app, ["01_RES", "TRA"])
    assert done.exit_code == 0
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == list(_MEANINGS)


def test_real_nuclei_against_themselves():
    if not FLUO.exists():
        pytest.skip(f"{FLUO} is not there")
    spec = f"{FLUO}:track_ids"
    found = run(spec, spec, "--tracks", "--result-axes", "tyx", "--truth-axes", "tyx")
    assert (found["det"], found["seg"]) == (1, 1)
    assert (found["n_tracks_truth"], found["n_divisions_truth"], found["division_recall"]) == (27, 6, 0)
    # Twelve edges from mothers to daughters are missing, and the truth is worth 10 for a vertex, 1.5 for an edge.
    with h5py.File(FLUO) as file:
        vertices = sum(len(np.unique(labels)) - 1 for labels in file["track_ids"])
    edges = vertices - 27 + 12
    assert found["tra"] == pytest.approx(1 - 12 * 1.5 / (10 * vertices + 1.5 * edges))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("result.h5", "truth.h5", *OPTIONS, "--truth-lineage", "TRA/man_track.txt"), "RESULT holds no tracks"),
        (("result.h5", "TRA", "--result-axes", "tzyx", "--tracks", "--time", "1"), "--time names a single time point"),
        (("result.h5", "TRA", "--result-axes", "tzyx", "--lineage", "absent.txt"), "--lineage: absent.txt cannot be"),
        (("result.h5", "TRA", "--result-axes", "tzyx", "--lineage", "result.h5"), "is no text file"),
        (("result.h5", "TRA", "--result-axes", "tzyx", "--lineage", "words.txt"), "words.txt: line 2 is 'no numbers'"),
        (("result.h5", "TRA", "--result-axes", "tzyx", "--lineage", "loop.txt"), "loop.txt: track 1 starts at 0, but"),
        (("result.h5", "TRA", "--result-axes", "tzyx", "--lineage", "TRA/man_track.txt"), "not fit the labels of the"),
        (("01_RES", "TRA", "--truth-lineage", "lineage.txt"), "lineage.txt: does not fit the labels of the truth"),
        (("b.ome.zarr", "TRA"), "b/tracks.parquet: does not exist"),
    ],
)
def test_what_cannot_be_scored(files, arguments, message):
    Path("words.txt").write_text("1 0 0 0\nno numbers\n")
    Path("loop.txt").write_text("1 0 3 1\n")
    Path("a.ome.zarr").rename("b.ome.zarr")
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert isinstance(done.exception, UserError), done.exception
    assert message in done.exception.problem
    assert done.exception.remedy
    assert done.stdout == ""
