"""What tests of whole runs in this process share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from bigseg.layout import Layout
from bigseg.local import run_here
from bigseg.planning.workflow import Workflow
from bigseg.runner import Summary

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
NAME = "a"
WITHOUT_REPORT = (
    "ingest",
    "predict",
    "supervoxels",
    "graph",
    "partition",
    "segment",
    "pyramid",
    "measure",
    "track",
    "evaluate",
    "seams",
)
"""Drawing pictures takes longer than all the rest on the small volumes of the tests."""

BLOCKS = {"block_shape": [24, 32, 32]}
NUMBER_OF_BLOCKS = 4
"""Of the tissue that the tests share."""
HERE = {"results": "results", "work": "work"}
"""Relative folders, so that a finished run may be copied to another place."""

Settings = dict[str, Any]


def settings(folder: Path, sample: dict[str, Any], **sections: Any) -> Settings:
    """A configuration whose results and intermediates lie in ``folder``."""
    return {"samples": {NAME: sample}, "results": str(folder / "results"), "work": str(folder / "work"), **sections}


def changed(before: Settings, **sections: dict[str, Any]) -> Settings:
    """The configuration with some keys of some sections changed."""
    return {**before, **{name: {**before.get(name, {}), **section} for name, section in sections.items()}}


def run(config: Settings, stages: tuple[str, ...] | None = WITHOUT_REPORT) -> dict[str, Summary]:
    """Run the jobs in this process, those of all stages if ``stages`` is None."""
    return run_here(Workflow(config, "test"), stages)


def done(config: Settings, stages: tuple[str, ...] | None = WITHOUT_REPORT) -> dict[str, int]:
    """Run, and tell how many pieces each step did that did any."""
    return {step: summary.done for step, summary in run(config, stages).items() if summary.done}


def layout(config: Settings) -> Layout:
    """Where the files are."""
    return Layout(Path(config["results"]), Path(config["work"]), NAME)


def labels(config: Settings, level: int = 0) -> np.ndarray:
    """The labels (t, z, y, x)."""
    return zarr.open_array(str(layout(config).labels(level)), mode="r")[...]


def scores(config: Settings) -> dict[str, Any]:
    """What was scored."""
    return json.loads(layout(config).scores.read_text())


def measured(config: Settings) -> pd.DataFrame:
    """The table of objects."""
    return pd.read_parquet(layout(config).result_folder / "objects.parquet")


def digests(config: Settings) -> dict[tuple[str, int | None, str], str]:
    """The digest of every piece by step, time point and number, whatever the batches."""
    found = {}
    for path in sorted((layout(config).folder / "status").rglob("*.json")):
        marker = json.loads(path.read_text())
        for piece, digest in marker["digests"].items():
            found[marker["step"], marker["time"], piece] = digest
    return found


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two label images differ in their ids at most; 0 is 0 in both."""
    pairs = np.unique(np.stack([one.reshape(-1), other.reshape(-1)]).astype(np.uint64), axis=1)
    distinct = len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    return distinct and bool((one[other == 0] == 0).all()) and bool((other[one == 0] == 0).all())
