"""The command line: help, version, status, export, evaluate, and how mistakes end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from pipeline_checks import Settings, changed, labels, layout, run, scores, settings

import bigseg
from bigseg.cli import main
from bigseg.runner import StoppedError
from bigseg.volumes.tiff_export import export_labels

COMMANDS = ["init", "plan", "status", "evaluate", "seams", "sweep", "export", "train", "run"]


@pytest.fixture(scope="module")
def finished(cells, tmp_path_factory) -> Settings:
    """Two time points, with a configuration file."""
    folder = tmp_path_factory.mktemp("finished")
    with h5py.File(folder / "cells.h5", "w") as file:
        file["raw"], file["label"] = cells.image[:2], cells.truth[:2]
    place = {"path": str(folder / "cells.h5"), "axes": "tzyx", "voxel_size_um": [0.5, 0.25, 0.2]}
    sample = {"input": {**place, "key": "raw"}, "truth": {**place, "key": "label"}}
    config = settings(folder, sample, blocks={"block_shape": [24, 32, 64]}, execution={"batches": 2})
    (folder / "config.yaml").write_text(json.dumps(config))
    run(config)
    return config


def folder_of(config: Settings) -> Path:
    return Path(config["results"]).parent


# Help, version, imports


def test_help_names_every_command(cli):
    status, out, err = cli("--help")
    assert (status, err) == (0, "")
    for name in COMMANDS:
        assert f"  {name} " in out
    assert "snakemake" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_explains_every_option(cli, command):
    status, out, err = cli(command, "--help")
    assert (status, err) == (0, "")
    assert "Usage: bigseg " + command in out
    lines = out.splitlines()
    assert len(lines[lines.index("Options:") :]) > 1
    assert lines[2].strip(), "a sentence that says what the command does"


def test_version(cli):
    assert cli("--version") == (0, f"{bigseg.__version__}\n", "")


def test_no_command_shows_the_help(cli):
    status, out, err = cli()
    assert status != 0
    assert "Usage: bigseg" in out + err


def test_the_installed_command_and_the_module_are_the_same(command, tmp_path):
    for call in (["bigseg"], [sys.executable, "-m", "bigseg"]):
        done = command(tmp_path, *call, "--version")
        assert (done.status, done.output) == (0, f"{bigseg.__version__}\n")


def test_importing_the_command_line_imports_no_library_of_arrays_or_workflows():
    code = "import sys, bigseg.cli; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )
    heavy = {"torch", "dask", "snakemake", "zarr", "numpy", "pandas", "scipy", "h5py", "tifffile", "pydantic", "yaml"}
    assert loaded & heavy == set()
    assert "bigseg" in loaded


# Mistakes


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--config", "none.yaml"],
        ["status", "--config", "broken.yaml", "--json"],
        ["export", "none.ome.zarr", "out.tif"],
        ["evaluate", "none.h5:label", "none.tif", "--json"],
        ["seams", "none.ome.zarr"],
        ["init", "folder", "--input", "none.tif"],
        ["run", "nonsense.blocks", "--sample", "a", "--parameters", "{}"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_mistake_is_told_on_standard_error_only_and_gives_status_2(cli, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.yaml").write_text("samples: [")
    status, out, err = cli(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("bigseg: ")
    assert "\n  Remedy: " in err
    assert "Traceback" not in err
    assert {path.name for path in tmp_path.iterdir()} <= {"broken.yaml", "work"}


def test_a_bug_shows_its_traceback(monkeypatch):
    """What is no mistake of the user's must not be hidden."""
    monkeypatch.setattr("bigseg.volumes.tiff_export.export_labels", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["bigseg", "export", "a", "b"])
    with pytest.raises(ZeroDivisionError):
        main()


# Status


def test_status_before_halfway_and_after(cli, cells, tmp_path):
    config = settings(
        tmp_path,
        {"input": {"path": str(cells.folder / "image_t0.tif")}},
        blocks={"block_shape": [24, 32, 32]},
        execution={"batches": 3},
    )
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(config))

    def counts() -> dict[str, dict[str, dict[str, int]]]:
        status, out, _ = cli("status", "--config", path, "--json")
        assert status == 0
        assert out.count("\n") == 1
        found = json.loads(out)["a"]
        for times in found.values():
            for count in times.values():
                assert count.pop("to_do") == count["jobs"] - count["done"]
                assert [count.pop(state) for state in ("cleaned", "failed", "running")] == [0, 0, 0]
        return found

    before = counts()
    assert list(before) == [
        "ingest",
        "predict",
        "supervoxels",
        "graph",
        "partition",
        "segment",
        "measure",
        "pyramid",
        "seams",
        "report",
    ]
    assert before["ingest"] == {"t0000": {"done": 0, "jobs": 4}}
    assert before["measure"] == {"t0000": {"done": 0, "jobs": 3}, "all": {"done": 0, "jobs": 1}}
    run(config, ("ingest", "predict"))
    halfway = counts()
    assert halfway["ingest"]["t0000"] == {"done": 4, "jobs": 4}
    assert halfway["predict"]["t0000"] == {"done": 3, "jobs": 3}
    assert halfway["graph"]["t0000"] == {"done": 0, "jobs": 3}
    run(config)
    after = counts()
    del after["report"]
    assert all(count["done"] == count["jobs"] for times in after.values() for count in times.values())

    path.write_text(json.dumps(changed(config, partition={"beta": 0.3})))
    other = counts()
    assert other["partition"]["t0000"]["done"] == 0
    assert other["supervoxels"]["t0000"] == {"done": 3, "jobs": 3}


def test_status_as_text(cli, finished):
    status, out, err = cli("status", "--config", folder_of(finished) / "config.yaml")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "a"
    assert lines[1].split() == ["ingest", "t0000", "3/3", "t0001", "3/3"]
    assert lines[-3].split() == ["evaluate", "t0000", "4/4", "t0001", "4/4", "all", "2/2"]
    assert lines[-2].split() == ["seams", "t0000", "2/2", "t0001", "2/2", "all", "1/1"]
    assert lines[-1].split() == ["report", "all", "0/2"]


# Evaluate


def test_evaluate_gives_the_scores_of_the_workflow(cli, finished):
    truth = finished["samples"]["a"]["truth"]
    status, out, _ = cli(
        "evaluate", layout(finished).result, f"{truth['path']}:label", "--truth-axes", "tzyx", "--json"
    )
    assert status == 0
    tracking = json.loads(layout(finished).tracking_scores.read_text())["tracking"]
    assert json.loads(out) == pytest.approx({**scores(finished), **tracking}, rel=1e-12)


def test_evaluate_an_exported_tiff(cli, finished, tmp_path):
    cli("export", layout(finished).result, tmp_path / "labels.tif")
    truth = finished["samples"]["a"]["truth"]
    status, out, _ = cli(
        "evaluate", tmp_path / "labels.tif", f"{truth['path']}:label", "--truth-axes", "tzyx", "--json"
    )
    assert status == 0
    assert json.loads(out) == pytest.approx(scores(finished), rel=1e-12)


# Export


def read(path: Path) -> tuple[np.ndarray, dict[str, object]]:
    with tifffile.TiffFile(path) as file:
        assert file.is_imagej
        (series,) = file.series
        x, y = (tag.value for tag in map(file.pages[0].tags.get, ("XResolution", "YResolution")))
        size = {"x": x[1] / x[0], "y": y[1] / y[0], "z": file.imagej_metadata["spacing"]}
        return series.asarray(), {**size, "axes": series.axes, "unit": file.imagej_metadata["unit"]}


def consecutive(found: np.ndarray, first: int = 1) -> np.ndarray:
    """The labels of one time point as 1, 2, 3, … in the order of their ids."""
    ids = np.unique(found[found > 0])
    return np.where(found > 0, np.searchsorted(ids, found) + first, 0)


def test_export_all_time_points(cli, finished, tmp_path):
    path = tmp_path / "new" / "labels.tif"
    status, out, err = cli("export", layout(finished).result, path)
    assert (status, out) == (0, "")
    voxels, told = read(path)
    wanted = labels(finished)
    assert voxels.shape == wanted.shape
    assert voxels.dtype == np.uint16
    counts = [len(np.unique(frame[frame > 0])) for frame in wanted]
    first, second = (consecutive(frame, start) for frame, start in zip(wanted, (1, 1 + counts[0]), strict=True))
    assert np.array_equal(voxels, np.stack([first, second]))
    assert f"{sum(counts)} objects" in err
    assert told["axes"] == "TZYX"
    assert (told["z"], told["y"], told["x"]) == pytest.approx((0.5, 0.25, 0.2), rel=1e-4)
    assert told["unit"] == "um"


def test_export_one_time_point(cli, finished, tmp_path):
    path = tmp_path / "labels.tif"
    assert cli("export", layout(finished).result, path, "--time", 1)[0] == 0
    voxels, _ = read(path)
    wanted = labels(finished)[1]
    assert np.array_equal(voxels.reshape(wanted.shape), consecutive(wanted))


def test_export_does_not_overwrite_unless_asked(cli, finished, tmp_path):
    path = tmp_path / "labels.tif"
    path.write_bytes(b"precious")
    status, out, err = cli("export", layout(finished).result, path)
    assert (status, out) == (2, "")
    assert f"{path}: exists already" in err
    assert "--overwrite" in err
    assert path.read_bytes() == b"precious"
    assert cli("export", layout(finished).result, path, "--overwrite")[0] == 0
    assert tifffile.imread(path).shape == labels(finished).shape


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--time", 2], "has no time point 2"), (["--labels", "nuclei"], "labels/nuclei")],
    ids=["time", "labels"],
)
def test_export_of_what_is_not_there(cli, finished, tmp_path, options, told):
    status, out, err = cli("export", layout(finished).result, tmp_path / "labels.tif", *options)
    assert (status, out) == (2, "")
    assert told in err
    assert list(tmp_path.iterdir()) == []


def test_export_of_tracks_keeps_an_object_s_id_in_time(tmp_path):
    tracks = np.array([[[[5, 9]]], [[[9, 12]]]], np.uint64)
    group = zarr.open_group(str(tmp_path / "x.ome.zarr"), mode="w", zarr_format=3)
    group.create_array(
        "labels/tracks", shape=tracks.shape, dtype=tracks.dtype, chunks=(1, 1, 1, 2), dimension_names=tuple("tzyx")
    )[...] = tracks
    assert export_labels(tmp_path / "x.ome.zarr", tmp_path / "x.tif", "tracks", None, overwrite=False) == 3
    assert tifffile.imread(tmp_path / "x.tif").reshape(2, 2).tolist() == [[1, 2], [2, 3]]


def test_export_to_what_is_no_tiff(cli, finished, tmp_path):
    status, out, err = cli("export", layout(finished).result, tmp_path / "labels.png")
    assert (status, out) == (2, "")
    assert f"{tmp_path / 'labels.png'}: is no name of a TIFF file" in err


def test_export_of_many_objects_takes_a_larger_type(tmp_path):
    """Ids are still consecutive where 16 bits, and so ImageJ's own format, do not hold them."""
    ids = np.arange(70_000, dtype=np.uint64).reshape(1, 7, 100, 100) << np.uint64(32)
    group = zarr.open_group(str(tmp_path / "x.ome.zarr"), mode="w", zarr_format=3)
    group.create_array(
        "labels/many", shape=ids.shape, dtype=ids.dtype, chunks=(1, 7, 50, 50), dimension_names=tuple("tzyx")
    )[...] = ids
    assert export_labels(tmp_path / "x.ome.zarr", tmp_path / "x.tif", "many", None, overwrite=False) == 69_999
    voxels = tifffile.imread(tmp_path / "x.tif")
    assert voxels.dtype == np.uint32
    assert np.array_equal(voxels.reshape(-1), np.arange(70_000))


def test_a_job_that_was_asked_to_stop_says_so_in_its_log(cli, monkeypatch, tmp_path):
    """With the exit status of SIGTERM, and as no failure."""

    def stopped(*_: object) -> None:
        raise StoppedError("ingest.statistics: stopped after 2 of 6 blocks; run again to go on")

    monkeypatch.setattr("bigseg.runner.run_unit", stopped)
    log = tmp_path / "job.log"
    status, _, _ = cli(
        "run", "ingest.statistics", "--sample", "a", "--parameters", "{}", "--time", "t0000", "--log", log
    )
    assert status == 143
    assert log.read_text() == "ingest.statistics: stopped after 2 of 6 blocks; run again to go on\n"
