"""Whatever is wrong with the user's files or settings ends in one message that names it, before anything is lost."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from pipeline_checks import Settings, changed, layout, run, settings

from bigseg.errors import UserError
from bigseg.planning.workflow import Workflow


@pytest.fixture
def good(cells, tmp_path) -> Settings:
    """A valid configuration of a file of the test's own."""
    return changed_input(settings(tmp_path, {}), tif(tmp_path, cells.image[0]))


def changed_input(config: Settings, spec: dict[str, Any], **roles: Any) -> Settings:
    """The configuration with another input, and maybe a truth, a mask or times."""
    return {**config, "samples": {"a": {**config["samples"]["a"], "input": spec, **roles}}}


def tif(folder: Path, volume: np.ndarray, name: str = "image.tif", **options: Any) -> dict[str, Any]:
    tifffile.imwrite(folder / name, volume, photometric="minisblack", **options)
    return {"path": str(folder / name)}


def hdf5(folder: Path, volume: np.ndarray, name: str = "image.h5", **options: Any) -> dict[str, Any]:
    with h5py.File(folder / name, "w") as file:
        file.create_dataset("raw", data=volume, **options)
    return {"path": str(folder / name), "key": "raw"}


def cut(path: Path, share: float = 0.5) -> None:
    """Leave only the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    """All that lies in a folder, with size and time of change."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def refused(config: Settings) -> str:
    """The message of a configuration that planning refuses, having written no result."""
    results = Path(config["results"])
    before = snapshot(results)
    with pytest.raises(UserError) as caught:
        Workflow(config, "my.yaml")
    assert snapshot(results) == before
    assert caught.value.remedy
    return str(caught.value)


def failed(config: Settings) -> str:
    """The message of a run that fails on the way; what it leaves is no OME-Zarr."""
    with pytest.raises(UserError) as caught:
        run(config)
    metadata = layout(config).result / "zarr.json"
    assert not metadata.exists() or "ome" not in json.loads(metadata.read_text())["attributes"]
    assert not layout(config).labels().parent.joinpath("zarr.json").exists()
    assert caught.value.remedy
    return str(caught.value)


# Files


def test_a_missing_file(good, tmp_path):
    told = refused(changed_input(good, {"path": str(tmp_path / "imgae.tif")}))
    assert f"samples.a.input: {tmp_path / 'imgae.tif'} does not exist" in told
    assert f"did you mean {tmp_path / 'image.tif'}" in told


@pytest.mark.parametrize("role", ["truth", "mask"])
def test_a_missing_truth_or_mask(good, tmp_path, role):
    told = refused(changed_input(good, good["samples"]["a"]["input"], **{role: {"path": str(tmp_path / "no.tif")}}))
    assert f"samples.a.{role}: {tmp_path / 'no.tif'} does not exist" in told


def test_a_missing_data_set(good, cells, tmp_path):
    told = refused(changed_input(good, {**hdf5(tmp_path, cells.image[0]), "key": "rwa"}))
    assert f"data set `rwa` is not in {tmp_path / 'image.h5'}" in told
    assert "`key: raw`" in told


@pytest.mark.parametrize("axes", ["yx", "czyx", "tczyx"])
def test_wrong_axes(good, cells, tmp_path, axes):
    told = refused(changed_input(good, {**hdf5(tmp_path, cells.image[0]), "axes": axes}))
    assert f"`axes: {axes}` names {len(axes)} axes" in told
    assert "(24, 64, 64)" in told
    assert "e.g. `axes: zyx`" in told


def test_axes_that_nothing_tells(good, cells, tmp_path):
    told = refused(changed_input(good, hdf5(tmp_path, cells.image)))
    assert "nothing tells what the 4 dimensions" in told
    assert "`axes: tzyx`" in told


@pytest.mark.parametrize("name", ["image.tif", "image.h5", "image.png"])
def test_a_file_that_is_not_what_its_name_says(good, tmp_path, name):
    (tmp_path / name).write_bytes(b"this is no image" * 100)
    told = refused(changed_input(good, {"path": str(tmp_path / name)}))
    assert str(tmp_path / name) in told


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_a_file_and_a_folder_without_permission(good, tmp_path):
    path = tmp_path / "image.tif"
    path.chmod(0)
    told = refused(good)
    path.chmod(0o600)
    assert str(path) in told
    (tmp_path / "closed").mkdir(mode=0o500)
    told = refused({**good, "results": str(tmp_path / "closed" / "results")})
    assert told.startswith(f"results: {tmp_path / 'closed' / 'results'} cannot be written")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_truncated_tiff(good, cells, tmp_path, compression):
    spec = tif(tmp_path, cells.image[0], compression=compression)
    cut(tmp_path / "image.tif")
    told = refused(changed_input(good, spec))
    assert str(tmp_path / "image.tif") in told
    assert "complete" in told


def test_a_truncated_hdf5(good, cells, tmp_path):
    spec = hdf5(tmp_path, cells.image[0], chunks=(8, 32, 32), compression="gzip")
    cut(tmp_path / "image.h5")
    told = refused(changed_input(good, spec))
    assert str(tmp_path / "image.h5") in told
    assert "truncated" in told


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_truncated_chunk(good, cells, tmp_path, zarr_format):
    """Planning reads no chunk, so this is found by the job that reads it; nothing of a result is there then."""
    path = tmp_path / "image.zarr"
    array = zarr.create_array(
        str(path), shape=(24, 64, 64), dtype="uint8", chunks=(24, 64, 64), zarr_format=zarr_format
    )
    array[...] = cells.image[0]
    (chunk,) = (file for file in path.rglob("*") if file.is_file() and file.name in ("0", "0.0.0"))
    cut(chunk)
    told = failed(changed_input(good, {"path": str(path), "axes": "zyx"}))
    assert str(path) in told
    assert "ingest.blocks, time point 0, block 0 [0:24, 0:64, 0:64]" in told
    assert not Path(good["results"]).exists()


def test_a_damaged_file_of_a_time_lapse(good, cells, tmp_path):
    for t in range(3):
        cells.write(tmp_path / f"t{t}.tif", cells.image[t])
    cut(tmp_path / "t1.tif")
    told = refused(changed_input(good, {"path": f"{tmp_path}/t{{t}}.tif"}))
    assert str(tmp_path / "t1.tif") in told


# Values in the files


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers(good, cells, tmp_path, value):
    image = cells.image[0].astype(np.float32)
    image[3, 40, 50] = value
    config = changed_input(good, hdf5(tmp_path, image))
    told = failed(changed(config, blocks={"block_shape": [24, 32, 32]}))
    assert str(tmp_path / "image.h5") in told
    assert "NaN or infinite values, the first at (z, y, x) = (3, 40, 50) of channel 0, time point 0" in told
    assert "replace them" in told


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_image(good, tmp_path, value):
    told = failed(changed_input(good, hdf5(tmp_path, np.full((24, 64, 64), value, np.uint8))))
    assert f"{tmp_path / 'image.h5'}: time point 0 is constant, every voxel is {value}" in told


def test_percentiles_of_one_intensity(good, tmp_path):
    image = np.full((24, 64, 64), 3, np.uint8)
    image[5, 5, 5] = 200
    told = failed(changed_input(good, hdf5(tmp_path, image)))
    assert "predict.percentiles: [1.0, 99.8] of time point 0 are the same intensity, 3" in told


def test_an_empty_image(good, tmp_path):
    told = refused(changed_input(good, hdf5(tmp_path, np.zeros((0, 64, 64), np.uint8))))
    assert f"{tmp_path / 'image.h5'}:raw: the array is empty, shape (0, 64, 64)" in told


def test_a_type_that_is_no_intensity(good, tmp_path):
    told = refused(changed_input(good, hdf5(tmp_path, np.zeros((4, 8, 8), np.complex64))))
    assert "values of type complex64 cannot be segmented" in told


# Truth and mask


@pytest.mark.parametrize("role", ["truth", "mask"])
def test_another_shape(good, cells, tmp_path, role):
    other = {"path": str(tmp_path / "other.tif")}
    cells.write(tmp_path / "other.tif", cells.truth[0, :, :32])
    spec = good["samples"]["a"]["input"]
    told = refused(changed_input(good, spec, **{role: other}))
    assert f"samples.a.{role}: {other['path']} has shape [1, 24, 32, 64] (t, z, y, x)" in told
    assert f"the image {spec['path']} has [1, 24, 64, 64]" in told


def test_a_truth_of_fractions(good, cells, tmp_path):
    truth = hdf5(tmp_path, cells.truth[0].astype(np.float32), "truth.h5")
    told = refused(changed_input(good, good["samples"]["a"]["input"], truth=truth))
    assert f"samples.a.truth: {truth['path']} is of type float32, labels are integers" in told


def test_a_truth_of_channels(good, cells, tmp_path):
    truth = {**hdf5(tmp_path, cells.truth[:2], "truth.h5"), "axes": "czyx"}
    told = refused(changed_input(good, good["samples"]["a"]["input"], truth=truth))
    assert f"samples.a.truth: {truth['path']} has 2 channels" in told


def test_a_truth_of_negative_labels(good, cells, tmp_path):
    truth = hdf5(tmp_path, cells.truth[0].astype(np.int32) - 300, "truth.h5")
    with pytest.raises(UserError, match="negative") as caught:
        run(changed_input(good, good["samples"]["a"]["input"], truth=truth))
    assert truth["path"] in str(caught.value)


# Settings that do not fit the files


def test_a_block_larger_than_the_volume(good):
    told = refused(changed(good, blocks={"block_shape": [24, 64, 128]}))
    assert "blocks.block_shape: [24, 64, 128] is larger than the volume [24, 64, 64] of sample 'a'" in told
    assert "set blocks.block_shape to [24, 64, 64]" in told


def test_a_block_that_no_chunk_divides(good, tmp_path):
    spec = hdf5(tmp_path, np.zeros((4, 200, 200), np.uint8))
    told = refused(changed(changed_input(good, spec), blocks={"block_shape": [4, 101, 101]}))
    assert "blocks.block_shape: [4, 101, 101]" in told
    assert "set blocks.block_shape to [4, 96, 96]" in told


def test_a_halo_larger_than_the_volume(good):
    told = refused(changed(good, supervoxels={"halo": [8, 65, 64]}))
    assert "supervoxels.halo: [8, 65, 64] is larger than the volume [24, 64, 64] of sample 'a'" in told
    assert "set supervoxels.halo to [8, 64, 64], or to auto" in told
    Workflow(changed(good, supervoxels={"halo": [24, 64, 64]}), "my.yaml")
    Workflow(changed(good, supervoxels={"halo": "auto"}), "my.yaml")


def test_a_time_point_that_is_not_there(good):
    told = refused(changed_input(good, good["samples"]["a"]["input"], times=[0, 3]))
    assert "samples.a.times: 3 is not a time point" in told
    assert "the last one is 0" in told


def test_a_channel_that_is_not_there(good):
    told = refused(changed(good, predict={"channel": 1}))
    assert "predict.channel: 1 is not a channel" in told
    assert "the last one is 0" in told


# Folders


@pytest.mark.parametrize("key", ["results", "work"])
def test_a_folder_below_a_file(good, tmp_path, key):
    (tmp_path / "file").write_text("")
    told = refused({**good, key: str(tmp_path / "file" / "below")})
    assert told.startswith(f"{key}: {tmp_path / 'file' / 'below'} cannot be written ({tmp_path / 'file'} is no folder")
    assert f"`{key}:`" in told


def test_a_result_of_another_input(good, cells, tmp_path):
    run(good, ("ingest",))
    other = tif(tmp_path, cells.image[1], "other.tif")
    told = refused(changed_input(good, other))
    assert f"{layout(good).result}: belongs to another run, of input '{tmp_path / 'image.tif'}'" in told
    assert "move it away" in told


def folder_of_images(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "picture.png").write_bytes(b"")


def file_of_that_name(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("")


def group_of_others(path: Path) -> None:
    zarr.open_group(str(path), mode="w", zarr_format=3).attrs["ome"] = {"version": "0.5"}


def damaged_group(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "zarr.json").write_text('{"attributes": {"bigseg"')


def strange_owner(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "zarr.json").write_text('{"attributes": {"bigseg": 5}}')


@pytest.mark.parametrize("make", [folder_of_images, file_of_that_name, group_of_others, damaged_group, strange_owner])
def test_a_result_that_is_not_ours(good, make: Callable[[Path], None]):
    make(layout(good).result)
    told = refused(good)
    assert f"{layout(good).result}: exists already and was not made by bigseg" in told


def test_intermediates_of_a_result_that_is_gone_or_elsewhere(good, tmp_path):
    """They would tell that voxels are done that are not there."""
    run(good, ("ingest",))
    told = refused({**good, "results": str(tmp_path / "elsewhere")})
    assert str(layout(good).folder) in told
    assert str(tmp_path / "elsewhere") in told
    shutil.rmtree(layout(good).result)
    told = refused(good)
    assert f"{layout(good).result}: is gone" in told
    assert f"delete {layout(good).folder}" in told
    shutil.rmtree(layout(good).folder)
    run(good, ("ingest",))


# The same through Snakemake


def write_config(folder: Path, config: dict[str, Any]) -> None:
    (folder / "config.yaml").write_text(json.dumps(config))


@pytest.mark.workflow
@pytest.mark.parametrize("case", ["file", "key", "constant"])
def test_the_user_is_told_once_and_plainly(tmp_path, snakemake, case):
    tif(tmp_path, np.full((8, 16, 16), 7, np.uint8))
    config: dict[str, Any] = {"samples": {"a": {"input": {"path": "image.tif", "axes": "zyx"}}}}
    match case:
        case "file":
            config["samples"]["a"]["input"]["path"] = "imgae.tif"
            expected = "samples.a.input: imgae.tif does not exist\n  Remedy: did you mean image.tif?"
        case "key":
            config["partition"] = {"bta": 0.4}
            expected = "config.yaml: partition.bta: unknown key; did you mean 'beta'?"
        case _:
            expected = "image.tif: time point 0 is constant, every voxel is 7"
    write_config(tmp_path, config)
    done = snakemake(tmp_path)
    assert done.status != 0
    assert done.text.count(expected) == 1, done.text
    assert "Remedy: " in done.text
    assert "Traceback" not in done.text
    metadata = list((tmp_path / "results").rglob("zarr.json"))
    assert case == "constant" or not metadata
    assert not any("ome" in json.loads(path.read_text())["attributes"] for path in metadata)
