"""What jobs ask for follows from the work: from blocks and threads, or from the volume where a job sees all of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
import zarr

from bigseg.planning.workflow import Workflow

METHODS = ["gasp", "multicut", "lifted_multicut"]


def workflow(folder, shape, method="gasp", levels=0, block=64, times=1, track="program", window=24):
    """Of a volume that has metadata and no voxels."""
    name = f"{times}-{'-'.join(map(str, shape))}.zarr"
    zarr.create_array(str(folder / name), shape=(times, *shape), chunks=(1, 64, 64, 64), dtype="uint8", overwrite=True)
    for time in range(times):  # a time point without any chunk would be taken for missing
        chunk = folder / name / "c" / str(time) / "0" / "0" / "0"
        chunk.parent.mkdir(parents=True, exist_ok=True)
        chunk.touch()
    volume = {"path": str(folder / name), "axes": "tzyx"}
    sample = {"input": volume, **({"nuclei": volume} if method == "lifted_multicut" else {})}
    config = {
        "samples": {"a": sample},
        "results": str(folder / "results"),
        "work": str(folder / "work"),
        "blocks": {"block_shape": [block] * 3},
        "partition": {"method": method, "levels": levels},
        "track": {"method": track, "window": window},
    }
    return Workflow(config, "config.yaml")


def whole(found):
    """The steps of a single piece."""
    return [name for name, sample, _, batch in found.jobs() if batch is None]


@pytest.mark.parametrize("method", METHODS)
def test_what_a_batch_asks_for_does_not_depend_on_the_volume(tmp_path, method):
    small, large = (workflow(tmp_path, (n, 1024, 1024), method, 2) for n in (512, 2048))
    for name in {name for name, _, _, batch in small.jobs() if batch is not None} & set(large.steps("a")):
        assert small.memory_mb(name, "a", 1, 1) == large.memory_mb(name, "a", 1, 1), name
        batch = "000000-000000"
        assert small.runtime_minutes(name, "a", batch, 1) == large.runtime_minutes(name, "a", batch, 1), name


@pytest.mark.parametrize("method", METHODS)
def test_run_time_of_a_single_piece_grows_with_the_volume(tmp_path, method):
    small, large = (workflow(tmp_path, (n, 1024, 1024), method) for n in (64, 20_000))
    for name in whole(small):
        minutes = [found.runtime_minutes(name, "a", None, 1) for found in (small, large)]
        assert minutes[0] == 10, name
        assert minutes[1] > minutes[0], name
    # Forty million supervoxels take minutes by gasp, and half an hour by multicut in one piece.
    assert large.runtime_minutes("partition.root", "a", None, 1) > (60 if method != "gasp" else 20)


def test_levels_and_time_points_count_for_single_pieces(tmp_path):
    shape = (4096, 1024, 1024)
    flat, deep = (workflow(tmp_path, shape, "multicut", levels) for levels in (0, 3))
    root = [found.runtime_minutes("partition.root", "a", None, 1) for found in (flat, deep)]
    assert root[0] > root[1]
    many = workflow(tmp_path, shape, times=20)
    one = workflow(tmp_path, shape)
    for name in ("measure.table", "seams.summary"):
        assert many.runtime_minutes(name, "a", None, 1) > one.runtime_minutes(name, "a", None, 1)
    for name in ("ingest.statistics", "partition.root"):
        assert many.runtime_minutes(name, "a", None, 1) == one.runtime_minutes(name, "a", None, 1)


def test_a_superblock_takes_longer_the_more_blocks_it_joins(tmp_path):
    """Four times with each level: of eight times as many supervoxels, half are left."""
    found = workflow(tmp_path, (8192, 8192, 8192), "multicut", 4, block=256)
    names = [f"partition.level{level}" for level in range(4)]
    beyond = [found.runtime_minutes(name, "a", "000000-000063", 1) - 10 for name in names]
    assert beyond[0] > 30
    assert all(4 * low <= high <= 4 * low + 4 for low, high in pairwise(beyond))


def test_tracking_takes_time_for_the_objects_of_its_time_points(tmp_path):
    """A window sees whole time points, which have nothing to do with blocks."""
    small, large = (workflow(tmp_path, (n, n, n), block=256, times=80, track="joint") for n in (256, 2048))
    for name in ("track.links", "track.windows"):
        batch = None if name == "track.links" else "000000-000000"
        minutes = [found.runtime_minutes(name, "a", batch, 1) for found in (small, large)]
        assert minutes[0] <= 12, name
        objects = 2048**3 / 2000
        assert minutes[1] > 10 + 2 * objects / 330_000, name
    two = large.runtime_minutes("track.windows", "a", "000000-000001", 1)
    assert two - 10 == pytest.approx(2 * (minutes[1] - 10), abs=1)


def test_threads_blocks_and_attempts(tmp_path):
    small, large = (workflow(tmp_path, (512, 512, 512), block=block) for block in (64, 128))
    for name in ("supervoxels.blocks", "graph.blocks", "segment.blocks"):
        assert small.memory_mb(name, "a", 1, 1) < large.memory_mb(name, "a", 1, 1)
        assert large.memory_mb(name, "a", 1, 1) < large.memory_mb(name, "a", 4, 1)
    for name in large.steps("a"):
        for attempt in (2, 3):
            assert large.memory_mb(name, "a", 2, attempt) == large.memory_mb(name, "a", 2, 1) << (attempt - 1)


def test_a_solve_for_comparison_is_supposed_only_where_it_will_be_made(tmp_path):
    """Where a graph may have up to 500,000 edges, and where the partition itself was not in one piece."""
    name = "partition.quality"
    asked = {n: workflow(tmp_path, (n, 256, 256), "multicut", 1).memory_mb(name, "a", 1, 1) for n in (64, 256, 65_536)}
    assert asked[64] < asked[256]
    assert asked[65_536] < asked[64]
    assert workflow(tmp_path, (256, 256, 256), "multicut", 0).memory_mb(name, "a", 1, 1) == asked[65_536]


def test_tracking_asks_for_the_time_points_that_it_holds(tmp_path):
    """A window with its context for the joint choice, all of them for the tables of all; two for everything else."""
    shape = (256, 1024, 1024)

    def asked(name, method, times, window=24):
        found = workflow(tmp_path, shape, times=times, track=method, window=window)
        return found.memory_mb(name, "a", 1, 1)

    assert asked("track.windows", "joint", 240) == asked("track.windows", "joint", 480)
    assert asked("track.windows", "joint", 240, 48) > 1.5 * asked("track.windows", "joint", 240)
    assert asked("track.junctions", "joint", 200, 48) == asked("track.junctions", "joint", 200)
    for name in ("track.links", "track.lineages", "track.detections"):
        assert asked(name, "joint", 200, 48) == asked(name, "joint", 100)
    for name in ("track.table", "track.exports"):
        assert asked(name, "program", 200) > asked(name, "program", 100)
    assert asked("track.table", "volume", 100) > asked("track.table", "program", 100)
