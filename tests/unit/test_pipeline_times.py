"""Time points: whole runs of movies in this process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from pipeline_checks import BLOCKS, NUMBER_OF_BLOCKS, digests, done, labels, layout, measured, run, settings


def lapse(folder: Path, cells, times: int) -> dict[str, Any]:
    """The first time points of the cells in a folder of their own."""
    folder.mkdir(exist_ok=True)
    for t in range(times):
        for kind in ("image", "truth"):
            target = folder / f"{kind}_t{t}.tif"
            if not target.exists():
                shutil.copy2(cells.folder / target.name, target)
    return {"input": {"path": f"{folder}/image_t{{t}}.tif"}, "truth": {"path": f"{folder}/truth_t{{t}}.tif"}}


def test_a_new_time_point_is_processed_alone(cells, tmp_path):
    sample = lapse(tmp_path / "files", cells, 2)
    config = settings(tmp_path, sample, blocks=BLOCKS, pyramid={"smallest": 32})
    run(config)
    before, known = labels(config), digests(config)
    assert before.shape == (2, 24, 64, 64)
    assert set(measured(config)["time"]) == {0, 1}

    lapse(tmp_path / "files", cells, 3)
    ran = done(config)
    whole = {"ingest.statistics", "partition.root", "segment.objects"}
    whole |= {"track.detections", "track.links", "track.lineages"}
    merging = {"pyramid.metadata", "measure.table", "track.table", "evaluate.scores", "seams.summary"}
    merging |= {"track.exports", "evaluate.tracks"}
    coarse = {"pyramid.image1", "pyramid.labels1", "pyramid.tracks1"}
    assert {step: ran.pop(step) for step in whole | merging} == dict.fromkeys(whole | merging, 1)
    assert {step: ran.pop(step) for step in coarse} == dict.fromkeys(coarse, 1)
    assert set(ran.values()) == {NUMBER_OF_BLOCKS}
    stages = ("ingest", "predict", "supervoxels", "graph", "segment", "measure", "track", "evaluate", "seams")
    assert set(ran) == {f"{stage}.blocks" for stage in stages} | {
        "segment.contacts",
        "track.overlaps",
        "evaluate.track_overlaps",
    }
    found = labels(config)
    assert found.shape == (3, 24, 64, 64)
    assert np.array_equal(found[:2], before)
    assert found[2].all()
    assert {key: digest for key, digest in digests(config).items() if key[1] in (0, 1)} == {
        key: digest for key, digest in known.items() if key[1] in (0, 1)
    }
    assert set(measured(config)["time"]) == {0, 1, 2}
    assert np.array_equal(zarr.open_array(str(layout(config).image()), mode="r")[:, 0], cells.image)


def test_a_time_point_does_not_depend_on_the_others(cells, tmp_path):
    sample = lapse(tmp_path / "files", cells, 2)
    together = settings(tmp_path / "both", sample, blocks=BLOCKS)
    chosen = settings(tmp_path / "one", {**sample, "times": [1]}, blocks=BLOCKS)
    run(together)
    run(chosen)
    assert np.array_equal(labels(together)[1], labels(chosen)[1])
    assert not labels(chosen)[0].any()
    assert set(measured(chosen)["time"]) == {1}


def test_a_changed_time_point_runs_alone(cells, tmp_path):
    sample = lapse(tmp_path / "files", cells, 2)
    config = settings(tmp_path, sample, blocks=BLOCKS)
    run(config)
    before = labels(config)
    cells.write(tmp_path / "files" / "image_t1.tif", cells.image[2])
    ran = done(config)
    assert ran["ingest.blocks"] == ran["segment.blocks"] == NUMBER_OF_BLOCKS
    assert ran["partition.root"] == 1
    assert np.array_equal(labels(config)[0], before[0])
    assert not np.array_equal(labels(config)[1], before[1])
