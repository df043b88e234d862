"""What the ledgers tell."""

from __future__ import annotations

import pytest
from reporting_sample import Sample, cells, finished_sample

from bigseg.reporting.page import duration
from bigseg.reporting.timings import Timings
from bigseg.resume.ledger import Record


@pytest.fixture
def made(tmp_path) -> Sample:
    """Two time points of four blocks."""
    return finished_sample(tmp_path, cells((2, 4, 64, 64)), blocks={"block_shape": [4, 32, 32]})


def record(piece: int, seconds: float, at: int, **note: int) -> Record:
    return Record(piece, "key", "digest", seconds, note, at)


def test_seconds_and_pieces_add_up_over_steps_batches_and_time_points(made):
    made.record("ingest", 0, "blocks-000000-000001", record(0, 1.0, 1), record(1, 2.0, 1))
    made.record("ingest", 0, "blocks-000002-000003", record(2, 4.0, 1), record(3, 8.0, 1))
    made.record("ingest", 1, "blocks-000000-000003", *(record(n, 0.5, 1) for n in range(4)))
    made.record("ingest", 0, "statistics", record(0, 16.0, 1))
    made.record("measure", None, "table", record(0, 3.0, 1))
    ingest, measure = Timings(made.layout, made.parameters).stages()
    assert (ingest.stage, ingest.pieces, ingest.seconds) == ("ingest", 9, 33.0)
    assert (measure.stage, measure.pieces, measure.seconds) == ("measure", 1, 3.0)
    assert ingest.megavoxels_per_second == pytest.approx(2 * 4 * 64 * 64 / 1e6 / 33)


def test_of_several_records_of_a_piece_the_youngest_counts(made):
    made.record("graph", 0, "blocks-000000-000003", record(0, 5.0, at=30, edges=7), record(0, 9.0, at=10, edges=1))
    made.record("graph", 0, "blocks-000000-000000", record(0, 2.0, at=20, edges=2))
    timings = Timings(made.layout, made.parameters)
    assert [(s.pieces, s.seconds) for s in timings.stages()] == [(1, 5.0)]
    assert timings.counts()[0].edges == 7


def test_pieces_of_an_earlier_grid_and_unknown_steps_do_not_count(made):
    made.record("predict", 0, "blocks-000000-000007", record(3, 1.0, 1), record(4, 100.0, 1))
    made.record("predict", 5, "blocks-000000-000003", record(0, 100.0, 1))
    made.record("predict", 0, "blockslike-000000-000003", record(0, 100.0, 1))
    made.record("report", None, "page", record(0, 100.0, 1))
    assert [(s.stage, s.seconds) for s in Timings(made.layout, made.parameters).stages()] == [("predict", 1.0)]


def test_levels_of_the_pyramid_are_one_stage(tmp_path):
    made = finished_sample(
        tmp_path, cells((1, 1, 64, 64)), pyramid={"smallest": 16}, blocks={"block_shape": [1, 32, 32]}
    )
    for unit, seconds in (("image1", 1.0), ("labels1", 2.0), ("image2", 4.0), ("labels2", 8.0), ("labels3", 100.0)):
        made.record("pyramid", 0, f"{unit}-000000-000000", record(0, seconds, 1))
    made.record("pyramid", 0, "image2-000000-000003", record(1, 100.0, 1))  # that level is a single block
    made.record("pyramid", None, "metadata", record(0, 16.0, 1))
    (pyramid,) = Timings(made.layout, made.parameters).stages()
    assert (pyramid.stage, pyramid.pieces, pyramid.seconds) == ("pyramid", 5, 31.0)


def test_counts_add_up_over_blocks(made):
    for time, factor in ((0, 1), (1, 10)):
        made.record(
            "supervoxels", time, "blocks-000000-000003", *(record(n, 1, 1, supervoxels=factor) for n in range(4))
        )
        made.record("graph", time, "blocks-000000-000003", *(record(n, 1, 1, edges=2 * factor) for n in range(4)))
    made.record("partition", 0, "root", record(0, 1, 1, supervoxels=4, edges=8, objects=3))
    first, second = Timings(made.layout, made.parameters).counts()
    assert (first.time, first.supervoxels, first.edges, first.clusters) == (0, 4, 8, 3)
    assert (second.time, second.supervoxels, second.edges, second.clusters) == (1, 40, 80, None)


def test_objects_that_levels_settled_are_counted(tmp_path):
    """Four blocks, then one superblock of them, then the root, which has what is left."""
    made = finished_sample(
        tmp_path, cells((2, 4, 64, 64)), blocks={"block_shape": [4, 32, 32]}, partition={"levels": 2}
    )
    made.record("partition", 0, "level0-000000-000001", record(0, 1, 1, objects=1), record(1, 1, 1, objects=2))
    made.record("partition", 0, "level0-000002-000003", record(2, 1, 1, objects=4), record(3, 1, 1, objects=8))
    made.record("partition", 0, "level1-000000-000000", record(0, 1, 1, objects=16))
    made.record("partition", 0, "level2-000000-000000", record(0, 1, 1, objects=1000))  # of an earlier configuration
    made.record("partition", 0, "root", record(0, 1, 1, objects=32))
    made.record("partition", 1, "root", record(0, 1, 1, objects=32))  # of the levels no ledger is left
    first, second = Timings(made.layout, made.parameters).counts()
    assert (first.clusters, second.clusters) == (63, None)


def test_a_torn_line_is_skipped(made):
    made.record("segment", 0, "blocks-000000-000003", record(0, 1.5, 1))
    with made.layout.ledger("segment", 0, "blocks-000000-000003").open("a", encoding="utf-8") as file:
        file.write('{"piece":1,"key":"k","dig')
    assert [(s.pieces, s.seconds) for s in Timings(made.layout, made.parameters).stages()] == [(1, 1.5)]


def test_no_ledgers(made):
    timings = Timings(made.layout, made.parameters)
    assert timings.stages() == []
    assert [count.supervoxels for count in timings.counts()] == [None, None]


def test_no_time_was_measured(made):
    made.record("segment", 0, "objects", record(0, 0.0, 1))
    assert Timings(made.layout, made.parameters).stages()[0].megavoxels_per_second is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (99.4, "99.4 s"), (725, "12 min 5 s"), (12_000, "3 h 20 min")]
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text
