"""What `bigseg clean` removes: what steps wrote that only later steps read, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pipeline_checks import BLOCKS, changed, layout, settings

from bigseg.errors import UserError
from bigseg.planning.workflow import Workflow
from bigseg.runner import run_unit
from bigseg.upkeep.clean import clean, plan_cleaning

ABOUT = ("status", "ledger", "locks", "attempts", "cleaned")
"""Folders that hold no output but what is known of it."""


def files(folder: Path) -> dict[Path, int]:
    """All files of output, and when they were written."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] not in ABOUT)
    return {path: path.stat().st_mtime_ns for path in found}


def test_what_passing_steps_wrote_goes_and_all_else_stays(cells, tmp_path):
    """Observed while each job runs: every file belongs to the step that was running when it came."""
    for t in range(2):
        for kind in ("image", "truth"):
            shutil.copy2(cells.folder / f"{kind}_t{t}.tif", tmp_path)
    sample = {
        role: {"path": f"{tmp_path}/{kind}_t{{t}}.tif"}
        for role, kind in (("input", "image"), ("truth", "truth"), ("nuclei", "truth"))
    }
    config = settings(
        tmp_path, sample, blocks=BLOCKS, pyramid={"smallest": 32}, track={"method": "volume", "drift": True}
    )
    config = changed(config, partition={"method": "lifted_multicut", "levels": 1})
    place = layout(config)
    workflow, known, passing, lasting = Workflow(config, "test"), {}, set(), set()
    for name, _, time, batch in workflow.jobs():
        if name.startswith("report."):
            continue
        step = workflow.step(name, "a", time)
        run_unit(step, batch, 1)
        now = files(place.folder)
        (passing if step.passing else lasting).update(path for path in now if path not in known)
        known = now
    steps = {step.name for step in (workflow.step(name, "a", None) for name in workflow.steps("a")) if step.passing}
    assert steps >= {"track.drift", "track.contacts", "partition.level0", "partition.lifted", "graph.evidence"}
    assert {path.relative_to(place.folder).parts[0] for path in lasting} >= {"ingest", "partition", "track", "measure"}
    with pytest.raises(UserError, match="is not done"):
        plan_cleaning(workflow, "a")
    for name in ("page", "provenance"):
        run_unit(workflow.step(f"report.{name}", "a", None), None, 1)
    reported = set(files(place.folder)) - set(known)
    plan = plan_cleaning(Workflow(config, "test"), "a")
    assert plan.size == sum(path.stat().st_size for path in passing)
    clean(plan)
    assert set(files(place.folder)) == lasting | reported


def test_tables_of_another_method_go_as_well(finished):
    left = [layout(finished).table(*at) for at in (("partition", "energy", 0, 1), ("graph", "evidence", 0, 0))]
    left.append(layout(finished).table("partition", "level0-nodes", 0, 1))
    for path in left:
        path.write_bytes(b"of an earlier configuration")
    assert set(left) <= set(plan_cleaning(Workflow(finished, "test"), "a").paths)
    assert all(path.exists() for path in left)
