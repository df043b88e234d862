"""The seam report of whole runs and of any label volume: stage, command line, report, mistakes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from pipeline_checks import Settings, done, labels, layout, run, settings
from reporting_sample import cells as cuboids
from reporting_sample import finished_sample
from seam_checks import count, figures
from test_reporting_page import Page

from bigseg.cli.seams import seams
from bigseg.config.stages import Seams
from bigseg.errors import UserError
from bigseg.geometry.grid import Grid
from bigseg.kernels.seam_summary import summarise
from bigseg.labels.seams import seams_of_source
from bigseg.planning.workflow import Workflow
from bigseg.reporting.seam_words import verdict
from bigseg.reporting.seams import read_seams, seams_png
from bigseg.volumes.source import open_source

BLOCK = (24, 32, 64)


@pytest.fixture
def cli(cli) -> Callable[..., tuple[int, str, str]]:
    """The command ``seams`` alone."""
    return partial(cli, "seams")


@pytest.fixture(scope="module")
def finished(cells, tmp_path_factory) -> Settings:
    """Two time points with a truth in two blocks."""
    folder = tmp_path_factory.mktemp("finished")
    with h5py.File(folder / "cells.h5", "w") as file:
        file["raw"], file["label"] = cells.image[:2], cells.truth[:2]
    place = {"path": str(folder / "cells.h5"), "axes": "tzyx", "voxel_size_um": [0.5, 0.25, 0.25]}
    sample = {"input": {**place, "key": "raw"}, "truth": {**place, "key": "label"}}
    config = settings(folder, sample, blocks={"block_shape": list(BLOCK)}, seams={"distance": 5, "minimum_cut": 4})
    run(config)
    return config


def written(config: Settings) -> dict[str, Any]:
    return json.loads(layout(config).seams.read_text())


def truth_of(config: Settings) -> list[str]:
    return ["--truth", f"{config['samples']['a']['truth']['path']}:label", "--truth-axes", "tzyx"]


def test_the_stage_gives_what_the_whole_volume_gives(finished, cells):
    found, grid = labels(finished), Grid((24, 64, 64), BLOCK)
    tables = [(t, count(found[t], cells.truth[t], grid, 5)) for t in range(2)]
    assert written(finished) == summarise(grid, 5, 4, tables)
    assert written(finished)["errors"]["far"] is not None


def test_the_command_line_gives_what_the_stage_gives(finished, cli):
    status, out, err = cli(
        layout(finished).result, *truth_of(finished), "--distance", 5, "--minimum-cut", 4, "--json", "--threads", 3
    )
    assert status == 0
    assert json.loads(out) == written(finished)
    assert "seams" in err


def test_one_time_point_of_a_tiff(finished, cells, cli, tmp_path):
    tifffile.imwrite(tmp_path / "labels.tif", cells.truth[1])
    arguments = [tmp_path / "labels.tif", "--block-shape", *BLOCK, *truth_of(finished), "--time", 1, "--json"]
    status, out, _ = cli(*arguments)
    assert status == 0
    default = Seams()
    expected = figures(cells.truth[1], cells.truth[1], Grid((24, 64, 64), BLOCK), default.distance, default.minimum_cut)
    assert {**json.loads(out), "worst_cuts": None} == {**expected, "worst_cuts": None}


def test_defaults_are_those_of_the_configuration_and_are_told(cli):
    defaults = inspect.signature(seams).parameters
    assert Seams() == Seams(distance=defaults["distance"].default, minimum_cut=defaults["minimum_cut"].default)
    assert cli("--help")[1].count("[default: 8") == 2


def test_what_is_printed(finished, cli, tmp_path):
    status, out, _ = cli(layout(finished).result)
    assert status == 0
    assert "blocks 24 × 32 × 64" in out
    assert [line.split()[0] for line in out.splitlines() if line[:2] in ("z ", "y ", "x ")] == ["y"]
    assert out.splitlines()[-1].startswith(("The blocks do not show", "The blocks show"))

    whole = np.ones((8, 40, 40), np.uint16)
    whole[:, :, 20:] = 77
    zarr.create_array(str(tmp_path / "cut.zarr"), data=whole, chunks=(8, 20, 20))
    status, out, _ = cli(tmp_path / "cut.zarr", "--block-shape", 8, 20, 20)
    assert status == 0
    assert "One pair of objects meets almost only at block faces" in out
    assert "1, 77" in out
    assert "3, 19, 19" in out


@pytest.mark.parametrize("shape", [(24, 64, 64), (100, 100, 100)])
def test_a_single_block_has_no_faces(finished, cli, shape):
    status, out, _ = cli(layout(finished).result, "--block-shape", *shape)
    assert status == 0
    assert "single block" in out


def test_the_shape_of_the_blocks_is_that_of_the_run(finished, cli):
    """Also where the labels are named as a key, a folder, or a level of the pyramid."""
    result = layout(finished).result
    places = [[result], [f"{result}:labels/segmentation"], [result / "labels" / "segmentation"]]
    places += [[result / "labels" / "segmentation" / "0"], [result, "--key", "labels/segmentation/0"]]
    for place in places:
        status, out, err = cli(*place, "--json")
        assert status == 0, err
        assert json.loads(out)["block_shape"][1:] == [32, 64]


def test_figures_do_not_depend_on_what_is_read_at_once(finished):
    from bigseg.config.samples import Input

    spec = finished["samples"]["a"]["truth"]
    with open_source(Input(**spec)) as truth:
        found = [
            seams_of_source(truth, BLOCK, truth, distance=3, minimum_cut=3, threads=threads, read_shape=shape)
            for threads, shape in ((1, None), (2, (7, 64, 30)), (3, BLOCK))
        ]
    assert found[0] == found[1] == found[2]
    assert found[0]["errors"]["near"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["labels.tif"], "--block-shape 64 256 256"),
        (["labels.tif", "--block-shape", 4, 8, 8, "--truth", "small.tif"], "the label volume has (1, 1, 8, 16, 16)"),
        (["labels.tif", "--block-shape", 4, 8, 8, "--truth", "float.tif"], "labels are integers"),
        (["float.tif", "--block-shape", 4, 8, 8], "--key names another dataset"),
        (["negative.tif", "--block-shape", 4, 8, 8], "negative label -3"),
        (["labels.tif", "--block-shape", 4, 8, 8, "--time", 1], "there is no time point 1"),
        (["labels.tif", "--block-shape", 0, 8, 8], "greater than or equal to 1"),
        (["none.tif"], "none.tif"),
        (["labels.tif", "--axes", "zz"], "see `bigseg seams --help`"),
        (["labels.tif", "--truth", "small.tif", "--truth-axes", "zz"], "see `bigseg seams --help`"),
        (["foreign.zarr"], "no result of bigseg"),
    ],
)
def test_mistakes(cli, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    volume = np.ones((8, 16, 16), np.int16)
    tifffile.imwrite("labels.tif", volume)
    tifffile.imwrite("small.tif", volume[:, :, 1:])
    tifffile.imwrite("float.tif", volume.astype(np.float32))
    tifffile.imwrite("negative.tif", -3 * volume)
    zarr.create_array("foreign.zarr", shape=(8, 16, 16), dtype="uint16", chunks=(2, 8, 8), shards=(4, 8, 8))
    status, out, err = cli(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_a_volume_of_one_block_has_no_such_stage(cells, tmp_path):
    sample = {"input": {"path": str(cells.folder / "image_t0.tif")}}
    config = settings(tmp_path, sample)
    workflow = Workflow(config, "test")
    assert not [name for name in workflow.steps("a") if name.startswith("seams.")]
    assert workflow.parameters("report.page", "a")
    assert "seams.summary" not in {need.step for need in workflow.step("report.page", "a", None).needs(0)}
    several = Workflow({**config, "blocks": {"block_shape": list(BLOCK)}}, "test")
    assert {"seams.blocks", "seams.summary"} <= set(several.steps("a"))
    assert "seams.summary" in {need.step for need in several.step("report.page", "a", None).needs(0)}


def test_without_a_truth(cells, tmp_path):
    """A change of the distance then leaves the blocks as they are."""
    sample = {"input": {"path": str(cells.folder / "image_t0.tif")}}
    config = settings(tmp_path, sample, blocks={"block_shape": list(BLOCK)})
    run(config)
    assert written(config)["errors"] is None
    assert done({**config, "seams": {"distance": 3}}) == {"seams.summary": 1}
    assert len(written(config)["axes"][0]["offsets"]) == 7
    layout(config).seams.write_text("{}")
    assert done({**config, "seams": {"distance": 3}}) == {"seams.summary": 1}


class TestReport:
    def test_section(self, tmp_path):
        """Cuboid cells of 16 voxels, and block faces right on their walls: the worst seam there can be."""
        blocks = {"block_shape": [8, 32, 32], "chunk_shape": [8, 32, 32]}
        sample = finished_sample(tmp_path, cuboids((1, 8, 64, 64)), scored=True, blocks=blocks)
        sample.step().process(0)
        page = Page(sample.page())
        found = read_seams(sample.layout)
        assert "Block faces" in page.text
        assert " ".join(verdict(found).split()) in page.text
        assert "Surface of objects on block faces and on the planes beside them" in page.pictures
        assert found["cuts"] == 16, "two walls of four cells, in two layers"
        assert "the 10 largest contacts of 16" in page.text
        assert "seams.json" in page.text
        assert ", ".join(map(str, found["worst_cuts"][0]["position"])) in page.text

    def test_a_single_block_has_no_section(self, tmp_path):
        sample = finished_sample(tmp_path, cuboids((1, 4, 32, 32)))
        sample.step().process(0)
        assert "Block faces" not in sample.page()

    def test_damaged_figures_are_named(self, tmp_path):
        sample = finished_sample(
            tmp_path, cuboids((1, 8, 64, 64)), blocks={"block_shape": [8, 32, 32], "chunk_shape": [8, 32, 32]}
        )
        sample.layout.seams.write_text("{")
        with pytest.raises(UserError, match=r"seams\.json: is missing or damaged"):
            sample.step().process(0)
        sample.layout.seams.write_text('{"shape": [8, 64, 64]}')
        with pytest.raises(UserError, match=r"seams\.json: is missing or damaged \(without .*axes"):
            sample.step().process(0)

    @pytest.mark.parametrize("block", [(1, 1, 1), (2, 3, 12), (8, 12, 6)])
    @pytest.mark.parametrize("fill", ["empty", "random"])
    def test_pictures_of_anything(self, block, fill):
        shape = (8, 12, 12)
        volume = np.random.default_rng(0).integers(0, 5, shape) if fill == "random" else np.zeros(shape, np.int64)
        for truth in (None, volume):
            assert seams_png(figures(volume, truth, Grid(shape, block))).startswith(b"\x89PNG")


def test_the_picture_is_the_same_every_time():
    volume = np.random.default_rng(0).integers(0, 3, (8, 12, 12))
    found = figures(volume, volume, Grid(volume.shape, (4, 6, 6)))
    assert seams_png(found) == seams_png(found)


def test_a_missing_result_folder_is_told(tmp_path: Path, cli):
    status, _, err = cli(tmp_path / "nothing.ome.zarr")
    assert status == 2
    assert "Remedy" in err
