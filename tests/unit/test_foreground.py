"""Foreground: the threshold, the local mean, and whole runs on separated objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from network_checks import package
from pipeline_checks import DATA, NAME, Settings, changed, digests, done, labels, layout, run
from pipeline_checks import settings as config_of
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu
from upkeep_checks import verified

from bigseg.errors import UserError
from bigseg.kernels.foreground import count_levels, is_foreground, level_of, otsu_level
from bigseg.kernels.small_objects import remove_small
from bigseg.planning import models as planned
from bigseg.planning.stains import STAINS
from bigseg.planning.workflow import Workflow
from bigseg.volumes.image import read_foreground

# Kernels


@given(arrays(np.uint8, st.integers(1, 200)))
def test_the_threshold_is_otsus_on_square_roots(values):
    """The oracle tries every threshold; scikit-image's works on a histogram with bins of another kind."""
    level = otsu_level(count_levels(values))
    roots = np.sqrt(values.astype(np.float64))
    between = {
        t: (values >= t).sum() * (values < t).sum() * (roots[values >= t].mean() - roots[values < t].mean()) ** 2
        for t in range(1, 256)
        if 0 < (values >= t).sum() < len(values)
    }
    if not between:
        assert level == 256
        return
    assert between[level] == pytest.approx(max(between.values()))


def test_the_threshold_agrees_with_scikit_image():
    generator = np.random.default_rng(0)
    values = np.clip(np.concatenate([generator.normal(30, 8, 4000), generator.normal(140, 30, 600)]), 0, 255)
    values = values.astype(np.uint8)
    assert otsu_level(count_levels(values)) == pytest.approx(
        threshold_otsu(np.sqrt(values.astype(np.float64)), nbins=4096) ** 2, abs=2
    )


@pytest.mark.parametrize(("probability", "level"), [(0.5, 128), (1e-6, 1), (0.2, 51), (0.999999, 255)])
def test_the_level_of_a_probability_is_the_first_value_that_reaches_it(probability, level):
    assert level_of(probability) == level
    assert level / 255 >= probability > (level - 1) / 255


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 8))),
    st.tuples(*[st.integers(0, 4)] * 3),
    st.integers(1, 256),
    st.data(),
)
@settings(max_examples=60)
def test_the_local_mean_is_exact_and_sees_no_block(values, window, level, data):
    """A box with its window gives what the whole gives, and that is what counting voxel by voxel gives."""
    whole = is_foreground(values, level, window, tuple(slice(0, n) for n in values.shape))
    for place in np.ndindex(values.shape):
        around = tuple(slice(max(0, p - w), p + w + 1) for p, w in zip(place, window, strict=True))
        brighter = not any(window) or values[place] > values[around].astype(float).mean()
        assert whole[place] == (values[place] >= level and brighter)
    begin = tuple(data.draw(st.integers(0, n - 1)) for n in values.shape)
    end = tuple(data.draw(st.integers(b + 1, n)) for b, n in zip(begin, values.shape, strict=True))
    first = tuple(max(0, b - w) for b, w in zip(begin, window, strict=True))
    past = tuple(min(n, e + w) for e, w, n in zip(end, window, values.shape, strict=True))
    inner = tuple(slice(b - f, e - f) for b, e, f in zip(begin, end, first, strict=True))
    part = values[tuple(map(slice, first, past))]
    assert (is_foreground(part, level, window, inner) == whole[tuple(map(slice, begin, end))]).all()


def test_sums_of_a_wide_window_do_not_overflow():
    values = np.full((255, 40, 255), 255, np.uint8)
    values[127, 20, 127] = 254
    inner = (slice(127, 128), slice(20, 21), slice(126, 129))
    found = is_foreground(values, 1, (127, 127, 127), inner)
    assert found.tolist() == [[[True, False, True]]]


def test_small_objects_that_are_left_become_background():
    sizes, final = np.array([5, 3, 4, 20], np.uint64), np.array([1, 1, 7, 9], np.uint64)
    assert remove_small(sizes, final, 8).tolist() == [1, 1, 0, 9]
    assert remove_small(sizes, final, 0).tolist() == [1, 1, 7, 9]
    assert remove_small(sizes[:0], final[:0], 8).tolist() == []


# Whole runs

SHAPE = (16, 48, 60)


def nuclei(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bright and dim balls, two of them touching, on a noisy dark background; the upper blocks are empty."""
    generator = np.random.default_rng(seed)
    grid = np.indices(SHAPE)
    truth = np.zeros(SHAPE, np.uint16)
    image = np.full(SHAPE, 100.0)
    balls = [((8, 11, 9), 6, 150), ((8, 11, 23), 6, 120), ((8, 34, 14), 6, 80), ((7, 34, 40), 6, 220)]
    for name, (centre, radius, brightness) in enumerate(balls, 1):
        distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
        truth[(distance < radius) & (truth == 0)] = name
        image[distance < radius] = 100 + brightness
    image = gaussian_filter(image, 0.7) + generator.normal(0, 4, SHAPE)
    return np.clip(image, 0, 65535).astype(np.uint16), truth


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("nuclei")
    image, truth = nuclei()
    tifffile.imwrite(folder / "image.tif", image, metadata={"axes": "ZYX"})
    tifffile.imwrite(folder / "truth.tif", truth, metadata={"axes": "ZYX"})
    return {"input": {"path": str(folder / "image.tif")}, "truth": {"path": str(folder / "truth.tif")}}


def recipe(folder: Path, sample: dict[str, Any], block: list[int], **sections: Any) -> Settings:
    stages = {name: {**section} for name, section in STAINS["nuclei"].items()}
    stages["supervoxels"]["foreground_window"] = 20
    found = config_of(folder, sample, **stages, blocks={"block_shape": block})
    return changed(found, **sections)


def scores(config: Settings) -> dict[str, Any]:
    return dict(json.loads(layout(config).scores.read_text()))


def test_every_nucleus_is_one_object_and_nothing_else_is(sample, tmp_path):
    config = recipe(tmp_path, sample, [16, 24, 20])
    run(config)
    found, truth = labels(config)[0], nuclei()[1]
    assert scores(config)["ap50"] == 1.0
    assert (found[:, :, 52:] == 0).all(), "blocks without any object"
    table = pd.read_parquet(layout(config).result_folder / "objects.parquet")
    assert len(table) == truth.max()
    assert set(table["object"]) == set(np.unique(found)) - {0}


@given(block=st.tuples(st.sampled_from([5, 8, 16]), st.integers(12, 48), st.integers(15, 60)))
@settings(max_examples=3)
def test_background_does_not_depend_on_blocks(block, sample, tmp_path_factory):
    """The foreground that blocks take together is that of the whole volume, computed at once."""
    config = recipe(tmp_path_factory.mktemp("blocks"), sample, list(block), segment={"remove_isolated": False})
    run(config, ("ingest", "predict", "supervoxels", "graph", "partition", "segment"))
    place, grid = layout(config), Workflow(config, "test").plans[NAME].grid
    whole = grid.box(0).grow((0, 0, 0), SHAPE, SHAPE)
    values = read_foreground(place, 0, whole, SHAPE, "boundary")
    level = json.loads(place.foreground_threshold(0).read_text())["level"]
    assert level == otsu_level(count_levels(values))
    expected = is_foreground(values, level, (20, 20, 20), whole.slices)
    assert 0.02 < expected.mean() < 0.3
    assert ((labels(config)[0] > 0) == expected).all()


def test_a_time_point_without_objects_goes_through_all_stages(sample, tmp_path):
    """All that a fixed threshold leaves of the second time point is nothing."""
    image, truth = nuclei()
    noise = np.random.default_rng(1).normal(100, 4, SHAPE).astype(np.uint16)
    noise[0, 0, 0] = 60000  # the percentiles differ, the image is not constant
    tifffile.imwrite(tmp_path / "image.tif", np.stack([image, noise]), metadata={"axes": "TZYX"}, imagej=True)
    tifffile.imwrite(tmp_path / "truth.tif", np.stack([truth, 0 * truth]), metadata={"axes": "TZYX"}, imagej=True)
    two = {role: {"path": str(tmp_path / f"{role}.tif")} for role in ("input", "truth")}
    (tmp_path / "image.tif").rename(tmp_path / "input.tif")
    config = recipe(tmp_path, two, [16, 24, 20], predict={"percentiles": [0.0, 100.0]})
    config = changed(config, supervoxels={"foreground_threshold": 0.3, "foreground_window": 0})
    run(config, None)
    found = labels(config)
    assert (found[0] > 0).any()
    assert (found[1][:, 1:] == 0).all()
    table = pd.read_parquet(layout(config).result_folder / "objects.parquet")
    assert set(table["time"]) == {0}
    assert (layout(config).result_folder / "report.html").exists()


def test_what_runs_again_after_a_change_of_the_threshold(sample, tmp_path):
    config = recipe(tmp_path, sample, [16, 24, 20])
    run(config)
    assert done(config) == {}
    first = digests(config)
    level = json.loads(layout(config).foreground_threshold(0).read_text())["level"]
    # The same threshold, told: other parameters, the same supervoxels.
    same = changed(config, supervoxels={"foreground_threshold": (level - 0.5) / 255})
    assert done(same) == {"supervoxels.blocks": 6}
    assert {key: digest for key, digest in digests(same).items() if key[0] == "supervoxels.blocks"} == {
        key: digest for key, digest in first.items() if key[0] == "supervoxels.blocks"
    }
    other = changed(config, supervoxels={"foreground_threshold": 0.5})
    assert "supervoxels.blocks" in done(other)
    assert "predict.blocks" not in done(changed(config, supervoxels={"foreground_threshold": "none"}))


def test_an_edit_that_leaves_the_threshold_leaves_other_blocks(sample, tmp_path):
    image, _ = nuclei()
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image, metadata={"axes": "ZYX"})
    config = recipe(tmp_path, {"input": {"path": str(path)}}, [16, 24, 20])
    config = changed(config, supervoxels={"halo": [4, 4, 4], "foreground_window": 3})
    run(config)
    image[8, 10, 5] += 1
    tifffile.imwrite(path, image, metadata={"axes": "ZYX"})
    again = done(config)
    assert again["ingest.blocks"] == 6
    assert again["supervoxels.histogram"] == 1
    assert again["supervoxels.blocks"] == 4, "the block and those whose halo touches it; the threshold is the same"


def test_damage_of_threshold_and_histogram_is_found(sample, tmp_path):
    config = recipe(tmp_path, sample, [16, 24, 20])
    run(config)
    assert not verified(config).findings
    place = layout(config)
    place.foreground_threshold(0).write_text("{}")
    place.table("supervoxels", "histogram", 0, 2).unlink()
    found = {(finding.job.step.name, finding.piece) for finding in verified(config).findings}
    assert found == {("supervoxels.threshold", 0), ("supervoxels.histogram", 2)}


@pytest.mark.parametrize("threshold", ["otsu", 0.5])
def test_dense_tissue_has_no_foreground_to_ask_for(sample, tmp_path, threshold):
    config = config_of(tmp_path, sample, supervoxels={"foreground_threshold": threshold})
    with pytest.raises(UserError, match=r"foreground_threshold: .*predict\.invert: false") as caught:
        Workflow(config, "test")
    assert "predict.invert to true" in caught.value.remedy


@pytest.mark.parametrize(
    ("outputs", "threshold", "expected"),
    [
        (("foreground", "boundary"), "auto", {"map": "foreground", "threshold": 0.5, "window": [0, 0, 0]}),
        (("foreground",), "otsu", {"map": "foreground", "threshold": "otsu", "window": [0, 0, 0]}),
        (("foreground", "boundary"), "none", None),
        (("boundary",), "auto", None),
        (("boundary",), 0.3, UserError),
    ],
)
def test_the_foreground_of_a_network(sample, tmp_path, monkeypatch, outputs, threshold, expected):
    from bigseg.networks.model import load_model

    monkeypatch.setattr(planned, "_describe", lambda spec: load_model(spec).description)
    package(tmp_path / "model", outputs=outputs)
    sections = {
        "predict": {"method": "network", "model": str(tmp_path / "model"), "channels": [0]},
        "supervoxels": {"foreground_threshold": threshold},
    }
    config = config_of(tmp_path, sample, **sections)
    if expected is UserError:
        with pytest.raises(UserError, match="gives no foreground map"):
            Workflow(config, "test")
        return
    step = Workflow(config, "test").step("supervoxels.blocks", NAME, 0)
    assert step.parameters.get("foreground") == expected


# Real nuclei


def detection(found: np.ndarray, truth: np.ndarray) -> float:
    """DET of the Cell Tracking Challenge: the costs of mending the objects, against those of drawing all of them."""
    names, counts = np.unique(np.stack([truth.ravel(), found.ravel()]), axis=1, return_counts=True)
    whole = dict(zip(*np.unique(truth, return_counts=True), strict=True))
    inside = [(int(t), int(f)) for (t, f), n in zip(names.T, counts, strict=True) if t and f and 2 * n > whole[t]]
    matched: dict[int, int] = {}
    for _, f in inside:
        matched[f] = matched.get(f, 0) + 1
    objects, results = len(whole) - (0 in whole), set(np.unique(found)) - {0}
    splits = sum(n - 1 for n in matched.values())
    cost = 5 * splits + 10 * (objects - len(inside)) + len(results - set(matched))
    return 1 - min(cost, 10 * objects) / (10 * objects)


REAL = {
    "timelapse/fluo_n2dh_sim_10f.h5": ({"key": "raw", "axes": "tyx"}, {"key": "track_ids", "axes": "tyx"}, 0.98),
    "nuclei/gonuclear_1135.h5": ({"key": "raw"}, {"key": "label"}, 0.9),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_the_recipe_detects_real_nuclei(name, tmp_path):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"real data {path} are not on this machine")
    raw, truth, least = REAL[name]
    config = config_of(tmp_path, {"input": {"path": str(path), **raw}}, **STAINS["nuclei"])
    run(config, ("ingest", "predict", "supervoxels", "graph", "partition", "segment"))
    from bigseg.config.samples import Input
    from bigseg.volumes.source import open_source

    found = labels(config)
    with open_source(Input(path=str(path), **truth)) as source:
        grid = Workflow(config, "test").plans[NAME].grid
        whole = grid.box(0).grow((0, 0, 0), grid.shape, grid.shape)
        each = [detection(found[t], source.read(t, 0, whole)) for t in range(len(found))]
    assert np.mean(each) >= least
