"""The target `train`, with real Snakemake."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.workflow


def test_train_is_a_target(cells, tmp_path, snakemake):
    volume = {
        "raw": {"path": str(cells.folder / "image_t0.tif")},
        "label": {"path": str(cells.folder / "truth_t0.tif")},
    }
    training = {
        "output": "model",
        "train": [volume],
        "validate_on": [volume],
        "network": {"f_maps": [4, 8], "layer_order": "bcr"},
        "patch": [8, 16, 16],
        "epochs": 1,
        "iterations": 2,
    }
    (tmp_path / "train.yaml").write_text(json.dumps(training))
    (tmp_path / "config.yaml").write_text(json.dumps({"samples": {"a": {"input": volume["raw"]}}}))
    done = snakemake(tmp_path, "train", "--config", "training=train.yaml")
    assert done.status == 0, done.text
    assert (tmp_path / "model" / "rdf.yaml").exists()
    assert json.loads((tmp_path / "model" / "training" / "outcome.json").read_text())["epochs"] == 1
    again = snakemake(tmp_path, "train", "--config", "training=train.yaml")
    assert "Nothing to be done" in again.text
    settings = {"samples": {"a": {"input": volume["raw"]}}, "execution": {"device": "cpu"}}
    (tmp_path / "config.yaml").write_text(json.dumps(settings))
    elsewhere = snakemake(tmp_path, "train", "--config", "training=train.yaml")
    assert "Nothing to be done" in elsewhere.text
    (tmp_path / "train.yaml").write_text(json.dumps({**training, "epoch": 2}))
    wrong = snakemake(tmp_path, "train", "--config", "training=train.yaml")
    assert wrong.status != 0
    assert "did you mean 'epochs'" in wrong.text
