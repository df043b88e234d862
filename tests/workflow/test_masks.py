"""Masks of separate time points, some missing, run by Snakemake: nothing is segmented, a changed file runs alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

pytestmark = pytest.mark.workflow

SHAPE = (4, 16, 16)


def write(folder: Path, t: int, y: int) -> None:
    labels = np.zeros(SHAPE, np.uint16)
    labels[1:3, y : y + 4, 4:9] = 70 + t
    tifffile.imwrite(folder / f"mask_{t}.tif", labels, photometric="minisblack", metadata={"axes": "ZYX"})


def test_masks_from_files_to_report(tmp_path, snakemake, command):
    for t in (0, 2):
        write(tmp_path, t, 3)
    masks = {"path": "mask_{t}.tif"}
    config = {"samples": {"a": {"input": masks, "segmentation": masks}}, "execution": {"threads": 1}}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    refused = snakemake(tmp_path)
    assert refused.status != 0
    assert "time point 1: input: no file for (t=1)" in refused.text
    assert "samples.a.missing_times to skip" in refused.text
    assert not (tmp_path / "results").exists()

    config["samples"]["a"]["missing_times"] = "skip"
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    made = snakemake(tmp_path)
    assert made.status == 0, made.text
    assert "samples.a: time point 1 is left out (input: no file for (t=1))" in made.errors
    assert not {"predict", "supervoxels", "graph", "partition"} & set(made.jobs)
    assert made.jobs["segment"] == 2
    assert (tmp_path / "results" / "a" / "report.html").exists()
    assert snakemake(tmp_path, "-n").jobs == {}

    write(tmp_path, 2, 9)
    again = snakemake(tmp_path)
    assert again.status == 0, again.text
    assert again.jobs["segment"] == again.jobs["ingest"] == again.jobs["measure"] == 1
    labels = zarr.open_array(str(tmp_path / "results/a.ome.zarr/labels/segmentation/0"), mode="r")[...]
    assert (labels[2, 1:3, 9:13, 4:9] == 72).all()
    assert (labels > 0).sum() == 2 * 2 * 4 * 5
    told = command(tmp_path, "bigseg", "status", "--json")
    assert told.status == 0, told.text
    assert json.loads(told.output)
    assert command(tmp_path, "bigseg", "verify").status == 0
    assert command(tmp_path, "bigseg", "plan", "--json").status == 0
