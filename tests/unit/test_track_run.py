"""Stage track from labels to tracks: what blocks, windows and batches do not change, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from pipeline_checks import Settings, digests, done, layout, run, settings
from upkeep_checks import jobs

from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.kernels.synthetic.tissue_movie import MEMBRANES, TissueMovie
from bigseg.planning.workflow import Workflow
from bigseg.reporting.tracks.words import read_tracking_scores

MOVIE = TissueMovie(
    (16, 64, 64),
    times=6,
    voxel_size_um=(1.0, 0.5, 0.5),
    drift=(0.0, 1.0, -2.0),
    division_rate=0.08,
    death_rate=0.0,
    outline=False,
    seed=3,
)
WHOLE = Box((0, 0, 0), MOVIE.shape)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Image and labels of a movie of cells that divide, drift and have other ids at each time point."""
    folder = tmp_path_factory.mktemp("movie")
    for t in range(MOVIE.times):
        truth = MOVIE.labels(WHOLE, t=t)
        ids, inverse = np.unique(truth, return_inverse=True)
        names = np.random.default_rng(t).permutation(len(ids)).astype(np.uint16) + 1
        names[ids == 0] = 0
        volumes = {
            "image": MOVIE.image(WHOLE, t=t, channel=MEMBRANES),
            "truth": truth.astype(np.uint16),
            "mask": names[inverse].reshape(truth.shape),
        }
        for name, volume in volumes.items():
            metadata = {"axes": "ZYX", "spacing": 1.0, "unit": "um"}
            resolution = {"resolution": (2.0, 2.0)}
            tifffile.imwrite(folder / f"{name}_t{t}.tif", volume, imagej=True, metadata=metadata, **resolution)
    return folder


def given(files: Path, folder: Path, block: list[int], **track: Any) -> Settings:
    sample = {
        role: {"path": str(files / f"{name}_t{{t}}.tif")}
        for role, name in (("input", "image"), ("segmentation", "mask"), ("truth", "truth"))
    }
    return settings(folder, sample, blocks={"block_shape": block}, pyramid={"smallest": 64}, track=track)


def tracks(config: Settings) -> pd.DataFrame:
    return pd.read_parquet(layout(config).track_table)


def painted(config: Settings) -> np.ndarray:
    return np.asarray(zarr.open_array(str(layout(config).tracks()), mode="r")[:])


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory) -> Settings:
    """Tracked in one block and one window."""
    config = given(files, tmp_path_factory.mktemp("whole"), [16, 64, 64], drift=True)
    run(config)
    return config


def test_tracks_are_right(whole):
    found = json.loads(layout(whole).tracking_scores.read_text())["tracking"]
    assert found["seg"] == found["det"] == 1
    assert found["tra"] > 0.97
    assert found["n_divisions_truth"] >= 3
    # The report reads the same file.
    told = {score.name: score.value for score in read_tracking_scores(layout(whole))}
    assert told["TRA"] == f"{found['tra']:.4f}"
    assert not any("{" in value for value in told.values())


def test_what_is_painted_is_what_the_table_says(whole):
    table, labels = tracks(whole), painted(whole)
    for t, rows in table.groupby("time"):
        mask = np.asarray(zarr.open_array(str(layout(whole).labels()), mode="r")[int(t)])
        for row in rows.itertuples():
            own = labels[int(t)] == row.track
            assert set(mask[own].tolist()) == {row.object}
            assert row.volume_um3 == pytest.approx(own.sum() * 0.25)
            centre = np.argwhere(own).mean(axis=0) * (1.0, 0.5, 0.5)
            assert np.allclose((row.z_um, row.y_um, row.x_um), centre)
        assert set(np.unique(labels[int(t)])) - {0} == set(rows["track"])


def test_blocks_change_nothing(files, whole, tmp_path):
    config = given(files, tmp_path, [16, 32, 64], drift=True)
    run(config)
    assert np.array_equal(painted(config), painted(whole))
    pd.testing.assert_frame_equal(tracks(config), tracks(whole), rtol=1e-12)


def test_the_greedy_method_differs_little(files, whole, tmp_path):
    config = given(files, tmp_path, [16, 64, 64], drift=True, method="greedy")
    run(config)
    found = json.loads(layout(config).tracking_scores.read_text())["tracking"]
    assert found["tra"] > 0.95


def test_a_time_point_more_is_linked_and_nothing_else(files, tmp_path):
    config = given(files, tmp_path, [16, 32, 64])
    config["samples"]["a"]["times"] = list(range(5))
    run(config)
    before, known = painted(config), digests(config)
    config["samples"]["a"]["times"] = list(range(6))
    ran = {step: count for step, count in done(config).items() if step.startswith(("track.", "evaluate.track"))}
    assert ran == {
        "track.overlaps": 2,
        "track.detections": 1,
        "track.links": 1,
        "track.lineages": 1,
        "track.table": 1,
        "track.exports": 1,
        "track.blocks": 2,
        "evaluate.track_overlaps": 2,
        "evaluate.tracks": 1,
    }
    assert np.array_equal(painted(config)[:5], before)
    assert {key: value for key, value in digests(config).items() if key[1] in range(5)} == {
        key: value for key, value in known.items() if key[1] in range(5)
    }


@pytest.mark.parametrize("method", ["joint", "volume"])
def test_methods_that_need_boundaries_refuse_labels_that_were_given(files, tmp_path, method):
    with pytest.raises(UserError, match=f"track.method: {method} joins objects") as refused:
        Workflow(given(files, tmp_path, [16, 64, 64], method=method), "test")
    assert "program" in refused.value.remedy


@pytest.mark.parametrize("method", ["joint", "volume"])
def test_methods_of_fragments(files, tmp_path, method):
    """From the image; in blocks, whose number the windows do not know."""
    sample = {
        role: {"path": str(files / f"{name}_t{{t}}.tif")} for role, name in (("input", "image"), ("truth", "truth"))
    }
    track = {"method": method, "drift": True, "window": 4, "joint": {"context": 2}}
    config = settings(tmp_path, sample, blocks={"block_shape": [16, 32, 64]}, partition={"beta": 0.8}, track=track)
    run(config)
    labels = painted(config)
    segmentation = np.asarray(zarr.open_array(str(layout(config).labels()), mode="r")[:])
    table = tracks(config)
    assert set(np.unique(labels)) - {0} == set(table["track"])
    for t in range(MOVIE.times):
        pairs = np.unique(np.stack([segmentation[t].ravel(), labels[t].ravel().astype(np.uint64)]), axis=1)
        assert len(set(pairs[0].tolist())) == pairs.shape[1], "an object is part of one track at most"
    lasting = table.groupby("track")["time"].nunique()
    assert lasting.max() == MOVIE.times
    if method == "volume":
        assert lasting.min() >= 2
    scores = json.loads(layout(config).tracking_scores.read_text())["tracking"]
    assert 0.3 < scores["tra"] <= 1
    whatever_is_gone_is_missed(config)


def whatever_is_gone_is_missed(config: Settings) -> None:
    """Of each file of tracking, by the piece that wrote it and by no other."""
    found = [job for job in jobs(config) if job.step.stage == "track"]
    pieces = [(job.step, piece, job.records[piece]) for job in found for piece in job.pieces]
    assert all(step.intact(piece, record) for step, piece, record in pieces)
    paths = [path for path in (Path(config["work"]) / "a" / "track").rglob("*") if path.is_file()]
    assert len(paths) >= len(found)
    for path in paths:
        content = path.read_bytes()
        path.unlink()
        assert sum(not step.intact(piece, record) for step, piece, record in pieces) == 1, path
        path.write_bytes(content)
