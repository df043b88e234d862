"""``bigseg init``: the configuration that it writes is valid, fits the volume, and runs from where it lies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import yaml
import zarr
from network_checks import package
from pipeline_checks import DATA
from typer.testing import CliRunner

from bigseg.cli import app
from bigseg.config import load_config
from bigseg.config.load import validate_config
from bigseg.errors import UserError
from bigseg.planning.stains import MEANINGS, STAINS
from bigseg.planning.workflow import Workflow
from bigseg.stages import find_step


def init(folder: Path, *options: object) -> str:
    """Call ``bigseg init FOLDER …``; gives what it prints."""
    done = CliRunner().invoke(app, ["init", str(folder), *map(str, options)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def refused(folder: Path, *options: object) -> str:
    with pytest.raises(UserError) as caught:
        init(folder, *options)
    assert caught.value.remedy
    return str(caught.value)


def planned(folder: Path) -> Workflow:
    """The workflow as planned from the written configuration."""
    settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    folders = {key: str(folder / settings[key]) for key in ("results", "work")}
    return Workflow({**settings, **folders}, "config.yaml")


def files(folder: Path, volume: np.ndarray, truth: np.ndarray) -> dict[str, tuple[list[Any], str]]:
    """The same volume in several formats: options of ``init``, and the name that the sample gets."""
    tifffile.imwrite(
        folder / "my ovule #1.tif",
        volume,
        imagej=True,
        resolution=(4, 4),
        metadata={"axes": "ZYX", "spacing": 0.5, "unit": "micron"},
    )
    for z, plane in enumerate(volume):
        tifffile.imwrite(folder / f"plane{z:02d}.tif", plane)
    with h5py.File(folder / "ovule.h5", "w") as file:
        file["raw"], file["label"] = volume, truth
        file["raw"].attrs["element_size_um"] = [0.5, 0.25, 0.25]
    group = zarr.open_group(str(folder / "ovule.ome.zarr"), mode="w", zarr_format=3)
    group.create_array("0", shape=volume.shape, dtype="uint8", chunks=(8, 32, 32), dimension_names=tuple("zyx"))[
        ...
    ] = volume
    scale = {"type": "scale", "scale": [0.5, 0.25, 0.25]}
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"],
                "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
            }
        ],
    }
    return {
        "tiff": (["--input", folder / "my ovule #1.tif"], "my-ovule-1"),
        "planes": (["--input", folder / "plane*.tif"], "plane"),
        "indexed": (["--input", folder / "plane{z}.tif", "--truth", f"{folder / 'ovule.h5'}:label"], "plane"),
        "hdf5": (["--input", folder / "ovule.h5", "--key", "raw", "--truth", f"{folder / 'ovule.h5'}:label"], "ovule"),
        "ome-zarr": (["--input", folder / "ovule.ome.zarr", "--name", "embryo_3"], "embryo_3"),
    }


@pytest.mark.parametrize("kind", ["tiff", "planes", "indexed", "hdf5", "ome-zarr"])
def test_it_writes_a_valid_configuration_that_fits(cells, tmp_path, kind):
    volume, truth = cells.image[0], cells.truth[0]
    options, name = files(tmp_path, volume, truth)[kind]
    folder = tmp_path / "new" / "run"
    told = init(folder, *options)
    assert f"wrote {folder / 'config.yaml'}" in told
    assert "(1, 1, 24, 64, 64), uint8" in told
    assert f"cd {folder} && snakemake" in told

    config = load_config(folder / "config.yaml")
    assert list(config.samples) == [name]
    assert Path(config.samples[name].input.path).is_absolute()
    plan = planned(folder).plans[name]
    assert plan.grid.shape == (24, 64, 64)
    assert all(b <= n for b, n in zip(plan.grid.block_shape, plan.grid.shape, strict=True))
    assert config.blocks.block_shape == list(plan.grid.block_shape)
    if kind in ("planes", "indexed"):
        assert "voxel size unknown" in told
        assert plan.voxel_size_um == (1.0, 1.0, 1.0)
        assert config.samples[name].input.voxel_size_um == [1.0, 1.0, 1.0]
    else:
        assert "voxel size (z, y, x) [0.5, 0.25, 0.25] µm" in told
        assert plan.voxel_size_um == (0.5, 0.25, 0.25)
    assert (config.samples[name].truth is not None) == (kind in ("indexed", "hdf5"))
    assert plan.referenced == (kind == "ome-zarr")


def test_only_what_fits_the_input_differs_from_the_defaults(cells, tmp_path):
    init(tmp_path / "run", "--input", cells.folder / "image_t{t}.tif")
    given = load_config(tmp_path / "run" / "config.yaml").model_dump()
    default = validate_config({"samples": {"x": {"input": {"path": "x"}}}}, "default").model_dump()
    assert {key for key in given if given[key] != default[key]} == {"samples", "blocks"}
    (sample,) = given["samples"].values()
    assert sample["input"]["path"] == str(cells.folder / "image_t{t}.tif")
    assert planned(tmp_path / "run").plans["image"].times == (0, 1, 2)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("embryo_t{t}_c{c}.tif", "embryo"),
        ("img-T{t}.ome.tif", "img"),
        ("light{t}.tif", "light"),
        ("t{t}.tif", "sample"),
    ],
)
def test_what_counts_time_points_is_no_part_of_the_name(cells, tmp_path, file, name):
    for t in range(2):
        (tmp_path / file.format(t=t, c=0)).write_bytes((cells.folder / f"image_t{t}.tif").read_bytes())
    init(tmp_path / "run", "--input", tmp_path / file)
    assert list(load_config(tmp_path / "run" / "config.yaml").samples) == [name]


@pytest.mark.parametrize(
    ("shape", "memory_gb"), [((300, 700, 900), 2.0), ((40, 3000, 300), 1.0), ((600, 600, 600), 8.0)]
)
def test_every_job_fits_into_the_memory(tmp_path, shape, memory_gb):
    with h5py.File(tmp_path / "large.h5", "w") as file:
        file.create_dataset("raw", shape, "uint8", chunks=(8, 64, 64))  # nothing is written, nothing is read
    init(tmp_path / "run", "--input", tmp_path / "large.h5", "--memory-gb", memory_gb)
    workflow = planned(tmp_path / "run")
    threads = workflow.config.execution.threads
    needed = [
        workflow.memory_mb(name, "large", threads, 1) for name in workflow.steps("large") if find_step(name).in_batches
    ]
    assert max(needed) <= 1000 * memory_gb
    assert max(needed) >= 1000 * memory_gb / 16, "blocks are not needlessly small"


def test_an_input_relative_to_the_working_directory(cells, tmp_path, monkeypatch):
    monkeypatch.chdir(cells.folder)
    init(tmp_path / "run", "--input", "image_t0.tif", "--truth", "truth_t0.tif")
    sample = load_config(tmp_path / "run" / "config.yaml").samples["image_t0"]
    assert sample.input.path == str(cells.folder / "image_t0.tif")
    assert sample.truth.path == str(cells.folder / "truth_t0.tif")


def test_an_existing_configuration_is_kept_unless_forced(cells, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("mine: 1\n")
    options = ["--input", cells.folder / "image_t0.tif"]
    told = refused(tmp_path, *options)
    assert f"{path}: exists already" in told
    assert "--force" in told
    assert path.read_text() == "mine: 1\n"
    init(tmp_path, *options, "--force")
    assert list(load_config(path).samples) == ["image_t0"]


def test_a_snakefile_of_the_users_own_is_kept(cells, tmp_path):
    (tmp_path / "Snakefile").write_text("# mine\n")
    init(tmp_path, "--input", cells.folder / "image_t0.tif")
    assert (tmp_path / "Snakefile").read_text() == "# mine\n"


BAD: dict[str, tuple[list[str], str]] = {
    "missing": (["--input", "none.tif"], "none.tif does not exist"),
    "no key": (["--input", "two.h5"], "`key: first`"),
    "wrong key": (["--input", "two.h5", "--key", "third"], "data set `third` is not in"),
    "axes": (["--input", "two.h5", "--key", "first", "--axes", "zyq"], "--axes: 'zyq' is not allowed"),
    "wrong axes": (["--input", "two.h5", "--key", "first", "--axes", "czyx"], "`axes: czyx` names 4 axes"),
    "name": (["--input", "two.h5", "--key", "first", "--name", "a b"], "letters, digits"),
    "truth": (["--input", "two.h5", "--key", "first", "--truth", "two.h5:second"], "has shape [1, 4, 8, 9]"),
    "no truth": (["--input", "two.h5", "--key", "first", "--truth", "truth.tif"], "truth.tif does not exist"),
    "no image": (["--input", "text.txt"], "text.txt is none of the formats"),
    "empty": (["--input", "two.h5", "--key", "empty"], "the array is empty"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("there", [False, True], ids=["new folder", "folder there"])
def test_bad_input_leaves_nothing_behind(tmp_path, monkeypatch, case, there):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("no image")
    with h5py.File("two.h5", "w") as file:
        file["first"], file["second"] = np.zeros((4, 8, 8), np.uint8), np.zeros((4, 8, 9), np.uint8)
        file["empty"] = np.zeros((0, 8, 8), np.uint8)
    folder = tmp_path / "run"
    if there:
        folder.mkdir()
    options, expected = BAD[case]
    assert expected in refused(folder, *options)
    assert folder.exists() == there
    assert not there or list(folder.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} - {"run"} == {"text.txt", "two.h5"}


def test_a_folder_that_cannot_be_made(cells, tmp_path):
    (tmp_path / "file").write_text("")
    told = refused(tmp_path / "file" / "run", "--input", cells.folder / "image_t0.tif")
    assert str(tmp_path / "file" / "run" / "config.yaml") in told


def test_real_data(tmp_path):
    path = DATA / "membranes" / "sample_ovule.h5"
    if not path.exists():
        pytest.skip(f"real data {path} are not on this machine")
    told = init(tmp_path / "run", "--input", path, "--key", "raw", "--truth", f"{path}:label")
    assert "(1, 1, 32, 128, 128), uint8" in told
    assert "[0.235, 0.15, 0.15]" in told
    assert "evaluate.scores" in planned(tmp_path / "run").steps("sample_ovule")


def test_axes_of_the_image_are_those_of_its_truth(tmp_path):
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file["raw"], file["tracks"] = np.zeros((3, 20, 24), np.uint8), np.ones((3, 20, 24), np.uint16)
    movie = tmp_path / "movie.h5"
    init(tmp_path / "run", "--input", movie, "--key", "raw", "--axes", "tyx", "--truth", f"{movie}:tracks")
    (sample,) = load_config(tmp_path / "run" / "config.yaml").samples.values()
    assert sample.truth is not None
    assert (sample.input.axes, sample.truth.axes) == ("tyx", "tyx")
    assert planned(tmp_path / "run").plans["movie"].times == (0, 1, 2)


@pytest.mark.workflow
def test_snakemake_runs_from_the_folder(cells, tmp_path, command):
    """With the profile of the checkout, without a word about where anything lies."""
    init(tmp_path / "run", "--input", cells.folder / "image_t0.tif", "--truth", cells.folder / "truth_t0.tif")
    config = tmp_path / "run" / "config.yaml"
    before = sorted(path.name for path in cells.folder.iterdir())
    done = command(tmp_path / "run", "snakemake", "--cores", "2")
    assert done.status == 0, done.text
    assert "profiles/default" in done.text
    results = tmp_path / "run" / "results"
    assert (results / "image_t0.ome.zarr" / "labels" / "segmentation" / "zarr.json").is_file()
    for name in ("report.html", "objects.parquet", "scores.json"):
        assert (results / "image_t0" / name).is_file()
    assert sorted(os.listdir(tmp_path / "run")) == sorted(
        [".snakemake", "Snakefile", "config.yaml", "profiles", "results", "slurm", "work"]
    )
    assert sorted(path.name for path in cells.folder.iterdir()) == before

    again = command(tmp_path / "run", "snakemake", "--cores", "2")
    assert again.status == 0
    assert again.jobs == {}
    config.write_text(config.read_text().replace("beta: 0.5", "beta: 0.4"))
    cluster = command(tmp_path / "run", "snakemake", "--profile", "slurm", "-n")
    assert cluster.status == 0, cluster.text
    assert set(cluster.jobs) == {
        "partition",
        "segment_contacts",
        "segment_objects",
        "segment",
        "pyramid_metadata",
        "measure",
        "measure_table",
        "evaluate",
        "evaluate_scores",
        "report",
        "report_provenance",
    }


@pytest.mark.parametrize("stain", ["membrane", "nuclei", "em"])
def test_a_stain_chooses_the_settings(tmp_path, stain):
    """What is written is what the recipe says and the defaults otherwise, and can be planned."""
    image = np.random.default_rng(0).integers(0, 99, (4, 20, 24)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "image.tif", image, photometric="minisblack")
    told = init(tmp_path / "run", "--input", tmp_path / "image.tif", "--axes", "zyx", "--stain", stain)
    assert MEANINGS[stain] in told
    assert "measure.table" in planned(tmp_path / "run").steps("image")
    config = load_config(tmp_path / "run" / "config.yaml")
    expected = validate_config({"samples": config.model_dump()["samples"], **STAINS[stain]}, "test")
    for section in ("predict", "supervoxels", "partition", "segment"):
        assert getattr(config, section) == getattr(expected, section)
    assert (config.predict.invert, config.supervoxels.foreground_threshold) == {
        "membrane": (False, "auto"),
        "nuclei": (True, "otsu"),
        "em": (True, "auto"),
    }[stain]


def test_a_model_makes_the_boundary_map(cells, tmp_path, monkeypatch):
    image = tmp_path / "image.tif"
    tifffile.imwrite(image, cells.image[0], metadata={"axes": "ZYX"})
    told = init(tmp_path / "run", "--input", image, "--model", "membrane")
    assert "network membrane" in told
    config = load_config(tmp_path / "run" / "config.yaml")
    assert (config.predict.method, config.predict.model) == ("network", "membrane")
    assert planned(tmp_path / "run").step("supervoxels.blocks", "image", 0).parameters["crest"]["weight"] == 40
    package(tmp_path / "own")
    monkeypatch.chdir(tmp_path)
    init(tmp_path / "other", "--input", image, "--model", "own")
    assert load_config(tmp_path / "other" / "config.yaml").predict.model == str(tmp_path / "own")
    assert "membrane" in refused(tmp_path / "bad", "--input", image, "--model", "membranes")
    assert "--model" in refused(tmp_path / "bad", "--input", image, "--model", "membrane", "--stain", "nuclei")
    package(tmp_path / "two", in_channels=2)
    assert "predict.channels" in refused(tmp_path / "bad", "--input", image, "--model", tmp_path / "two")
    assert not (tmp_path / "bad" / "config.yaml").exists()
