"""Whole runs, from files to scores, in this process: quality, and that blocks, batches and threads do not matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pipeline_checks import BLOCKS, DATA, Settings, changed, digests, done, labels, run, scores, settings

from bigseg.geometry.box import Box
from bigseg.kernels.synthetic.tissue import Tissue


@pytest.fixture(scope="module")
def ovule() -> dict[str, Any]:
    path = DATA / "membranes" / "sample_ovule.h5"
    if not path.exists():
        pytest.skip(f"real data {path} are not on this machine")
    return {"input": {"path": str(path), "key": "raw"}, "truth": {"path": str(path), "key": "label"}}


@pytest.fixture(scope="module")
def tissue(tmp_path_factory) -> dict[str, Any]:
    """A tissue with background around it."""
    path = tmp_path_factory.mktemp("tissue") / "tissue.h5"
    made = Tissue((32, 96, 96))
    image, truth = made.render(Box((0, 0, 0), made.shape))
    with h5py.File(path, "w") as file:
        file["raw"], file["label"] = image, truth
        file["raw"].attrs["element_size_um"] = made.voxel_size_um
    return {"input": {"path": str(path), "key": "raw"}, "truth": {"path": str(path), "key": "label"}}


def errors(config: Settings) -> tuple[float, float]:
    run(config)
    found = scores(config)
    return found["adapted_rand_error"], found["voi_split"] + found["voi_merge"]


def test_default_settings_on_real_data(ovule, tmp_path):
    rand, voi = errors(settings(tmp_path, ovule))
    assert rand <= 0.055
    assert voi <= 0.62


def test_default_settings_on_synthetic_data(tissue, tmp_path):
    config = settings(tmp_path, tissue)
    rand, voi = errors(config)
    assert rand <= 0.06
    assert voi <= 0.55
    assert scores(config)["recall"] >= 0.9


@pytest.mark.parametrize("shapes", [[[32, 128, 128], [16, 64, 64], [32, 32, 64], [8, 64, 128]]])
def test_blocks_do_not_matter_on_real_data(ovule, tmp_path, shapes):
    check_blocks_do_not_matter(ovule, tmp_path, shapes)


@pytest.mark.parametrize("shapes", [[[32, 96, 96], [16, 48, 48], [24, 40, 56], [8, 64, 64]]])
def test_blocks_do_not_matter_on_synthetic_data(tissue, tmp_path, shapes):
    check_blocks_do_not_matter(tissue, tmp_path, shapes)


def check_blocks_do_not_matter(sample: dict[str, Any], folder: Path, shapes: list[list[int]]) -> None:
    found = [errors(settings(folder / str(i), sample, blocks={"block_shape": shape})) for i, shape in enumerate(shapes)]
    spread = np.ptp(np.array(found), axis=0)
    assert spread[0] <= 0.01, found
    assert spread[1] <= 0.01, found


@pytest.mark.parametrize(("batches", "threads"), [(7, 1), (3, 2), (1, 2)], ids=["7-1", "3-2", "again"])
def test_batches_and_threads_do_not_matter(first_run, tmp_path, batches, threads):
    config = settings(
        tmp_path,
        first_run["samples"]["a"],
        blocks=BLOCKS,
        pyramid={"smallest": 32},
        execution={"batches": batches, "threads": threads},
    )
    run(config)
    expected = {key: digest for key, digest in digests(first_run).items() if not key[0].startswith("report.")}
    assert digests(config) == expected
    assert np.array_equal(labels(config), labels(first_run))


def test_other_batches_run_nothing_again(finished):
    assert done(changed(finished, execution={"batches": 7, "threads": 1}), None) == {}


def test_two_samples_in_one_run(cells, single, finished, tmp_path):
    other = {"input": {"path": str(cells.folder / "image_t1.tif")}}
    both = {**finished, "samples": {"a": single, "b": other}}
    before = digests(finished)
    assert set(done(both)) >= {"ingest.blocks", "segment.blocks", "measure.table"}
    assert digests(both) == before
    assert (tmp_path / "results" / "b.ome.zarr" / "labels" / "segmentation" / "zarr.json").exists()
    assert not (tmp_path / "results" / "b" / "scores.json").exists()
