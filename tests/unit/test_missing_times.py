"""Time points that are missing or cannot be read: all are named before anything runs, or left out on request."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import yaml
import zarr
from pipeline_checks import NAME, Settings, done, labels, layout, run
from pipeline_checks import settings as config_of

from bigseg.errors import UserError
from bigseg.planning.initial import write_initial_config
from bigseg.planning.workflow import Workflow

SHAPE = (6, 20, 24)
STAGES = ("ingest", "segment", "measure")


def write(folder: Path, t: int, c: int | None = None) -> Path:
    path = folder / (f"e_t{t:04d}.tif" if c is None else f"e_t{t:04d}_c{c}.tif")
    volume = np.random.default_rng(t).integers(1, 5, SHAPE).astype(np.uint8)
    tifffile.imwrite(path, volume, photometric="minisblack", metadata={"axes": "ZYX"})
    return path


def config(folder: Path, pattern: str = "e_t{t}.tif", **sample: Any) -> Settings:
    """The files are labels as well: no stage that segments need run."""
    spec = {"path": str(folder / pattern)}
    given = {} if "{c}" in pattern else {"segmentation": spec}
    return config_of(folder, {"input": spec, **given, **sample}, pyramid={"smallest": 64})


@pytest.fixture
def holes(tmp_path) -> Path:
    """Time points 2 … 8 by the names of the files: 4 and 7 are missing, 5 is cut short in its header, 6 is empty."""
    for t in (2, 3, 5, 6, 8):
        write(tmp_path, t)
    (tmp_path / "e_t0005.tif").write_bytes((tmp_path / "e_t0005.tif").read_bytes()[:60])
    (tmp_path / "e_t0006.tif").write_bytes(b"")
    return tmp_path


def test_all_are_named_with_the_remedy(holes):
    with pytest.raises(UserError) as caught:
        Workflow(config(holes), "test")
    problem, remedy = caught.value.problem, caught.value.remedy
    assert "samples.a: 4 of 7 time points cannot be read" in problem
    for line in ("time point 2: input: no file for (t=4)", "time point 5: input: no file for (t=7)"):
        assert line in problem
    assert "time point 3: input: " in problem
    assert "e_t0005.tif" in problem
    assert "time point 4: input: " in problem
    assert "e_t0006.tif" in problem
    assert "samples.a.missing_times to skip" in remedy
    assert "samples.a.times" in remedy
    assert not layout(config(holes)).result.exists()


def test_skip_leaves_them_out_and_says_so(holes):
    settings = config(holes, missing_times="skip")
    workflow = Workflow(settings, "test")
    assert workflow.plans[NAME].times == (0, 1, 6)
    told = workflow.warnings()
    assert [line.split(" is left out")[0] for line in told] == [f"samples.a: time point {t}" for t in (2, 3, 4, 5)]
    run(settings, None)
    for t in (0, 1, 6):
        assert (labels(settings)[t] == np.random.default_rng(t + 2).integers(1, 5, SHAPE)).all()
    page = (layout(settings).result_folder / "report.html").read_text()
    assert "Time point 5 was left out" in page
    assert "no file for (t=7)" in page
    # What comes back runs, and nothing else.
    write(holes, 4)
    assert done(settings, STAGES) == {
        "ingest.blocks": 1,
        "segment.blocks": 1,
        "measure.blocks": 1,
        "measure.table": 1,
    }
    assert Workflow(settings, "test").plans[NAME].times == (0, 1, 2, 6)


def test_times_that_are_not_asked_for_may_be_missing(holes):
    workflow = Workflow(config(holes, times=[0, 1]), "test")
    assert workflow.plans[NAME].times == (0, 1)
    assert workflow.warnings() == []


def test_nothing_is_left_to_skip(holes):
    with pytest.raises(UserError, match="2 of 2 time points cannot be read"):
        Workflow(config(holes, times=[2, 3], missing_times="skip"), "test")


def test_a_time_point_without_one_of_its_channels_is_missing(tmp_path):
    for t, c in ((0, 0), (0, 1), (1, 0), (2, 0), (2, 1)):
        write(tmp_path, t, c)
    pattern = "e_t{t}_c{c}.tif"
    with pytest.raises(UserError, match=r"time point 1: input: no file for \(t=1, c=1\)"):
        Workflow(config(tmp_path, pattern), "test")
    assert Workflow(config(tmp_path, pattern, missing_times="skip"), "test").plans[NAME].times == (0, 2)


def test_what_only_reading_shows_names_the_time_point_and_the_remedy(tmp_path):
    """A chunk of an HDF5 file that does not decompress: no header tells."""
    path = tmp_path / "movie.h5"
    with h5py.File(path, "w") as file:
        values = np.random.default_rng(0).integers(1, 5, (3, *SHAPE)).astype(np.uint8)
        data = file.create_dataset("raw", data=values, chunks=(1, *SHAPE), compression="gzip")
        place = data.id.get_chunk_info(1)
    with path.open("r+b") as file:
        file.seek(place.byte_offset)
        file.write(b"\xff" * place.size)
    spec = {"path": str(path), "key": "raw", "axes": "tzyx"}
    settings = config_of(tmp_path, {"input": spec, "segmentation": spec}, pyramid={"smallest": 64})
    with pytest.raises(UserError, match=r"time point 1, block 0") as caught:
        run(settings, ("ingest",))
    assert "leave time point 1 out" in caught.value.remedy
    settings["samples"][NAME]["times"] = [0, 2]
    run(settings, STAGES)
    assert (labels(settings)[2] == values[2]).all()


def test_a_time_point_of_which_no_chunk_is_there_is_told_before_anything_runs(tmp_path):
    """Zarr takes chunks that are not there for zeros."""
    path = tmp_path / "movie.zarr"
    values = np.random.default_rng(0).integers(1, 5, (3, *SHAPE)).astype(np.uint8)
    array = zarr.create_array(str(path), shape=values.shape, chunks=(1, *SHAPE), dtype="uint8")
    array[...] = values
    shutil.rmtree(path / "c" / "1")
    spec = {"path": str(path), "axes": "tzyx"}
    settings = config_of(tmp_path, {"input": spec, "segmentation": spec}, pyramid={"smallest": 64})
    with pytest.raises(UserError, match=r"1 of 3 time points cannot be read") as caught:
        Workflow(settings, "test")
    assert f"time point 1: input: {path} holds no chunk of it" in caught.value.problem
    assert "samples.a.missing_times to skip" in caught.value.remedy
    settings["samples"][NAME]["missing_times"] = "skip"
    assert Workflow(settings, "test").plans[NAME].times == (0, 2)
    run(settings, STAGES)
    assert (labels(settings)[2] == values[2]).all()
    # The header that was read then tells of no chunks: those that come later are seen.
    array[1] = values[1]
    assert done(settings, STAGES)["ingest.blocks"] == 1
    assert (labels(settings)[1] == values[1]).all()


def test_init_tells_of_them_and_of_the_remedy(holes, monkeypatch):
    monkeypatch.chdir(holes)
    told = write_initial_config(holes / "run", str(holes / "e_t{t}.tif"), None, None, "a", None, 4.0, force=False)
    beware = [line for line in told if "beware" in line]
    assert [line.split(":")[1] for line in beware] == [f" time point {t} cannot be read" for t in (2, 3, 4, 5)]
    assert "  to leave them out set samples.a.missing_times to skip" in told
    written = yaml.safe_load((holes / "run" / "config.yaml").read_text(encoding="utf-8"))
    with pytest.raises(UserError, match="4 of 7 time points cannot be read"):
        Workflow(written, "config.yaml")


def test_labels_may_lack_the_chunks_of_a_time_point(tmp_path):
    """Nothing was there, so nothing was written."""
    image, truth = tmp_path / "movie.zarr", tmp_path / "truth.zarr"
    for path, number in ((image, 3), (truth, 2)):
        array = zarr.create_array(str(path), shape=(3, *SHAPE), chunks=(1, *SHAPE), dtype="uint8")
        array[:number] = np.random.default_rng(0).integers(1, 5, (number, *SHAPE)).astype(np.uint8)
    spec = {"input": {"path": str(image), "axes": "tzyx"}, "truth": {"path": str(truth), "axes": "tzyx"}}
    assert Workflow(config_of(tmp_path, spec, pyramid={"smallest": 64}), "test").plans[NAME].times == (0, 1, 2)


def test_a_time_point_that_is_constant_is_refused_when_it_is_read(tmp_path):
    path = tmp_path / "movie.h5"
    with h5py.File(path, "w") as file:
        file["raw"] = np.zeros((2, *SHAPE), np.uint8)
        file["raw"][0] = np.random.default_rng(0).integers(1, 5, SHAPE)
    spec = {"path": str(path), "key": "raw", "axes": "tzyx"}
    settings = config_of(tmp_path, {"input": spec}, pyramid={"smallest": 64})
    with pytest.raises(UserError, match=r"time point 1 is constant, every voxel is 0") as caught:
        run(settings, ("ingest",))
    assert "leave the time point out with `times`" in caught.value.remedy
