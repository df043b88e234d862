"""The block runner, with a tiny stage that writes one text file per piece."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.errors import UserError
from bigseg.geometry.batches import batch_name, make_batches
from bigseg.layout import Layout
from bigseg.resume.digest import digest_json
from bigseg.resume.ledger import read_ledger
from bigseg.resume.marker import Marker
from bigseg.runner import StoppedError, Summary, run_unit
from bigseg.stages import STEPS
from bigseg.stages.step import Need, Outcome, Step, WholeStep

BLOCKS = 6


class Source(Step):
    """Writes its ``value`` and what its ``input`` says of the piece, one file per block of a row."""

    stage, step, version = "tiny", "source", 1

    def __init__(self, parameters, layout, time=0):
        super().__init__({"shape": [1, 1, BLOCKS], "block_shape": [1, 1, 1], **parameters}, layout, time)
        self.input: dict[int, str] = {}
        self.failing: dict[int, Exception] = {}
        self.processed: list[int] = []
        self.delay = 0.0
        self.dying = False

    @classmethod
    def resolve(cls, config, plan):
        raise NotImplementedError

    def needs(self, piece):
        return []

    def evidence(self, piece):
        return self.input.get(piece, "")

    def file(self, piece):
        return self.layout.folder / "output" / f"{self.step}-{self.time}-{piece}.txt"

    def intact(self, piece, record):
        return self.file(piece).exists()

    def process(self, piece):
        self.processed.append(piece)
        if piece in self.failing:
            raise self.failing[piece]
        time.sleep(self.delay)
        content = self.content(piece)
        self.file(piece).parent.mkdir(parents=True, exist_ok=True)
        self.file(piece).write_text(content)
        if self.dying:
            raise SystemExit
        return Outcome(digest_json(content), {"length": len(content)})

    def rehash(self, piece, record):
        return digest_json(self.file(piece).read_text())

    def content(self, piece):
        return f"{self.parameters.get('value')} {self.evidence(piece)} {piece}"


class Neighbours(Source):
    """Joins the sources of a piece and of those beside it."""

    step = "neighbours"

    def needs(self, piece):
        around = range(max(0, piece - 1), min(BLOCKS, piece + 2))
        return [Need("tiny.source", around, BLOCKS), Need("tiny.whole", [0], in_key=False)]

    def content(self, piece):
        sources = Source({}, self.layout, self.time)
        return "+".join(sources.file(p).read_text() for p in self.needs(piece)[0].pieces)


class Whole(WholeStep):
    """Counts."""

    stage, step, version, per_time = "tiny", "whole", 1, False
    resolve = Source.resolve

    def needs(self, piece):
        return [Need("tiny.source", range(BLOCKS), BLOCKS, time=0)]

    def process(self, piece):
        return Outcome("done")

    def rehash(self, piece, record):
        return "done"


@pytest.fixture(autouse=True)
def _steps(monkeypatch):
    for step in (Source, Neighbours, Whole):
        monkeypatch.setitem(STEPS, f"tiny.{step.step}", step)


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "results", tmp_path / "work", "sample")


ALL = batch_name(range(BLOCKS))


def run(step, batches=1, threads=1):
    """Every batch of a step; what was done and what was skipped."""
    step.processed.clear()
    for batch in make_batches(step.number_of_pieces, batches):
        run_unit(step, batch_name(batch), threads)
    return sorted(step.processed)


def files_below(folder: Path):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- what runs ------------------------------------------------------------------------------------------------------


def test_a_second_run_does_nothing_and_leaves_the_same_marker(layout):
    step = Source({"value": 1}, layout)
    assert run_unit(step, ALL, 1) == Summary(done=BLOCKS, skipped=0)
    path = layout.marker("tiny", 0, f"source-{ALL}")
    before = path.read_bytes()
    assert run_unit(step, ALL, 1) == Summary(done=0, skipped=BLOCKS)
    assert path.read_bytes() == before
    assert sorted(Marker.read(path).digests) == list(range(BLOCKS))


def test_only_pieces_whose_evidence_changed_run(layout):
    step = Source({"value": 1}, layout)
    run(step)
    step.input = {2: "edited", 5: "edited"}
    assert run(step) == [2, 5]
    assert step.file(2).read_text() == "1 edited 2"
    assert run(step) == []
    step.input = {5: "edited"}
    assert run(step) == [2]  # the file holds the edit, so an old record of what is wanted again is no use


@pytest.mark.parametrize("change", ["parameters", "version", "time"])
def test_a_new_parameter_or_version_or_time_point_runs_everything(layout, change, monkeypatch):
    run(Source({"value": 1}, layout))
    step = Source({"value": 2 if change == "parameters" else 1}, layout, 1 if change == "time" else 0)
    if change == "version":
        monkeypatch.setattr(Source, "version", 2)
    assert run(step) == list(range(BLOCKS))
    assert run(step) == []


def test_a_piece_whose_output_is_gone_runs_again(layout):
    step = Source({"value": 1}, layout)
    run(step)
    step.file(3).unlink()
    assert run(step) == [3]
    assert step.file(3).exists()


def test_a_piece_runs_if_what_its_halo_touches_changed(layout):
    source, step = Source({"value": 1}, layout), Neighbours({}, layout)
    run(source, 3)
    assert run(step, 3) == list(range(BLOCKS))
    source.input = {4: "edited"}
    assert run(source, 3) == [4]
    assert run(step, 3) == [3, 4, 5]
    assert "edited" in step.file(3).read_text()
    source.file(0).unlink()
    assert run(source, 3) == [0]
    assert run(step, 3) == []  # made again, but the same


def test_a_step_over_all_times_reads_all_markers_and_has_one(layout):
    run(Source({"value": 1}, layout), 4)
    step = Whole({}, layout, 0)
    assert run_unit(step, None, 2) == Summary(1, 0)
    assert run_unit(step, None, 2) == Summary(0, 1)
    assert Marker.read(layout.marker("tiny", None, "whole")).time is None


def test_a_missing_marker_is_a_user_error(layout):
    with pytest.raises(UserError, match="no marker tells of tiny"):
        run_unit(Neighbours({}, layout), ALL, 1)


def test_a_marker_that_lacks_a_piece_is_a_user_error(layout):
    run(Source({"value": 1}, layout))
    path = layout.marker("tiny", 0, f"source-{ALL}")
    marker = Marker.read(path)
    Marker(marker.step, 0, 1, marker.fingerprint, {p: d for p, d in marker.digests.items() if p != 4}).write(path)
    with pytest.raises(UserError, match="block 4"):
        run_unit(Neighbours({}, layout), ALL, 1)


# --- independence ---------------------------------------------------------------------------------------------------


@given(st.integers(1, BLOCKS + 1), st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_results_depend_on_neither_batches_nor_threads(tmp_path_factory, batches, threads):
    folder = tmp_path_factory.mktemp("run")
    found = []
    for name, b, t in (("a", 1, 1), ("b", batches, threads)):
        layout = Layout(folder / name / "results", folder / name / "work", "sample")
        for step in (Source({"value": 1}, layout), Neighbours({}, layout)):
            assert run(step, b, t) == list(range(BLOCKS))
        found.append(files_below(layout.folder / "output"))
        digests = [Marker.read(path) for path in sorted((layout.folder / "status").rglob("neighbours*.json"))]
        found.append({piece: digest for marker in digests for piece, digest in marker.digests.items()})
        again = Neighbours({}, layout)
        run(Source({"value": 1}, layout), batches)
        assert run(again, batches) == []  # also where the batches were others before
    assert found[:2] == found[2:]


def markers_of(step):
    folder = step.layout.marker("tiny", 0, step.step).parent
    return sorted(path.name for path in folder.glob(f"{step.step}-*.json"))


def test_markers_of_other_batches_go_before_the_store_changes_and_only_then(layout):
    """Otherwise the way back to the first batches and parameters would find their markers, and do nothing."""
    two, three = ([f"source-{batch_name(batch)}.json" for batch in make_batches(BLOCKS, batches)] for batches in (2, 3))
    step = Source({"value": 1}, layout)
    run(step, 2)
    assert run(step, 3) == []
    assert markers_of(step) == sorted({*two, *three}), "all are true"
    changed = Source({"value": 2}, layout)
    changed.failing = {0: UserError("stop", "here")}
    with pytest.raises(UserError):
        run_unit(changed, batch_name(range(2)), 1)
    assert markers_of(step) == sorted({two[1], *three[1:]}), "those that tell of block 0 or 1 are gone at once"
    changed.failing = {}
    assert run(changed, 3) == list(range(BLOCKS))
    assert markers_of(step) == three
    assert run(step, 2) == list(range(BLOCKS))
    assert markers_of(step) == two


@pytest.mark.parametrize("threads", [2, 5])
def test_marker_bytes_do_not_depend_on_threads(tmp_path, threads):
    found = []
    for name, count in (("a", 1), ("b", threads)):
        layout = Layout(tmp_path / name / "results", tmp_path / name / "work", "sample")
        run(Source({"value": 1}, layout), 2, count)
        found.append(files_below(layout.folder / "status"))
    assert found[0] == found[1]
    assert len(found[0]) == 2


def test_a_ledger_tells_what_was_begun(layout):
    step = Source({"value": 1}, layout)
    step.failing = {3: UserError("the file is odd", "mend it")}
    with pytest.raises(UserError):
        run(step)
    records = read_ledger(layout.ledger("tiny", 0, f"source-{ALL}"))
    assert [record.piece for record in records if not record.finished] == [0, 1, 2, 3]
    assert [record.piece for record in records if record.finished] == [0, 1, 2]


def test_pieces_run_at_the_same_time(layout):
    step = Source({}, layout)
    meeting = threading.Barrier(3, timeout=10)
    plain = step.process

    def process(piece):
        meeting.wait()
        return plain(piece)

    step.process = process
    assert run(step, threads=3) == list(range(BLOCKS))


# --- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UserError("the file is odd", "mend it"), "the file is odd"),
        (MemoryError(), "not enough memory"),
    ],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_failure_names_the_block_and_keeps_what_was_done(layout, error, told, threads):
    step = Source({"value": 1}, layout)
    step.failing = {4: error}
    with pytest.raises(UserError, match=told) as caught:
        run(step, threads=threads)
    assert "tiny.source, time point 0, block 4 [0:1, 0:1, 4:5]" in caught.value.problem
    assert caught.value.remedy
    recorded = {record.piece for record in read_ledger(layout.ledger("tiny", 0, f"source-{ALL}")) if record.finished}
    assert recorded == set(step.processed) - {4}
    assert recorded >= {0, 1, 2, 3} if threads == 1 else recorded
    assert not layout.marker("tiny", 0, f"source-{ALL}").exists()
    step.failing = {}
    assert run(step, threads=threads) == sorted(set(range(BLOCKS)) - recorded)
    assert len(files_below(layout.folder / "output")) == BLOCKS


def test_after_a_failure_the_rest_is_left_alone(layout):
    step = Source({"value": 1}, layout)
    step.delay = 0.05
    step.failing = {1: UserError("no", "")}
    with pytest.raises(UserError):
        run(step)
    assert step.processed in ([0, 1], [0, 1, 2])  # the next one may have begun before the failure was seen


def test_a_bug_is_no_user_error_but_also_keeps_what_was_done(layout):
    step = Source({"value": 1}, layout)
    step.failing = {3: IndexError("bug")}
    with pytest.raises(IndexError, match="bug"):
        run(step)
    done = set(step.processed) - {3}
    step.failing = {}
    assert run(step) == sorted(set(range(BLOCKS)) - done)


def test_a_run_in_another_batch_is_known_and_the_youngest_record_counts(layout):
    step = Source({"value": 1}, layout)
    run(step, 1)
    other = Source({"value": 2}, layout)
    assert run(other, 3) == list(range(BLOCKS))
    assert run(step, 1) == list(range(BLOCKS))  # its records are there, but the files hold the other value
    assert step.file(0).read_text().startswith("1")


def test_a_kill_between_output_and_record_does_not_bring_back_an_old_record(layout):
    step, changed = Source({"value": 1}, layout), Source({"value": 2}, layout)
    run(step)
    changed.dying = True
    with pytest.raises(SystemExit):
        run(changed)
    assert step.file(0).read_text().startswith("2")
    run(step)  # the parameter is what it was
    assert step.file(0).read_text().startswith("1")


# --- signals --------------------------------------------------------------------------------------------------------

SLOW = """
    import signal, sys, time
    from pathlib import Path
    sys.path.insert(0, {here!r})
    from test_runner import ALL, BLOCKS, Layout, Source
    from bigseg.runner import run_unit

    class Slow(Source):
        def process(self, piece):
            self.layout.folder.mkdir(parents=True, exist_ok=True)
            (self.layout.folder / "begun").write_text(str(piece))
            time.sleep(0.4)
            return super().process(piece)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
    folder = Path({folder!r})
    print(run_unit(Slow({{"value": 1}}, Layout(folder / "results", folder / "work", "sample")), ALL, 1))
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_the_block_in_hand_and_a_later_run_goes_on(layout, tmp_path, sent):
    script = tmp_path / "slow.py"
    script.write_text(textwrap.dedent(SLOW).format(here=str(Path(__file__).parent), folder=str(tmp_path)))
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True)
    begun = layout.folder / "begun"
    deadline = time.monotonic() + 60
    while not (begun.exists() and begun.read_text() == "1"):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(sent)
    _, told = process.communicate(timeout=60)
    assert process.returncode != 0
    assert ("stopped after 2 of 6 blocks" if sent == signal.SIGTERM else "KeyboardInterrupt") in told
    assert not layout.marker("tiny", 0, f"source-{ALL}").exists()
    step = Source({"value": 1}, layout)
    assert run(step) == [2, 3, 4, 5]
    assert layout.marker("tiny", 0, f"source-{ALL}").exists()


def test_sigterm_in_the_last_block_lets_the_job_end(layout):
    step = Source({"value": 1}, layout)
    plain = step.process

    def process(piece):
        if piece == BLOCKS - 1:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
        return plain(piece)

    step.process = process
    before = signal.getsignal(signal.SIGTERM)
    assert run(step) == list(range(BLOCKS))
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_stopped_job_writes_no_marker(layout):
    step = Source({"value": 1}, layout)
    plain = step.process

    def process(piece):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        return plain(piece)

    step.process = process
    with pytest.raises(StoppedError, match="1 of 6"):
        run(step)
    assert not (layout.folder / "status").exists()
