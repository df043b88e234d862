"""Damage, regions and cleaning as users meet them: what Snakemake plans and runs afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from workflow_checks import configuration, markers, prepare

pytestmark = pytest.mark.workflow


def bigseg(command, folder: Path, *arguments: str) -> Any:
    """What a command prints with ``--json``."""
    done = command(folder, "bigseg", *arguments, "--json")
    assert done.status == 0, done.text
    return json.loads(done.output)


def test_what_is_damaged_is_made_again_by_its_jobs_alone(finished, command, snakemake):
    """By the commands that `bigseg verify --fix` and `bigseg invalidate` print."""
    before = markers(finished)
    work = finished / "work" / "cells"
    (work / "predict.zarr" / "boundary" / "c" / "0" / "0" / "1" / "1").unlink()
    table = work / "graph" / "t0001" / "edges-000000.parquet"
    table.write_bytes(table.read_bytes()[:-20])
    assert command(finished, "bigseg", "verify").status == 1
    assert "Nothing to be done" in snakemake(finished, "-n").text, "Snakemake looks at no store"

    first, then = bigseg(command, finished, "verify", "--fix")["commands"]
    lost = snakemake(finished, "-n").jobs
    assert (lost["predict"], lost["graph"]) == (1, 3), "told nothing, Snakemake plans all that comes after, too"
    assert first.startswith("snakemake --cores all work/cells/status/")
    done = snakemake(finished, *first.split()[3:])
    assert done.status == 0, done.text
    assert done.jobs == {"predict": 1, "graph": 1}
    marked = bigseg(command, finished, "invalidate", "--roi", "0:2,0:2,0:2", "--time", "1")["commands"][0]
    assert snakemake(finished, *marked.split()[3:]).jobs == {"ingest": 1}
    for stage, time, batch in (("predict", 0, "000002-000003"), ("graph", 1, "000000-000001")):
        log = (work / "logs" / stage / f"t000{time}" / f"blocks-{batch}.log").read_text()
        assert f"{stage}.blocks: 1 done, 1 unchanged" in log
    assert then == "snakemake --cores all"
    assert "Nothing to be done" in snakemake(finished).text
    assert markers(finished) == before
    assert bigseg(command, finished, "verify")["damaged"] == []


def test_one_run_at_a_time_whatever_the_folder(finished, snakemake, environment):
    """Snakemake locks the folder that it runs in; the intermediates may be those of another one."""
    (finished / "work" / "cells" / "status" / "measure" / "all" / "table.json").unlink()
    lock = finished / "work" / "cells" / "locks" / "run.lock"
    code = (
        "import sys; from pathlib import Path; from bigseg.resume.locks import run_locked\n"
        f"with run_locked(Path({str(lock)!r}), 'cells'):\n print('held', flush=True); sys.stdin.read()"
    )
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    holder = subprocess.Popen([sys.executable, "-c", code], **pipes)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    refused = snakemake(finished)
    assert refused.status != 0
    assert f"another run works on sample 'cells' (process {holder.pid} on" in refused.text
    assert "Traceback" not in refused.text
    assert snakemake(finished, "-n").status == 0
    holder.communicate()
    assert snakemake(finished).status == 0


def test_after_cleaning_only_what_needs_it_is_made_again(finished, command, snakemake, cells):
    before, results = markers(finished), sizes(finished / "results")
    planned = bigseg(command, finished, "clean", "--dry-run")
    assert (finished / "work" / "cells" / "predict.zarr").exists()
    refused = command(finished, "bigseg", "clean")
    assert refused.status != 0, "nobody there to answer"
    assert markers(finished) == before
    removed = bigseg(command, finished, "clean", "--yes")
    assert removed == {**planned, "dry_run": False}
    work = sizes(finished / "work" / "cells")
    for gone in (
        "predict.zarr",
        "supervoxels.zarr",
        "graph/",
        "partition/",
        "segment/",
        "status/graph",
        "ledger/graph",
    ):
        assert not any(path.startswith(gone) for path in work), gone
    assert sizes(finished / "results") == results
    assert removed["bytes"] > sum(work.values()) / 10
    assert "Nothing to be done" in snakemake(finished, "-n").text

    made = json.loads((finished / "results" / "cells" / "provenance.json").read_text())["steps"]
    (finished / "config.yaml").write_text(json.dumps({**configuration(), "report": {"planes": 2}}))
    done = snakemake(finished)
    assert done.status == 0, done.text
    assert set(done.jobs) == {"report", "report_provenance"}
    assert json.loads((finished / "results" / "cells" / "provenance.json").read_text())["steps"] == made

    prepare(finished, cells, configuration(), 3)
    planned = snakemake(finished, "-n")
    assert planned.jobs["predict"] == planned.jobs["graph"] == planned.jobs["measure"] == 2, planned.text
    assert planned.jobs["segment_objects"] == planned.jobs["partition"] == 1
    for kind in ("image", "truth"):
        (finished / "files" / f"{kind}_t2.tif").unlink()

    config = json.loads((finished / "config.yaml").read_text())
    (finished / "config.yaml").write_text(json.dumps({**config, "partition": {"beta": 0.6}}))
    planned = snakemake(finished, "-n")
    assert (planned.jobs["partition"], planned.jobs["supervoxels"], planned.jobs["predict"]) == (2, 4, 4)
    assert "ingest" not in planned.jobs


def sizes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def test_a_sample_that_is_not_done_is_not_cleaned(finished, command):
    before = sizes(finished)
    (finished / "work" / "cells" / "status" / "measure" / "all" / "table.json").unlink()
    refused = command(finished, "bigseg", "clean", "--yes")
    assert refused.status == 2
    assert "is not done (1 jobs to do, the first of measure.table)" in refused.errors
    assert sizes(finished).keys() >= {path for path in before if not path.endswith("table.json")}
