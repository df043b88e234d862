"""Files of tracks: written, read back by others, and refused where they cannot be right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import typer
from ctc_metrics.scripts.validate import validate_sequence
from geff import GeffReader, validate_structure
from geff.validate.tracks import validate_lineages, validate_tracklets
from lineage_problems import truth_movie
from test_cli_evaluate import write_ome_zarr
from test_cli_evaluate_tracks import dense, table_of
from typer.testing import CliRunner

from bigseg.cli.export import export
from bigseg.errors import UserError
from bigseg.kernels.lineage import Lineage
from bigseg.planning.workflow import Workflow
from bigseg.tracks.ctc import check_lineage_file, lineage_text, read_lineage
from bigseg.tracks.table import check_tracks, lineage_of, read_tracks, tracks_beside, write_tracks
from bigseg.volumes.tables import write_table

LAPSE, LINEAGE = dense(*truth_movie(np.random.default_rng(12)))
LAPSE = np.repeat(LAPSE, 3, axis=1)
TABLE = table_of(LINEAGE, LAPSE)

app = typer.Typer()
app.command()(export)


def fails(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert isinstance(done.exception, UserError), done.exception
    assert done.exception.remedy
    return done.exception.problem


def succeeds(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.exception
    return done.stderr


@pytest.fixture
def result(tmp_path, monkeypatch) -> Path:
    """A result with tracks, in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_ome_zarr(Path("a.ome.zarr"), np.zeros(LAPSE.shape, np.uint8), "tzyx")
    write_ome_zarr(Path("a.ome.zarr/labels/tracks"), LAPSE, "tzyx")
    write_tracks(Path("a/tracks.parquet"), TABLE)
    return Path("a.ome.zarr")


def without(table: dict[str, np.ndarray], keep: np.ndarray) -> dict[str, np.ndarray]:
    return {name: column[keep] for name, column in table.items()}


# --- the table ---------------------------------------------------------------------------------------------------


def test_a_table_comes_back_as_it_was(tmp_path):
    path = tmp_path / "a" / "tracks.parquet"
    write_tracks(path, TABLE)
    found = read_tracks(path)
    assert list(found) == list(TABLE)
    for name, column in TABLE.items():
        np.testing.assert_array_equal(found[name], column)
        assert found[name].dtype == column.dtype
    np.testing.assert_array_equal(lineage_of(found).parent, LINEAGE.parent)
    assert tracks_beside(tmp_path / "a.ome.zarr") == path


def test_an_empty_table():
    check_tracks(without(TABLE, np.zeros(len(TABLE["time"]), bool)))


LAST = len(TABLE["time"]) - 1
CHILD = int(np.flatnonzero(TABLE["parent"])[0])


@pytest.mark.parametrize(
    ("name", "row", "value", "message"),
    [
        ("time", LAST, 0, "is not after the one before"),
        ("track", LAST, 10**6, "without a gap|start|end"),
        ("parent", CHILD, 0, "parent differs|generation"),
        ("generation", CHILD, 9, "generation"),
        ("start", LAST, 0, "start"),
        ("end", LAST, 99, "end"),
    ],
)
def test_rows_that_contradict_each_other(name, row, value, message, tmp_path):
    table = {key: column.copy() for key, column in TABLE.items()}
    table[name][row] = value
    with pytest.raises(ValueError, match=message):
        write_tracks(tmp_path / "t.parquet", table)
    assert not (tmp_path / "t.parquet").exists()
    write_table(tmp_path / "t.parquet", table)
    with pytest.raises(UserError, match="is no table of tracks"):
        read_tracks(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda t: {k: v for k, v in t.items() if k != "end"}, "no column end"),
        (lambda t: {**t, "time": t["time"].astype(np.int64)}, "column time is int64, not int32"),
        (lambda t: {**t, "extra": t["time"]}, "there is a column extra"),
        (lambda t: {**t, "x_um": t["x_um"][1:]}, "differ in length"),
    ],
)
def test_columns_that_are_none(changed, message):
    with pytest.raises(ValueError, match=message):
        check_tracks(changed(TABLE))


# --- Cell Tracking Challenge ---------------------------------------------------------------------------------------


def test_a_folder_of_the_challenge_is_valid_and_holds_the_tracks(result):
    assert f"{LINEAGE.number_of_tracks} tracks" in succeeds(str(result), "01_RES", "--format", "ctc")
    assert validate_sequence("01_RES", threads=1)["Valid"] == 1
    for t, labels in enumerate(LAPSE):
        mask = tifffile.imread(f"01_RES/mask{t:03d}.tif")
        assert mask.dtype == np.uint16
        np.testing.assert_array_equal(mask, labels)
    found = read_lineage(Path("01_RES/res_track.txt"))
    for name in ("track", "parent", "start", "end"):
        np.testing.assert_array_equal(getattr(found, name), getattr(LINEAGE, name))


def test_slabs_do_not_change_the_masks(result, monkeypatch):
    monkeypatch.setattr("bigseg.tracks.ctc._SLAB_VOXELS", 1)
    succeeds(str(result), "01_RES", "--format", "ctc")
    np.testing.assert_array_equal(tifffile.imread("01_RES/mask003.tif"), LAPSE[3])


def test_only_the_text(result):
    succeeds(str(result), "01_RES", "--format", "ctc", "--without-masks")
    assert [path.name for path in Path("01_RES").iterdir()] == ["res_track.txt"]


def test_what_the_challenge_has_no_place_for(result):
    seen = np.bincount(TABLE["track"])
    track = int(np.flatnonzero(seen > 2)[0])
    middle = np.flatnonzero(TABLE["track"] == track)[1]
    write_tracks(Path("a/tracks.parquet"), without(TABLE, np.arange(len(seen := TABLE["time"])) != middle))
    assert f"track {track} is at" in fails(str(result), "01_RES", "--format", "ctc")
    succeeds(str(result), "text", "--format", "ctc", "--without-masks")
    n = 65_536
    many = {name: np.zeros(n, column.dtype) for name, column in TABLE.items()}
    many["track"] = np.arange(1, n + 1, dtype=np.uint32)
    write_tracks(Path("a/tracks.parquet"), many)
    assert "tracks up to 65536, and the format holds labels up to 65535" in fails(
        str(result), "01_RES", "--format", "ctc"
    )
    write_tracks(Path("a/tracks.parquet"), without(many, many["track"] < 3))
    assert "and the table has 2 tracks" in fails(str(result), "01_RES", "--format", "ctc")
    assert not Path("01_RES").exists()
    assert not list(Path().glob(".*.tmp"))


def test_text_that_is_no_lineage(tmp_path):
    path = tmp_path / "t.txt"
    for text, message in (
        ("1 0 0\n", "line 1 is '1 0 0'"),
        ("\n1 0 0 x\n", "line 2 is '1 0 0 x'"),
        ("1 0 0 -1\n", "line 1 is"),
        ("2 0 5 0\n2 6 7 0\n", "track 2 occurs twice"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message) as error:
            read_lineage(path)
        assert str(path) in error.value.problem
    path.write_text("")
    assert read_lineage(path).number_of_tracks == 0
    check_lineage_file(path, "samples.a.truth_lineage")
    with pytest.raises(UserError, match=r"truth_lineage: .* cannot be read"):
        check_lineage_file(tmp_path / "absent.txt", "samples.a.truth_lineage")
    path.write_text(lineage_text(LINEAGE))
    assert read_lineage(path).mothers().tolist() == LINEAGE.mothers().tolist()


# --- GEFF ----------------------------------------------------------------------------------------------------------


def edges_of(table: dict[str, np.ndarray]) -> set[tuple[int, int]]:
    """By brute force: each row and the next of its track, or the first of a track that comes from it."""
    found = set()
    rows = list(zip(table["track"].tolist(), table["time"].tolist(), table["parent"].tolist(), strict=True))
    for n, (track, time, parent) in enumerate(rows):
        before = [m for m, (other, t, _) in enumerate(rows) if other == track and t < time]
        if not before:
            before = [m for m, (other, _, _) in enumerate(rows) if other == parent]
        if before:
            found.add((before[-1], n))
    return found


def test_geff_is_valid_and_holds_the_graph(result):
    succeeds(str(result), "tracks.geff", "--format", "geff")
    validate_structure("tracks.geff")
    reader = GeffReader("tracks.geff")
    reader.read_node_props()
    read = reader.build()
    metadata, nodes, edges = read["metadata"], read["node_ids"], read["edge_ids"]
    assert [(axis.name, axis.type, axis.unit) for axis in metadata.axes] == [
        ("t", "time", "frame"),
        ("z", "space", "micrometer"),
        ("y", "space", "micrometer"),
        ("x", "space", "micrometer"),
    ]
    assert {tuple(edge) for edge in edges.tolist()} == edges_of(TABLE)
    for name, column in (("t", "time"), ("x", "x_um"), ("track", "track"), ("object", "object")):
        np.testing.assert_array_equal(read["node_props"][name]["values"], TABLE[column])
    lineages = read["node_props"]["lineage"]["values"]
    assert validate_lineages(nodes, edges, lineages) == (True, [])
    if "tracklet" in metadata.track_node_props:
        assert validate_tracklets(nodes, edges, TABLE["track"]) == (True, [])
    (labels,) = metadata.related_objects
    assert (Path("tracks.geff") / labels.path).resolve() == (result / "labels" / "tracks").resolve()
    assert labels.node_prop == "track"


def test_a_track_is_a_tracklet_only_where_it_is_as_long_as_can_be(result):
    lineage = Lineage(*np.array([(1, 0, 0, 1), (2, 1, 2, 3), (3, 0, 0, 1), (4, 3, 2, 2), (5, 3, 2, 2)]).T)
    seen = [(t, i) for i, s, e in zip(lineage.track, lineage.start, lineage.end, strict=True) for t in range(s, e + 1)]
    lapse = np.zeros((4, 1, 1, 6), np.uint32)
    for t, i in seen:
        lapse[t, ..., i] = i
    write_tracks(Path("a/tracks.parquet"), table_of(lineage, lapse))
    succeeds(str(result), "one.geff", "--format", "geff")
    assert set(GeffReader("one.geff").metadata.track_node_props) == {"lineage"}
    other = Lineage(lineage.track, np.where(lineage.track == 2, 0, lineage.parent), lineage.start, lineage.end)
    write_tracks(Path("a/tracks.parquet"), table_of(other, lapse))
    succeeds(str(result), "two.geff", "--format", "geff")
    reader = GeffReader("two.geff")
    assert set(reader.metadata.track_node_props) == {"lineage", "tracklet"}
    read = reader.build()
    table = read_tracks(Path("a/tracks.parquet"))
    assert validate_tracklets(read["node_ids"], read["edge_ids"], table["track"]) == (True, [])


# --- napari --------------------------------------------------------------------------------------------------------


def test_napari_gets_positions_and_parents(result):
    succeeds(str(result), "tracks.csv", "--format", "napari")
    table = pd.read_csv("tracks.csv")
    assert list(table.columns) == ["track_id", "t", "z", "y", "x"]
    # What napari asks of the data of a layer of tracks: sorted by track, then by time, each once.
    order = np.lexsort((table["t"], table["track_id"]))
    np.testing.assert_array_equal(order, np.arange(len(table)))
    expected = np.lexsort((TABLE["time"], TABLE["track"]))
    for name, column in (("track_id", "track"), ("t", "time"), ("z", "z_um"), ("y", "y_um"), ("x", "x_um")):
        np.testing.assert_array_equal(table[name], TABLE[column][expected])
    graph = {int(child): parents for child, parents in json.loads(Path("tracks.graph.json").read_text()).items()}
    rows = zip(LINEAGE.track.tolist(), LINEAGE.parent.tolist(), strict=True)
    assert graph == {track: [parent] for track, parent in rows if parent}


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "name"), [("ctc", "01_RES"), ("geff", "t.geff"), ("napari", "t.csv")])
def test_what_is_there_stays_unless_it_may_be_replaced(result, form, name):
    arguments = (str(result), name, "--format", form)
    succeeds(*arguments)
    assert "exists already" in fails(*arguments)
    succeeds(*arguments, "--overwrite")
    if form != "napari":  # a folder of something else is never removed
        Path("mine").mkdir()
        Path("mine/thesis.txt").touch()
        assert "exists already" in fails(str(result), "mine", "--format", form, "--overwrite")
        assert Path("mine/thesis.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("t.geff", "--format", "geff", "--time", "1"), "--time: means nothing with --format geff"),
        (("t.csv", "--format", "napari", "--labels", "tracks"), "--labels: means nothing with --format napari"),
        (("t.tif", "--without-masks"), "--masks: means nothing with --format tiff"),
        (("t.txt", "--format", "napari"), "t.txt: is no name of a CSV file"),
    ],
)
def test_options_that_mean_nothing(result, arguments, message):
    assert message in fails(str(result), *arguments)


def test_a_result_without_tracks(result):
    Path("a/tracks.parquet").unlink()
    for form, name in (("ctc", "01_RES"), ("geff", "t.geff"), ("napari", "t.csv")):
        assert "a/tracks.parquet: does not exist" in fails(str(result), name, "--format", form)
        assert not Path(name).exists()


# --- in the configuration --------------------------------------------------------------------------------------------


def test_the_lineage_of_a_truth_is_looked_at_before_anything_runs(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", LAPSE.astype(np.uint8), imagej=True, metadata={"axes": "TZYX"})
    volume, lineage = {"path": str(tmp_path / "a.tif")}, tmp_path / "man_track.txt"

    def plan(**sample: object) -> list[str]:
        folders = {"results": str(tmp_path / "results"), "work": str(tmp_path / "work")}
        return Workflow({"samples": {"a": {"input": volume, **sample}}, **folders}, "test").steps("a")

    with pytest.raises(UserError, match=r"samples\.a\.truth_lineage: .* is not allowed without truth"):
        plan(truth_lineage=str(lineage))
    with pytest.raises(UserError, match=r"samples\.a\.truth_lineage: .*man_track\.txt cannot be read"):
        plan(truth=volume, truth_lineage=str(lineage))
    lineage.write_text("a table\n")
    with pytest.raises(UserError, match=r"man_track\.txt: line 1 is 'a table'"):
        plan(truth=volume, truth_lineage=str(lineage))
    lineage.write_text(lineage_text(LINEAGE))
    assert "evaluate.scores" in plan(truth=volume, truth_lineage=str(lineage))


@pytest.mark.parametrize(("form", "output"), [("ctc", "out"), ("geff", "out.geff"), ("napari", "out.csv")])
def test_tracks_of_an_earlier_run_are_not_exported(result, form, output):
    listed = result / "labels" / "zarr.json"
    listed.write_text(json.dumps({"attributes": {"ome": {"labels": ["segmentation", "tracks"]}}}))
    succeeds(str(result), output, "--format", form)
    listed.write_text(json.dumps({"attributes": {"ome": {"labels": ["segmentation"]}}}))
    assert "lists no tracks" in fails(str(result), output, "--format", form, "--overwrite")
