"""A segmentation that exists already: its labels are copied, nothing is segmented, all else goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from pipeline_checks import NAME, Settings, done, labels, layout, run, scores
from pipeline_checks import settings as config_of
from typer.testing import CliRunner
from upkeep_checks import verified

from bigseg.cli import app
from bigseg.config import load_config
from bigseg.errors import UserError
from bigseg.planning.estimate import estimate
from bigseg.planning.workflow import Workflow
from bigseg.sweeping.sweep import Sweep
from bigseg.upkeep.clean import plan_cleaning

SHAPE = (6, 20, 24)
TIMES = 3
LEFT_OUT = {"predict", "supervoxels", "graph", "partition"}


def masks(t: int) -> np.ndarray:
    """Three boxes that move, with ids that stay; the last is larger than 32 bits."""
    found = np.zeros(SHAPE, np.uint64)
    for name, y in ((7, 1), (300, 8), (2**40 + 3, 14)):
        found[1:5, y : y + 5, 2 + 3 * t : 10 + 3 * t] = name
    return found


@pytest.fixture
def sample(tmp_path) -> dict[str, Any]:
    """A file for each time point, of an image and of labels."""
    for t in range(TIMES):
        image = (masks(t) > 0) * 90 + np.random.default_rng(t).integers(0, 20, SHAPE)
        for name, volume in (("image", image.astype(np.uint8)), ("mask", masks(t))):
            tifffile.imwrite(tmp_path / f"{name}_t{t}.tif", volume, photometric="minisblack", metadata={"axes": "ZYX"})
    return {
        "input": {"path": str(tmp_path / "image_t{t}.tif")},
        "segmentation": {"path": str(tmp_path / "mask_t{t}.tif")},
    }


def config(folder: Path, sample: dict[str, Any], **sections: Any) -> Settings:
    return config_of(folder, sample, blocks={"block_shape": [6, 10, 24]}, pyramid={"smallest": 12}, **sections)


def test_labels_are_those_that_were_given_and_the_rest_goes_on(sample, tmp_path):
    settings = config(tmp_path, {**sample, "truth": sample["segmentation"]})
    made = run(settings, None)
    assert not LEFT_OUT & {step.split(".")[0] for step in made}
    assert not {"segment.contacts", "segment.objects"} & set(made)
    assert labels(settings).dtype == np.uint64
    assert (labels(settings) == np.stack([masks(t) for t in range(TIMES)])).all()
    table = pd.read_parquet(layout(settings).result_folder / "objects.parquet")
    assert [tuple(row) for row in table[["time", "object", "voxels"]].to_numpy().tolist()] == [
        (t, name, 4 * 5 * 8) for t in range(TIMES) for name in (7, 300, 2**40 + 3)
    ]
    assert scores(settings)["ap50"] == 1.0
    told = json.loads(layout(settings).provenance.read_text())
    assert told["inputs"]["segmentation"]["number_of_files"] == TIMES
    page = (layout(settings).result_folder / "report.html").read_text()
    assert "From supervoxels to objects" not in page
    assert not verified(settings).findings
    left = plan_cleaning(Workflow(settings, "test"), NAME).paths
    assert {path.name.partition("-")[0] for path in left} == {"overlaps"}
    assert done(settings, None) == {}


def test_a_changed_time_point_runs_alone(sample, tmp_path):
    settings = config(tmp_path, sample)
    run(settings)
    other = masks(1)
    other[0, 0, 0] = 5
    tifffile.imwrite(tmp_path / "mask_t1.tif", other, photometric="minisblack", metadata={"axes": "ZYX"})
    again = done(settings)
    assert again == {
        "segment.blocks": 2,
        "pyramid.labels1": 1,
        "measure.blocks": 1,
        "measure.table": 1,
        "track.overlaps": 2,  # of the time point with the one before, and of the next with it
        "track.detections": 1,
        "track.links": 2,
        "track.lineages": 2,
        "track.table": 1,
        "track.exports": 1,
        "track.blocks": 1,
        "pyramid.tracks1": 1,
        "seams.blocks": 1,
        "seams.summary": 1,
    }, "both blocks are read; only what follows the one that changed is made again"
    assert (labels(settings)[1] == other).all()


def test_masks_alone_are_their_own_image(sample, tmp_path):
    settings = config(tmp_path, {"input": sample["segmentation"], "segmentation": sample["segmentation"]})
    run(settings)
    assert (labels(settings) == np.stack([masks(t) for t in range(TIMES)])).all()


def test_a_time_point_without_objects(sample, tmp_path):
    """Masks that are their own image are constant there, which matters to a segmentation only."""
    tifffile.imwrite(tmp_path / "mask_t1.tif", 0 * masks(1), photometric="minisblack", metadata={"axes": "ZYX"})
    settings = config(tmp_path, {"input": sample["segmentation"], "segmentation": sample["segmentation"]})
    run(settings, None)
    assert not labels(settings)[1].any()
    table = pd.read_parquet(layout(settings).result_folder / "objects.parquet")
    assert set(table["time"]) == {0, 2}


def test_a_segmentation_replaces_one_that_was_computed(sample, tmp_path):
    computed = config(tmp_path, {"input": sample["input"]})
    run(computed)
    settings = config(tmp_path, sample)
    run(settings)
    assert (labels(settings) == np.stack([masks(t) for t in range(TIMES)])).all()
    run(computed)
    assert (labels(computed) != np.stack([masks(t) for t in range(TIMES)])).any()


def write(path: Path, volume: np.ndarray) -> dict[str, str]:
    tifffile.imwrite(path, volume, photometric="minisblack", metadata={"axes": "ZYX"})
    return {"path": str(path)}


@pytest.mark.parametrize(
    ("volume", "problem"),
    [
        (np.zeros(SHAPE, np.float32), r"samples\.a\.segmentation: .*float32, labels are integers"),
        (np.zeros((6, 20, 25), np.uint8), r"samples\.a\.segmentation: .*has shape \[1, 6, 20, 25\]"),
    ],
)
def test_what_is_no_segmentation_is_refused_before_anything_runs(sample, tmp_path, volume, problem):
    image = {"path": str(tmp_path / "image_t0.tif")}
    given = {"input": image, "segmentation": write(tmp_path / "wrong.tif", volume)}
    with pytest.raises(UserError, match=problem) as caught:
        Workflow(config(tmp_path, given), "test")
    assert caught.value.remedy


def test_negative_labels_are_refused_where_they_are(sample, tmp_path):
    volume = np.ones(SHAPE, np.int16)
    volume[2, 15, 3] = -1
    given = {
        "input": {"path": str(tmp_path / "image_t0.tif")},
        "segmentation": write(tmp_path / "negative.tif", volume),
    }
    with pytest.raises(UserError, match=r"negative\.tif: holds the negative label -1, .*\(2, 15, 3\)"):
        run(config(tmp_path, given))


def test_sweep_is_refused_and_says_what_to_do(sample, tmp_path):
    import yaml

    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config(tmp_path, {**sample, "truth": sample["segmentation"]})))
    with pytest.raises(UserError, match=r"samples\.a\.segmentation: is given") as caught:
        Sweep(path, [{"partition.beta": [0.4]}], by="ap50")
    assert "bigseg evaluate" in caught.value.remedy


def test_maps_that_only_segmenting_needs_are_named(sample, tmp_path):
    workflow = Workflow(config(tmp_path, {**sample, "mask": sample["segmentation"]}), "test")
    assert workflow.warnings() == ["samples.a.mask is not used, because samples.a.segmentation is given"]


def test_other_settings_do_not_matter(sample, tmp_path):
    """What a segmentation would need is not asked for: a model that is not there, lifted edges."""
    settings = config(
        tmp_path,
        sample,
        predict={"method": "network", "model": "not there"},
        partition={"method": "lifted_multicut"},
        supervoxels={"foreground_threshold": "otsu"},
    )
    workflow = Workflow(settings, "test")
    assert {step.split(".")[0] for step in workflow.steps(NAME)} & LEFT_OUT == set()
    assert estimate(workflow, NAME).steps


def test_init_writes_it(sample, tmp_path):
    options = ["--input", tmp_path / "image_t{t}.tif", "--segmentation", tmp_path / "mask_t{t}.tif"]
    told = CliRunner().invoke(app, ["init", str(tmp_path / "both"), *map(str, options)], catch_exceptions=False)
    assert "segmented already" in told.output
    both = load_config(tmp_path / "both" / "config.yaml").samples
    (found,) = both.values()
    assert found.segmentation is not None
    assert found.segmentation.path == sample["segmentation"]["path"]
    options = ["--segmentation", tmp_path / "mask_t{t}.tif"]
    CliRunner().invoke(app, ["init", str(tmp_path / "one"), *map(str, options)], catch_exceptions=False)
    (found,) = load_config(tmp_path / "one" / "config.yaml").samples.values()
    assert found.input.path == found.segmentation.path == sample["segmentation"]["path"]
    with pytest.raises(UserError, match="--stain tells how to segment"):
        CliRunner().invoke(
            app, ["init", str(tmp_path / "x"), *map(str, options), "--stain", "em"], catch_exceptions=False
        )
