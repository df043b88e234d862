"""``bigseg evaluate``: blocks, threads and time points against scoring in one piece, messages, and what it prints."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import typer
import zarr
from typer.testing import CliRunner

from bigseg.cli.evaluate import evaluate
from bigseg.cli.label_inputs import label_input
from bigseg.config.samples import Input
from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.kernels.contingency import count_pairs
from bigseg.kernels.scores import Scores, scores
from bigseg.labels.reading import VOXELS_PER_BLOCK, choose_block_shape
from bigseg.labels.scores import score_sources
from bigseg.volumes.header import VolumeHeader
from bigseg.volumes.source import open_source


class ArraySource:
    """A label time-lapse (t, z, y, x) in memory that records what is read."""

    def __init__(self, labels: np.ndarray, channels: int = 1, chunk_shape: tuple[int, int, int] | None = None) -> None:
        self.labels = labels
        t, *zyx = labels.shape
        self.header = VolumeHeader(
            shape=(t, channels, *zyx), dtype=labels.dtype.name, voxel_size_um=None, chunk_shape=chunk_shape
        )
        self.boxes: list[tuple[int, Box]] = []
        self.threads: set[int] = set()
        self.closed = False

    def read(self, t: int, c: int, box: Box) -> np.ndarray:
        assert c == 0
        self.boxes.append((t, box))
        self.threads.add(threading.get_ident())
        return self.labels[(t, *box.slices)]

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> ArraySource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def lapse(seed: int, shape: tuple[int, ...] = (3, 9, 14, 17), dtype: type = np.uint64) -> np.ndarray:
    """Random boxes of labels, the later over the earlier."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, dtype)
    for frame in labels:
        for label in range(1, 30):
            a = rng.integers(0, frame.shape)
            b = a + rng.integers(2, 8, 3)
            frame[tuple(slice(*ends) for ends in zip(a, b, strict=True))] = label
    return labels


def disturbed(truth: np.ndarray) -> np.ndarray:
    """A result for ``truth``: shifted by a voxel, some labels joined, ids huge."""
    result = np.roll(truth, 1, axis=-1).astype(np.uint64)
    result[result == 7] = 8
    return np.where(result > 0, result << np.uint64(33), 0)


def whole(result: np.ndarray, truth: np.ndarray, *, ignore_zero: bool = True) -> Scores:
    """The scores with each time point in one piece."""
    return scores(*(count_pairs(r, t) for r, t in zip(result, truth, strict=True)), ignore_zero=ignore_zero)


TRUTH = lapse(0, dtype=np.uint16)
RESULT = disturbed(TRUTH)


@pytest.mark.parametrize("block_shape", [None, (4, 5, 6), (1, 14, 17), (9, 1, 3)])
@pytest.mark.parametrize("threads", [None, 1, 5])
def test_blocks_and_threads_do_not_change_the_scores(block_shape, threads):
    found = score_sources(ArraySource(RESULT), ArraySource(TRUTH), threads=threads, block_shape=block_shape)
    assert found == whole(RESULT, TRUTH)
    assert 0.05 < found["map"] < 0.95


def test_every_voxel_is_read_once_and_no_box_is_larger_than_a_block():
    result, truth = ArraySource(RESULT), ArraySource(TRUTH)
    score_sources(result, truth, threads=2, block_shape=(4, 5, 6))
    for source in (result, truth):
        seen = np.zeros(TRUTH.shape, int)
        for t, box in source.boxes:
            assert np.less_equal(box.shape, (4, 5, 6)).all()
            seen[(t, *box.slices)] += 1
        assert (seen == 1).all()


def test_threads_is_how_many_blocks_are_read_at_once():
    one = ArraySource(RESULT)
    score_sources(one, ArraySource(TRUTH[:1].repeat(3, axis=0)), threads=1, block_shape=(4, 4, 4), time=0)
    assert len(one.threads) == 1
    barrier = threading.Barrier(3, timeout=20)

    class Waiting(ArraySource):
        def read(self, t: int, c: int, box: Box) -> np.ndarray:
            barrier.wait()  # passes only when three threads are here
            return super().read(t, c, box)

    three = Waiting(np.ones((1, 6, 4, 4), np.uint8))
    score_sources(three, ArraySource(np.ones((1, 6, 4, 4), np.uint8)), threads=3, block_shape=(1, 4, 4))
    assert len(three.threads) == 3


def test_one_time_point():
    for t in range(3):
        found = score_sources(ArraySource(RESULT), ArraySource(TRUTH), time=t)
        assert found == whole(RESULT[t : t + 1], TRUTH[t : t + 1])


def test_labels_of_different_time_points_are_different_objects():
    """The same label is right at one time point and wrong at the other: two result objects, not one."""
    truth = np.ones((2, 2, 2, 2), np.uint8)
    result = np.array([1, 1], np.uint8)[:, None, None, None] * truth
    result[1, 1] = 0
    result[1, 0, 0] = 0
    found = score_sources(ArraySource(result), ArraySource(truth))
    assert (found["n_result"], found["n_truth"]) == (2, 2)
    assert (found["precision"], found["recall"]) == (0.5, 0.5)


def test_zero_in_the_truth():
    found = score_sources(ArraySource(RESULT), ArraySource(TRUTH), ignore_zero=False)
    assert found == whole(RESULT, TRUTH, ignore_zero=False)
    assert found["voi_merge"] != whole(RESULT, TRUTH)["voi_merge"]


@pytest.mark.parametrize(
    ("result", "truth", "options", "message"),
    [
        pytest.param(
            ArraySource(RESULT[:2]),
            ArraySource(TRUTH),
            {},
            r"\(2, 1, 9, 14, 17\), the truth \(3, 1, 9, 14, 17\)",
            id="t",
        ),
        pytest.param(
            ArraySource(RESULT[:, :, 1:]),
            ArraySource(TRUTH),
            {},
            r"\(3, 1, 9, 13, 17\), the truth \(3, 1, 9, 14",
            id="y",
        ),
        pytest.param(ArraySource(RESULT), ArraySource(TRUTH * 1.0), {}, "the truth is of type float64", id="float"),
        pytest.param(ArraySource(RESULT > 0), ArraySource(TRUTH), {}, "the result is of type bool", id="mask"),
        pytest.param(ArraySource(RESULT, 2), ArraySource(TRUTH, 2), {}, "the result has 2 channels", id="channels"),
        pytest.param(ArraySource(RESULT), ArraySource(TRUTH), {"time": 3}, "no time point 3: .* have 3", id="time"),
        pytest.param(
            ArraySource(RESULT),
            ArraySource(TRUTH.astype(int) - 1),
            {},
            r"truth holds .* -1 in block \[0:9",
            id="negative",
        ),
    ],
)
def test_volumes_that_cannot_be_compared(result, truth, options, message):
    with pytest.raises(UserError, match=message):
        score_sources(result, truth, **options)


def test_a_file_that_cannot_be_read_stops_the_work():
    class Damaged(ArraySource):
        def read(self, t: int, c: int, box: Box) -> np.ndarray:
            if box.begin == (2, 0, 0):
                raise UserError("the file ends early")
            return super().read(t, c, box)

    source = Damaged(np.ones((1, 400, 2, 2), np.uint8))
    with pytest.raises(UserError, match="ends early"):
        score_sources(source, ArraySource(source.labels), threads=2, block_shape=(1, 2, 2))
    assert len(source.boxes) < 50


@pytest.mark.parametrize(
    ("shape", "chunks", "expected"),
    [
        ((5000, 5000, 5000), [(64, 64, 64), (64, 64, 64)], (256, 256, 128)),
        ((5000, 5000, 5000), [(128, 128, 128), (32, 32, 64)], (256, 256, 128)),
        ((1000, 2048, 2048), [None, None], (2, 2048, 2048)),
        ((1000, 20000, 20000), [None, None], (1, 2500, 2500)),
        ((10, 20, 30), [None, (4, 4, 4)], (10, 20, 30)),
        ((1, 1, 1), [None, None], (1, 1, 1)),
    ],
)
def test_block_shape_follows_the_chunks_within_the_memory_of_a_block(shape, chunks, expected):
    block = choose_block_shape(shape, *chunks)
    assert block == expected
    assert np.prod(block) <= VOXELS_PER_BLOCK


# --- which volume is meant ------------------------------------------------------------------------------------------


def test_paths_and_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with h5py.File("both.h5", "w") as file:
        file["raw"], file["label"] = np.zeros((2, 2, 2)), np.zeros((2, 2, 2), int)
    with h5py.File("other.h5", "w") as file:
        file["labels/cells"] = np.zeros((2, 2, 2), int)
    Path("colon:in:name.tif").touch()

    def meant(text: str, key: str | None = None) -> tuple[str, str | None]:
        found = label_input("truth", text, key)
        return found.path, found.key

    assert meant("both.h5:raw") == ("both.h5", "raw")
    assert meant("both.h5", "raw") == ("both.h5", "raw")
    assert meant("both.h5") == ("both.h5", "label")
    assert meant("other.h5") == ("other.h5", None)
    assert meant(f"{tmp_path}/other.h5:labels/cells") == (f"{tmp_path}/other.h5", "labels/cells")
    assert meant("colon:in:name.tif") == ("colon:in:name.tif", None)
    assert meant("absent.h5:label") == ("absent.h5:label", None)
    with pytest.raises(UserError, match="names the dataset 'raw', and --truth-key names 'label'"):
        meant("both.h5:raw", "label")
    assert label_input("result", "both.h5", axes="tyx").axes == "tyx"
    for command in ("evaluate", "seams"):
        with pytest.raises(UserError, match=r"axes of the result: .*distinct letters") as error:
            label_input("result", "both.h5", axes="zzz", command=command)
        assert error.value.remedy == f"see `bigseg {command} --help`"


def test_the_labels_of_a_zarr_are_meant_not_its_image(tmp_path):
    def meant(store: Path, key: str | None = None) -> str | None:
        found = label_input("result", str(store), key)
        assert found.path == str(tmp_path / store.name.partition(":")[0])
        return found.key

    store = tmp_path / "x.ome.zarr"
    (store / "0").mkdir(parents=True)
    assert meant(store) is None
    (store / "labels" / "nuclei").mkdir(parents=True)
    assert meant(store) == "labels/nuclei"
    (store / "labels" / "tracks").mkdir()
    with pytest.raises(UserError, match="holds the label images nuclei, tracks") as error:
        meant(store)
    assert "--result-key labels/nuclei" in error.value.remedy
    (store / "labels" / "segmentation").mkdir()
    assert meant(store) == "labels/segmentation"
    assert meant(store, "labels/tracks") == "labels/tracks"
    assert meant(tmp_path / "x.ome.zarr:0") == "0"
    (tmp_path / "plain.zarr" / "label").mkdir(parents=True)
    assert meant(tmp_path / "plain.zarr") == "label"


# --- the command ----------------------------------------------------------------------------------------------------

runner = CliRunner()


@pytest.fixture
def app(monkeypatch):
    """The command on two fake files, ``result`` and ``truth``; a name that is neither cannot be opened."""
    files = {"result": ArraySource(RESULT), "truth": ArraySource(TRUTH)}

    def open_fake(spec):
        if spec.path not in files:
            raise UserError(f"{spec.path} does not exist")
        return files[spec.path]

    monkeypatch.setattr("bigseg.volumes.source.open_source", open_fake, raising=False)
    made = typer.Typer()
    made.command()(evaluate)
    made.files = files
    return made


def test_json_is_one_object_on_standard_output(app):
    run = runner.invoke(app, ["result", "truth", "--json", "--threads", "2"])
    assert run.exit_code == 0
    assert json.loads(run.stdout) == whole(RESULT, TRUTH)
    assert run.stdout.count("\n") == 1
    assert "evaluate: 3/3 blocks" in run.stderr
    assert all(source.closed for source in app.files.values())


def test_table_names_every_score(app):
    run = runner.invoke(app, ["result", "truth"])
    assert run.exit_code == 0
    rows = {line.split()[0]: line.split()[1] for line in run.stdout.splitlines()}
    expected = whole(RESULT, TRUTH)
    assert list(rows) == list(expected)
    assert rows["voi_split"] == f"{expected['voi_split']:.4f}"
    assert rows["n_truth"] == str(expected["n_truth"])


def test_options(app):
    run = runner.invoke(app, ["result", "truth", "--json", "--with-zero", "--time", "1"])
    assert json.loads(run.stdout) == whole(RESULT[1:2], TRUTH[1:2], ignore_zero=False)
    assert runner.invoke(app, ["result", "truth", "--threads", "0"]).exit_code == 2
    assert runner.invoke(app, ["result", "truth", "--time", "-1"]).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["absent", "truth"], "absent does not exist"), (["result", "truth", "--time", "9"], "there is no time point 9")],
)
def test_errors_are_those_the_application_reports(app, arguments, message):
    run = runner.invoke(app, [*arguments, "--json"])
    assert run.exit_code != 0
    assert run.stdout == ""
    assert isinstance(run.exception, UserError)
    assert message in run.exception.problem


def write_ome_zarr(folder: Path, labels: np.ndarray, axes: str) -> None:
    """An OME-Zarr 0.5 image of one level."""
    group = zarr.create_group(folder, zarr_format=3)
    group.create_array("0", data=labels, chunks=tuple(min(n, 8) for n in labels.shape))
    scale = [{"type": "scale", "scale": [1.0] * len(axes)}]
    kinds = {"t": "time"}
    image = {
        "axes": [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes],
        "datasets": [{"path": "0", "coordinateTransformations": scale}],
    }
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The same truth and result in several formats, in the current folder, and the command."""
    monkeypatch.chdir(tmp_path)
    write_ome_zarr(Path("x.ome.zarr"), np.zeros((1, 9, 14, 17), np.uint16), "tzyx")
    write_ome_zarr(Path("x.ome.zarr/labels/segmentation"), RESULT[:1], "tzyx")
    zarr.create_group("plain.zarr", zarr_format=2).create_array("deep/result", data=RESULT[0], chunks=(5, 5, 5))
    with h5py.File("truth.h5", "w") as file:
        file["raw"], file["label"], file["coarse"] = np.zeros((9, 14, 17)), TRUTH[0], TRUTH[0, ::2]
    tifffile.imwrite("truth.tif", TRUTH[0], photometric="minisblack")
    tifffile.imwrite("lapse.tif", TRUTH, photometric="minisblack")
    np.save("truth.npy", TRUTH[0])
    app = typer.Typer()
    app.command()(evaluate)
    return app


@pytest.mark.parametrize(
    "arguments",
    [
        ["x.ome.zarr", "truth.h5"],
        ["x.ome.zarr/", "truth.h5:label"],
        ["x.ome.zarr:labels/segmentation", "truth.tif"],
        ["plain.zarr:deep/result", "truth.tif"],
        ["plain.zarr", "truth.h5", "--result-key", "deep/result", "--truth-key", "label"],
    ],
)
def test_files_of_all_formats(files, arguments):
    run = runner.invoke(files, [*arguments, "--json"])
    assert run.exit_code == 0, run.exception
    assert json.loads(run.stdout) == whole(RESULT[:1], TRUTH[:1])


def test_axes_of_a_file_that_does_not_tell_them(files):
    run = runner.invoke(files, ["lapse.tif", "lapse.tif", "--result-axes", "tzyx", "--truth-axes", "tzyx", "--json"])
    assert json.loads(run.stdout) == whole(TRUTH, TRUTH)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.ome.zarr", "truth.h5:coarse"], "the result has (1, 1, 9, 14, 17), the truth (1, 1, 5, 14, 17)"),
        (["x.ome.zarr", "truth.h5:raw"], "the truth is of type float64"),
        (["x.ome.zarr", "truth.h5:nothing"], "nothing"),
        (["absent.zarr", "truth.h5"], "absent.zarr does not exist"),
        (["x.ome.zarr", "truth.npy"], "truth.npy"),
    ],
)
def test_files_that_cannot_be_compared(files, arguments, message):
    run = runner.invoke(files, [*arguments, "--json"])
    assert run.stdout == ""
    assert isinstance(run.exception, UserError), run.exception
    assert message in run.exception.problem


def test_importing_the_command_imports_no_array_library():
    code = (
        "import sys, bigseg.cli.evaluate; print(*({'numpy', 'zarr', 'h5py', 'scipy', 'pydantic'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "\n"


def test_one_time_point_of_a_series_against_a_file_that_holds_it_alone(tmp_path):
    series = np.zeros((2, 4, 6, 6), np.uint16)
    series[0, :, :3], series[0, :, 3:], series[1] = 1, 2, 3
    tifffile.imwrite(tmp_path / "series.tif", series, imagej=True, metadata={"axes": "TZYX"})
    tifffile.imwrite(tmp_path / "second.tif", series[1], imagej=True, metadata={"axes": "ZYX"})
    with (
        open_source(Input(path=str(tmp_path / "series.tif"))) as result,
        open_source(Input(path=str(tmp_path / "second.tif"))) as truth,
    ):
        assert score_sources(result, truth, time=1)["adapted_rand_error"] == 0
        assert score_sources(result, truth, time=0)["voi_split"] == pytest.approx(1)
        with pytest.raises(UserError, match="shapes"):
            score_sources(result, truth)
