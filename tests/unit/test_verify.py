"""Everything that is stored can be hashed again, and whatever is damaged is found, marked and made again, alone."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_checks import Settings, changed, digests, done, labels, layout, run
from pipeline_checks import settings as configuration
from typer.testing import CliRunner
from upkeep_checks import cut_short, delete, flip, found, jobs, mended, verified

from bigseg.cli import app
from bigseg.errors import UserError
from bigseg.planning.states import job_states
from bigseg.planning.workflow import Workflow
from bigseg.resume.ledger import Ledger, Record
from bigseg.runner import run_unit
from bigseg.stages import find_step
from bigseg.sweeping.scoring import count_overlaps
from bigseg.upkeep.clean import clean, plan_cleaning
from bigseg.upkeep.jobs import Selection
from bigseg.volumes.tables import read_checked, read_table, write_table

HERE = {"results": "results", "work": "work"}
"""Relative folders, so that a finished run may be copied to another place."""


@pytest.fixture(scope="module")
def first_run(cells, tmp_path_factory) -> tuple[Settings, Path]:
    """A finished run with its report that has every kind of step but a network's; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("first")
    sample = {role: {"path": str(cells.folder / f"{file}_t0.tif")} for role, file in ROLES.items()}
    config = configuration(
        folder,
        sample,
        blocks={"block_shape": [24, 32, 32]},
        pyramid={"smallest": 32},
        partition={"method": "lifted_multicut", "levels": 1},
        execution={"batches": 2},
    )
    config = {**config, **HERE}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(config, None)
    return config, folder


ROLES = {"input": "image", "truth": "truth", "nuclei": "truth"}


@pytest.fixture
def finished(first_run, tmp_path, monkeypatch) -> Settings:
    config, folder = first_run
    for key in HERE:
        shutil.copytree(folder / key, tmp_path / key)
    monkeypatch.chdir(tmp_path)
    return config


def files() -> dict[str, bytes]:
    """Content of all files in the working directory but ledgers, locks and logs, which tell of times."""
    kept = (path for path in Path().rglob("*") if path.is_file() and not {"ledger", "locks"} & set(path.parts))
    return {str(path): path.read_bytes() for path in kept}


def test_every_step_hashes_what_it_stored_to_what_it_recorded(finished):
    before = files()
    result = verified(finished)
    assert not result.findings
    assert result.not_done == 0
    everything = [(job, piece) for job in jobs(finished) for piece in job.pieces]
    assert result.checked == len(everything) == len(digests(finished))
    for job, piece in everything:
        assert job.step.rehash(piece, job.records[piece]) == job.records[piece].digest
    assert files() == before, "verifying writes nothing"
    assert {job.step.name for job in jobs(finished)} >= {
        "partition.lifted",
        "partition.level0",
        "partition.energy",
        "graph.evidence",
    }


STORED: dict[tuple[str, int], str] = {
    ("ingest.blocks", 0): "results/a.ome.zarr/0/c/0/0/0/0/0",
    ("ingest.blocks", 2): "work/a/ingest/t0000/histogram-000002.parquet",
    ("ingest.statistics", 0): "work/a/ingest/t0000/merged-histogram-c0.parquet",
    ("predict.blocks", 1): "work/a/predict.zarr/boundary/c/0/0/0/1",
    ("supervoxels.blocks", 2): "work/a/supervoxels.zarr/labels/c/0/0/1/0",
    ("supervoxels.blocks", 3): "work/a/supervoxels.zarr/continues/c/0/0/1/1",
    ("graph.blocks", 0): "work/a/graph/t0000/nodes-000000.parquet",
    ("graph.blocks", 1): "work/a/graph/t0000/across-000001.parquet",
    ("graph.evidence", 3): "work/a/graph/t0000/evidence-000003.parquet",
    ("partition.lifted", 1): "work/a/partition/t0000/lifted-000001.parquet",
    ("partition.lifted", 0): "work/a/partition/t0000/lifted_across-000000.parquet",
    ("partition.level0", 0): "work/a/partition/t0000/level0-map-000000.parquet",
    ("partition.level0", 2): "work/a/partition/t0000/level0-rim-nodes-000002.parquet",
    ("partition.root", 0): "work/a/partition/t0000/map.parquet",
    ("partition.energy", 1): "work/a/partition/t0000/energy-000001.parquet",
    ("partition.quality", 0): "work/a/partition/t0000/quality.json",
    ("segment.contacts", 3): "work/a/segment/t0000/contacts-000003.parquet",
    ("segment.blocks", 1): "results/a.ome.zarr/labels/segmentation/0/c/0/0/0/1",
    ("pyramid.image1", 0): "results/a.ome.zarr/1/c/0/0/0/0/0",
    ("pyramid.labels1", 0): "results/a.ome.zarr/labels/segmentation/1/c/0/0/0/0",
    ("pyramid.metadata", 0): "results/a.ome.zarr/labels/segmentation/zarr.json",
    ("measure.blocks", 2): "work/a/measure/t0000/objects-000002.parquet",
    ("measure.table", 0): "results/a/objects.parquet",
    ("evaluate.blocks", 0): "work/a/evaluate/t0000/pairs-000000.parquet",
    ("evaluate.scores", 0): "results/a/scores.json",
    ("seams.blocks", 1): "work/a/seams/t0000/surface-000001.parquet",
    ("seams.summary", 0): "results/a/seams.json",
}


def test_what_is_gone_is_missed_by_its_piece_alone(finished):
    """What the runner asks of every piece that a ledger records."""
    everything = [(job.step, piece, job.records[piece]) for job in jobs(finished) for piece in job.pieces]
    assert all(step.intact(piece, record) for step, piece, record in everything)
    for path in STORED.values():
        delete(Path(path))
    assert {(step.name, piece) for step, piece, record in everything if not step.intact(piece, record)} == set(STORED)


@pytest.mark.parametrize("damage", [delete, cut_short, flip])
def test_damage_is_found_where_it_is_and_made_again_alone(finished, damage):
    """A file of every step at once: each is found with its piece, and a run makes these and nothing else."""
    before = files()
    for path in STORED.values():
        damage(Path(path))
        assert not Path(path).exists() or Path(path).read_bytes() != before[path]
    assert found(finished) == set(STORED)
    gone = mended(finished)
    assert gone
    assert not any(path.exists() for path in gone)
    assert set(Workflow(finished, "test").lost()) == set(map(str, gone)), "Snakemake is told of just these"
    made = done(finished)
    assert made == dict(Counter(step for step, _ in STORED))
    after = files()
    assert {path for path in before if after.get(path) != before[path]} == set()
    assert not verified(finished).findings


def test_a_report_that_was_changed(finished):
    page = Path("results/a/report.html")
    page.write_text(page.read_text().replace("Objects", "Subjects"))
    assert found(finished) == {("report.page", 0)}
    mended(finished)
    assert done(finished, None) == {"report.page": 1}
    assert not verified(finished).findings


def test_output_of_another_block_is_found(finished):
    """Whole files, checksums and all, in the wrong place."""
    for folder, one, other in (
        ("work/a/predict.zarr/boundary/c/0/0", "0/0", "1/1"),
        ("work/a/supervoxels.zarr/labels/c/0/0", "0/0", "1/1"),
        ("work/a/graph/t0000", "edges-000000.parquet", "edges-000003.parquet"),
    ):
        shutil.copy2(Path(folder) / one, Path(folder) / other)
    assert found(finished) == {("predict.blocks", 3), ("supervoxels.blocks", 3), ("graph.blocks", 3)}


MARKERS: dict[str, Any] = {
    "garbage": lambda path: path.write_text("{"),
    "of another step": lambda path: shutil.copy2(str(path).replace("graph", "predict"), path),
    "other digests": lambda path: path.write_text(path.read_text().replace('": "', '": "0')),
    "without a block": lambda path: path.write_text(drop_last(path.read_text())),
}


def drop_last(text: str) -> str:
    marker = json.loads(text)
    marker["digests"].popitem()
    return json.dumps(marker)


@pytest.mark.parametrize("what", MARKERS)
def test_a_damaged_or_foreign_marker_is_found_and_written_again_without_work(finished, what):
    before = files()
    path = Path("work/a/status/graph/t0000/blocks-000002-000003.json")
    MARKERS[what](path)
    assert path.read_text() != before[str(path)].decode()
    (finding,) = verified(finished).findings
    assert (finding.job.marker, finding.piece) == (path, None)
    assert "blocks 000002-000003" in finding.where
    assert mended(finished) == [path]
    assert done(finished) == {}
    assert files() == before


def test_a_foreign_or_lost_ledger_is_found(finished, first_run):
    before = files()
    path = Path("work/a/ledger/predict/t0000/blocks-000002-000003.jsonl")
    path.unlink()
    assert found(finished) == {("predict.blocks", 2), ("predict.blocks", 3)}
    shutil.copy2(first_run[1] / path, path)
    ledger = Ledger(path)
    ledger.append(Record(3, "another key", "another digest"))
    ledger.close()
    assert found(finished) == {("predict.blocks", None), ("predict.blocks", 3)}
    mended(finished)
    assert done(finished) == {"predict.blocks": 1}
    assert files() == before


def test_an_array_of_another_shape_is_found_and_replaced(finished):
    before = digests(finished)
    put_another_array(layout(finished).boundary_map)
    assert found(finished) == {("predict.blocks", piece) for piece in range(4)}
    mended(finished)
    assert done(finished, ("predict",)) == {"predict.blocks": 4}
    assert done(finished) == {}
    assert digests(finished) == before


def put_another_array(path: Path) -> None:
    """A larger one: a read of any block would not fail."""
    shutil.rmtree(path)
    zarr.create_array(str(path), shape=(1, 48, 96, 96), chunks=(1, 24, 32, 32), dtype="uint8")[...] = 7


def test_an_array_of_another_shape_is_not_read(finished):
    put_another_array(layout(finished).boundary_map)
    with pytest.raises(UserError, match="has shape"):
        run(changed(finished, supervoxels={"threshold": 0.3}), ("supervoxels",))


def test_a_deleted_shard_is_never_read_as_zeros(finished):
    """By a run with another parameter, which reads what the first one made."""
    Path(STORED["predict.blocks", 1]).unlink()
    with pytest.raises(UserError, match="is gone") as error:
        run(changed(finished, supervoxels={"threshold": 0.3}), ("supervoxels",))
    assert "bigseg verify --fix" in error.value.remedy


def test_damage_is_planned_whatever_the_number_of_batches_now(finished):
    """A step that lacks a marker is cut as the configuration says now, not as it was when the blocks were made."""
    flip(Path(STORED["predict.blocks", 1]))
    mended(finished)
    config = changed(finished, execution={"batches": 4})
    lost = Workflow(config, "test").lost()
    assert "work/a/status/predict/t0000/blocks-000001-000001.json" in lost
    assert not any("/ingest/" in marker for marker in lost)
    assert done(config) == {"predict.blocks": 1}
    assert not verified(config).findings


def test_damage_is_found_before_a_killed_job_goes_on(finished):
    """A job without marker skips what its ledger tells of, so that is checked too; what it would make anyway is not."""
    Path("work/a/status/supervoxels/t0000/blocks-000000-000001.json").unlink()
    cut_short(Path("work/a/supervoxels.zarr/labels/c/0/0/0/1"))
    result = verified(finished)
    assert result.not_done == 1
    assert [(f.job.step.name, f.piece) for f in result.findings] == [("supervoxels.blocks", 1)]
    other = verified(changed(finished, supervoxels={"threshold": 0.3}), Selection(stage="supervoxels"))
    assert (other.not_done, other.checked, other.findings) == (2, 0, [])


def test_a_time_point_or_stage_by_itself(finished):
    for path in STORED.values():
        Path(path).unlink()
    result = verified(finished, Selection(stage="graph"))
    assert {f.job.step.name for f in result.findings} == {"graph.blocks", "graph.evidence"}
    assert result.checked == 8
    for selection, message in (
        (Selection(stage="grahp"), "is no stage"),
        (Selection(sample="b"), "is no sample"),
        (Selection(time=3), "--time 3"),
    ):
        with pytest.raises(UserError, match=message):
            verified(finished, selection)


def test_the_command(finished):
    Path("config.yaml").write_text(json.dumps(finished))
    assert call("verify").exit_code == 0
    flip(Path(STORED["segment.blocks", 1]))
    found = call("verify", "--json")
    assert found.exit_code == 1
    (damaged,) = json.loads(found.stdout)["damaged"]
    assert (damaged["step"], damaged["time"], damaged["piece"]) == ("segment.blocks", 0, 1)
    assert "block 1 [0:24, 0:32, 32:64]" in damaged["where"]
    assert Path("work/a/status/segment/t0000/blocks-000000-000001.json").exists(), "nothing is changed without --fix"
    fixed = call("verify", "--fix", "--json")
    assert fixed.exit_code == 0
    marker = "work/a/status/segment/t0000/blocks-000000-000001.json"
    assert json.loads(fixed.stdout)["commands"] == [f"snakemake --cores all {marker}", "snakemake --cores all"]
    before = labels(finished, 1)
    assert done(finished) == {"segment.blocks": 1}
    assert np.array_equal(labels(finished, 1), before)
    assert "0 damaged" in call("verify").stdout


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


# --- tables ---------------------------------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_flipped_bit_of_a_table_is_found_or_makes_no_difference(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "flipped.parquet"
    columns = {"id": np.arange(50, dtype=np.uint64) * 7, "value": np.linspace(-1, 1, 50), "b": np.arange(50) % 3 == 0}
    write_table(path, columns)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        table = read_checked(path)
    except UserError:
        return
    assert list(table) == list(columns)
    for name, column in columns.items():
        assert table[name].dtype == column.dtype
        np.testing.assert_array_equal(table[name], column)


def test_a_flipped_bit_of_a_column_is_found_by_whoever_reads_it(tmp_path):
    path = tmp_path / "table.parquet"
    write_table(path, {"id": np.random.default_rng(0).integers(0, 2**60, 1000).astype(np.uint64)})
    flip(path)
    with pytest.raises(UserError, match="missing or damaged"):
        read_table(path)
    write_table(path, {"other": np.zeros(3)})
    with pytest.raises(UserError, match="has no column id"):
        read_table(path, ["id"])


def test_what_a_sweep_counted_is_verified_as_well(finished):
    """No rule makes it: the next sweep does, and just that."""
    workflow = Workflow(finished, "test")
    checked = verified(finished).checked
    count_overlaps(workflow, "a", 0, 1)
    assert verified(finished).checked == checked + workflow.step("evaluate.overlaps", "a", 0).number_of_pieces
    tables = [layout(finished).table("evaluate", "overlaps", 0, piece) for piece in (1, 2)]
    before = [path.read_bytes() for path in tables]
    flip(tables[0])
    delete(tables[1])
    damaged = {("evaluate.overlaps", 1), ("evaluate.overlaps", 2)}
    assert found(finished) == damaged
    assert not verified(finished, Selection(stage="graph")).findings
    Path("config.yaml").write_text(json.dumps(finished))
    answer = CliRunner().invoke(app, ["verify", "--fix"])
    assert answer.exit_code == 0
    assert "the next one makes it again" in answer.output
    assert "snakemake" not in answer.output
    summary = run_unit(workflow.step("evaluate.overlaps", "a", 0), None, 1)
    assert summary.done == 2
    assert [path.read_bytes() for path in tables] == before
    assert found(finished) == set()


def test_what_was_cleaned_is_told_apart_from_what_is_to_do(finished):
    Path("config.yaml").write_text(json.dumps(finished))
    jobs_before = {name: sum(states.values()) for name, states in states_by_step(finished).items()}
    clean(plan_cleaning(Workflow(finished, "test"), "a"))
    for name, states in states_by_step(finished).items():
        state = "cleaned" if find_step(name).passing else "done"
        assert states == {state: jobs_before[name]}, name
    told = CliRunner().invoke(app, ["status"]).output
    assert re.search(r"supervoxels +t0000 0/2 \(2 cleaned\)", told)
    other = changed(finished, supervoxels={"threshold": 0.3})
    assert states_by_step(other)["supervoxels.blocks"] == {"to_do": 2}
    assert states_by_step(other)["predict.blocks"] == {"cleaned": 2}


def states_by_step(config: Settings) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for job in job_states(Workflow(config, "test")):
        found.setdefault(job.step, Counter())[job.state] += 1
    return found
