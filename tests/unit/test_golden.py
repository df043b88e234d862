"""Digests of what every step makes of one tiny volume: a step whose output changes needs a new version.

Without a new version finished runs would keep what the old code made, because Snakemake does not see edits of modules.
After raising ``version`` write the digests again:

    BIGSEG_WRITE_GOLDEN=1 python -m pytest tests/unit/test_golden.py

The volume is made of integers alone. Fractions in tables are rounded to nine digits before they are hashed, for
libraries sum and take roots in an order and precision of the processor's own. What remains is that a compiler for
another kind of processor (not x86-64) may round the smoothing of image and distances otherwise, and so move a voxel.
The report is left out: it tells the time.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from pipeline_checks import NAME, WITHOUT_REPORT, Settings, digests, layout

from bigseg.local import run_here
from bigseg.planning.workflow import Workflow
from bigseg.resume.digest import digest_json
from bigseg.stages import STEPS

GOLDEN = Path(__file__).parent / "golden.json"
WRITE = bool(os.environ.get("BIGSEG_WRITE_GOLDEN"))
SHAPE = (10, 36, 40)
BLOCKS = [10, 18, 40]
OF_BLOCKS = ("overlaps", "contacts")
"""What blocks tell to stage track."""


def volume() -> tuple[np.ndarray, np.ndarray]:
    """Walls between the cells of an anisotropic Voronoi diagram, some of them faint, with noise; integers only."""
    state, numbers = 12345, []
    for _ in range(3 * 24):
        state = (1103515245 * state + 12345) % (1 << 31)
        numbers.append(state >> 16)
    seeds = np.array(numbers).reshape(-1, 3) % np.array(SHAPE)
    grid = np.indices(SHAPE)
    offsets = (grid[None] - seeds[:, :, None, None, None]) * np.array([2, 1, 1])[:, None, None, None]
    distances = (offsets**2).sum(axis=1)
    order = np.argsort(distances, axis=0, kind="stable")
    first, second = np.take_along_axis(distances, order[:2], axis=0)
    wall = np.clip(230 - 6 * (second - first), 0, None)
    faint = (order[0] + order[1]) % 7 == 0
    noise = (grid * np.array([7919, 104729, 1299709])[:, None, None, None]).sum(axis=0) ** 2 % 251 % 24
    return (np.where(faint, wall // 3, wall) + noise).astype(np.uint8), (order[0] + 1).astype(np.uint16)


def rounded(value: Any) -> Any:
    """JSON whose fractions have nine digits."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def table(path: Path) -> Any:
    return rounded(pd.read_parquet(path).to_dict(orient="list"))


def read(path: Path) -> Any:
    return rounded(json.loads(path.read_text(encoding="utf-8")))


def outputs(config: Settings) -> dict[str, Any]:
    """What each step made, as JSON; for steps that write voxels and integers the digests in their markers."""
    made: dict[str, Any] = {}
    for (step, _, piece), digest in sorted(digests(config).items(), key=str):
        made.setdefault(step, {})[piece] = digest
    place, blocks = layout(config), range(2)
    folders = [place.result, place.labels().parent.parent, place.labels().parent]
    tables = {
        "graph.blocks": [place.table("graph", name, 0, block) for block in blocks for name in ("nodes", "edges")],
        "partition.root": [place.table("partition", "map", 0)],
        "measure.blocks": [place.table("measure", "objects", 0, block) for block in blocks],
        "measure.table": [place.result_folder / "objects.parquet"],
    }
    return {
        **made,
        **{step: [table(path) for path in paths] for step, paths in tables.items()},
        "ingest.statistics": read(place.statistics(0)),
        "pyramid.metadata": [read(folder / "zarr.json") for folder in folders],
        "evaluate.scores": read(place.scores),
        "seams.summary": read(place.seams),
    }


def run_tiny() -> tuple[Workflow, dict[str, Any]]:
    """Run the tiny volume in the working directory: relative paths, because they are part of the metadata."""
    image, truth = volume()
    with h5py.File("cells.h5", "w") as file:
        file["raw"], file["label"] = image, truth
        file["raw"].attrs["element_size_um"] = [0.5, 0.25, 0.25]
    sample = {"input": {"path": "cells.h5", "key": "raw"}, "truth": {"path": "cells.h5", "key": "label"}}
    config = {
        "samples": {NAME: sample},
        "results": "results",
        "work": "work",
        "blocks": {"block_shape": BLOCKS},
        "pyramid": {"smallest": 20},
        "supervoxels": {"minimum_size": 20},
        "segment": {"minimum_object_size": 300},
        "partition": {"levels": 1},
    }
    workflow = Workflow(config, "golden")
    run_here(workflow, WITHOUT_REPORT)
    return workflow, outputs(config)


def run_lifted() -> tuple[Workflow, dict[str, Any]]:
    """The steps that only a lifted multicut has, on the file of the tiny volume; its cells stand for nuclei."""
    config = {
        "samples": {
            NAME: {"input": {"path": "cells.h5", "key": "raw"}, "nuclei": {"path": "cells.h5", "key": "label"}}
        },
        "results": "lifted/results",
        "work": "lifted/work",
        "blocks": {"block_shape": BLOCKS},
        "supervoxels": {"minimum_size": 20},
        "partition": {"levels": 1, "method": "lifted_multicut", "lifted": {"minimum_overlap": 0.5}},
    }
    workflow = Workflow(config, "golden")
    run_here(workflow, ("ingest", "predict", "supervoxels", "graph", "partition"))
    place, blocks = layout(config), range(2)
    tables = {
        "graph.evidence": ("graph", "evidence"),
        "partition.lifted": ("partition", "lifted"),
        "partition.energy": ("partition", "energy"),
    }
    made = {
        step: [table(place.table(stage, name, 0, block)) for block in blocks] for step, (stage, name) in tables.items()
    }
    return workflow, {**made, "partition.quality": read(place.multicut_quality(0))}


def run_nuclei() -> tuple[Workflow, dict[str, Any]]:
    """The steps that only a foreground with a threshold of its own has; the cells of the tiny volume, dark between."""
    image, _ = volume()
    with h5py.File("nuclei.h5", "w") as file:
        file["raw"] = 255 - image
        file["raw"].attrs["element_size_um"] = [0.5, 0.25, 0.25]
    config = {
        "samples": {NAME: {"input": {"path": "nuclei.h5", "key": "raw"}}},
        "results": "nuclei/results",
        "work": "nuclei/work",
        "blocks": {"block_shape": BLOCKS},
        "predict": {"invert": True},
        "supervoxels": {"foreground_threshold": "otsu", "foreground_window": 6},
    }
    workflow = Workflow(config, "golden")
    run_here(workflow, ("ingest", "predict", "supervoxels"))
    place, blocks = layout(config), range(2)
    return workflow, {
        "supervoxels.histogram": [table(place.table("supervoxels", "histogram", 0, block)) for block in blocks],
        "supervoxels.threshold": read(place.foreground_threshold(0)),
    }


def run_crest() -> tuple[Workflow, dict[str, Any]]:
    """Supervoxels whose boundaries are drawn on the crest of the image, of the tiny volume."""
    config = {
        "samples": {NAME: {"input": {"path": "cells.h5", "key": "raw"}}},
        "results": "crest/results",
        "work": "crest/work",
        "blocks": {"block_shape": BLOCKS},
        "supervoxels": {"minimum_size": 20, "crest": {"weight": 40.0}},
    }
    workflow = Workflow(config, "golden")
    run_here(workflow, ("ingest", "predict", "supervoxels"))
    return workflow, {
        "supervoxels.blocks": {
            piece: digest for (step, _, piece), digest in digests(config).items() if step == "supervoxels.blocks"
        }
    }


def run_movie() -> tuple[Workflow, dict[str, Any]]:
    """The steps of tracking: the cells of the tiny volume move, and are chosen while they are linked."""
    image, truth = volume()
    with h5py.File("movie.h5", "w") as file:
        for name, values in (("raw", image), ("label", truth)):
            file[name] = np.stack([np.roll(values, (t, 2 * t), (1, 2)) for t in range(5)])
        file["raw"].attrs["element_size_um"] = [0.5, 0.25, 0.25]
    config = {
        "samples": {
            NAME: {
                "input": {"path": "movie.h5", "key": "raw", "axes": "tzyx"},
                "truth": {"path": "movie.h5", "key": "label", "axes": "tzyx"},
            }
        },
        "results": "movie/results",
        "work": "movie/work",
        "blocks": {"block_shape": BLOCKS},
        "pyramid": {"smallest": 20},
        "supervoxels": {"minimum_size": 20},
        "partition": {"beta": 0.8},
        "track": {"method": "joint", "drift": True, "window": 2, "joint": {"context": 1}},
    }
    workflow = Workflow(config, "golden")
    run_here(workflow, [stage for stage in WITHOUT_REPORT if stage != "seams"])
    place, last, blocks = layout(config), 4, range(2)
    detections = ("fragments", "contacts", "candidates", "nesting")
    links = ("links", "divisions", "appearance", "disappearance", "scale")
    solved = {
        step: [
            table(place.table("track", f"{step}-{part}", None, piece))
            for piece in range(number)
            for part in ("events", "taken")
        ]
        for step, number in (("windows", 2), ("junctions", 1))
    }
    made: dict[str, Any] = {}
    for (step, _, piece), digest in sorted(digests(config).items(), key=str):
        made.setdefault(step, {})[piece] = digest
    return workflow, {
        **{step: made[step] for step in ("track.blocks", "pyramid.tracks1", "evaluate.track_overlaps")},
        "evaluate.tracks": read(place.tracking_scores),
        "track.drift": read(place.drift(last)),
        **{f"track.{name}": [table(place.table("track", name, last, b)) for b in blocks] for name in OF_BLOCKS},
        "track.detections": [table(place.table("track", name, last)) for name in detections],
        "track.links": [table(place.table("track", name, last)) for name in links],
        **{f"track.{step}": tables for step, tables in solved.items()},
        "track.lineages": [table(place.table("track", name, last)) for name in ("lineages", "numbered", "names")],
        "track.table": table(place.track_table),
        "track.exports": (place.result_folder / "res_track.txt").read_text(encoding="ascii"),
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[tuple[Workflow, dict[str, Any]]]:
    """The finished runs and what each step made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("golden"))
        return [run_tiny(), run_lifted(), run_nuclei(), run_movie(), run_crest()]


@pytest.fixture(scope="module")
def steps(runs) -> dict[str, dict[str, Any]]:
    """Version, digests (one for each run that makes it) and upstream steps of each step, in order."""
    found: dict[str, dict[str, Any]] = {}
    for workflow, made in runs:
        for name in workflow.steps(NAME):
            if name in made:
                step = workflow.step(name, NAME, 0)
                told = found.setdefault(name, {"version": step.version, "digest": "", "needs": set()})
                told["needs"] |= {need.step for piece in range(step.number_of_pieces) for need in step.needs(piece)}
                told["digest"] = " ".join([*told["digest"].split(), digest_json(made[name])[:16]])
    return found


def complaints(found: dict[str, dict[str, Any]], golden: dict[str, dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Steps whose output changed by their own doing although the version did not, and all that is out of date.

    A step whose upstream steps changed may well change with them.
    """
    unnamed, stale = [], []
    for name, step in found.items():
        known = golden.get(name)
        if known is not None and known == {key: step[key] for key in known}:
            continue
        stale.append(name)
        own = not any(need in stale for need in step["needs"])
        if own and known is not None and known["version"] == step["version"]:
            unnamed.append(name)
    return unnamed, stale + [name for name in golden if name not in found]


def test_a_changed_output_has_a_new_version(steps):
    golden = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    unnamed, stale = complaints(steps, golden)
    assert not unnamed, "the output changed: raise the version of " + ", ".join(f"stage {name}" for name in unnamed)
    if WRITE:
        kept = {name: {key: step[key] for key in ("version", "digest")} for name, step in steps.items()}
        GOLDEN.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        stale = []
    assert not stale, f"{', '.join(stale)}: write the digests again with BIGSEG_WRITE_GOLDEN=1"


def test_every_step_has_a_digest(steps):
    assert {name for name in STEPS if not name.startswith("report.")} <= set(steps)
    assert {"partition.level0", "pyramid.image1", "pyramid.labels1", "pyramid.tracks1"} <= set(steps)


def test_the_tiny_runs_test_something(runs):
    """Supervoxels are joined, small objects merged, lifted edges attract and repel, and scores are not perfect."""
    (_, made), (_, lifted), (_, nuclei), (_, movie), (_, crest) = runs
    (measured,) = made["measure.table"]
    (left,) = made["partition.root"]
    supervoxels = sum(len(nodes["id"]) for nodes in made["graph.blocks"][::2])
    assert crest["supervoxels.blocks"] != made["supervoxels.blocks"]
    assert 10 < len(measured["object"]) < len(left["id"]) < supervoxels
    costs = [cost for part in lifted["partition.lifted"] for cost in part["value"]]
    assert min(costs) < 0 < max(costs)
    assert 0.2 < nuclei["supervoxels.threshold"]["share_above"] < 0.9
    assert 0 < made["evaluate.scores"]["adapted_rand_error"] < 0.7
    tracks = movie["track.table"]
    assert max(tracks["end"]) == 4
    assert any(start < end for start, end in zip(tracks["start"], tracks["end"], strict=True))
    assert len(movie["track.detections"][2]["id"]) > len(movie["track.detections"][0]["id"]), "candidates, nested"


def test_complaints():
    """The rule itself."""

    def step(version: int, digest: str, *needs: str) -> dict[str, Any]:
        return {"version": version, "digest": digest, "needs": list(needs)}

    golden = {"a": {"version": 1, "digest": "x"}, "b": {"version": 1, "digest": "y"}}
    assert complaints({"a": step(1, "x"), "b": step(1, "y", "a")}, golden) == ([], [])
    assert complaints({"a": step(1, "z"), "b": step(1, "w", "a")}, golden) == (["a"], ["a", "b"])
    assert complaints({"a": step(2, "z"), "b": step(1, "w", "a")}, golden) == ([], ["a", "b"])
    assert complaints({"a": step(1, "x"), "b": step(1, "w", "a")}, golden) == (["b"], ["b"])
    assert complaints({"a": step(2, "x"), "b": step(1, "y", "a")}, golden) == ([], ["a"])
    assert complaints({"a": step(1, "x"), "c": step(1, "q", "a")}, golden) == ([], ["c", "b"])
