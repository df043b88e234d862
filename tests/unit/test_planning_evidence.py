"""Maps that are given to a method that does not use them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from pipeline_checks import settings

from bigseg.cli import main
from bigseg.config.samples import MAPS_USED, Sample, evidence_roles
from bigseg.planning.workflow import Workflow

LIFTED, EITHER = "lifted_multicut", "lifted_multicut or mutex_watershed"


@pytest.fixture
def sample(tmp_path) -> dict[str, object]:
    """An image with all the maps that there are."""
    path = tmp_path / "maps.h5"
    with h5py.File(path, "w") as file:
        for role in ("input", "nuclei", "semantic"):
            file[role] = np.zeros((4, 16, 16), np.uint8)
        file["affinities"] = np.zeros((1, 4, 16, 16), np.uint8)
    found = {role: {"path": str(path), "key": role} for role in ("input", "nuclei", "semantic")}
    return {**found, "affinities": {"path": str(path), "key": "affinities", "axes": "czyx", "offsets": [[0, 0, 1]]}}


@pytest.mark.parametrize(
    ("method", "unused"),
    [
        ("gasp", {"nuclei": LIFTED, "semantic": LIFTED, "affinities": EITHER}),
        ("multicut", {"nuclei": LIFTED, "semantic": LIFTED, "affinities": EITHER}),
        ("mutex_watershed", {"nuclei": LIFTED, "semantic": LIFTED}),
        ("lifted_multicut", {}),
    ],
)
def test_one_line_for_each(tmp_path, sample, method, unused):
    workflow = Workflow(settings(tmp_path, sample, partition={"method": method}), "test")
    assert workflow.warnings() == [
        f"samples.a.{role} is not used: partition.method is {method}; set it to {remedy}"
        for role, remedy in unused.items()
    ]


def test_a_sample_without_maps_is_told_nothing(tmp_path, sample):
    assert Workflow(settings(tmp_path, {"input": sample["input"]}), "test").warnings() == []


def test_each_map_is_used_by_a_method_and_says_by_which(sample):
    given = Sample.model_validate(sample)
    for method, roles in MAPS_USED.items():
        assert evidence_roles(given, method) == list(roles)
        for role in roles:
            assert f"{method}`" in Sample.model_fields[role].description


def test_status_tells_on_standard_error(tmp_path, sample, monkeypatch, capsys):
    file = Path(tmp_path, "config.yaml")
    file.write_text(json.dumps(settings(tmp_path, {"input": sample["input"], "nuclei": sample["nuclei"]})))
    monkeypatch.setattr(sys, "argv", ["bigseg", "status", "--json", "--config", str(file)])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    assert caught.value.code == 0
    assert set(json.loads(out)) == {"a"}
    assert err == f"bigseg: samples.a.nuclei is not used: partition.method is gasp; set it to {LIFTED}\n"


def test_labels_beside_an_image_are_found_without_a_key(tmp_path):
    """The default dataset of an HDF5 file is the image; for a label volume it is the labels."""
    image = np.random.default_rng(0).integers(0, 255, (8, 16, 16)).astype(np.uint8)
    with h5py.File(tmp_path / "both.h5", "w") as file:
        file["raw"], file["label"] = image, (image > 100).astype(np.uint16)
    place = {"path": str(tmp_path / "both.h5")}
    config = settings(tmp_path, {"input": {**place, "key": "raw"}, "truth": place, "mask": place, "nuclei": place})
    sample = Workflow(config, "test").plans["a"].sample
    assert [getattr(sample, role).key for role in ("truth", "mask", "nuclei")] == ["label"] * 3
    assert sample.input.key == "raw"
