from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bigseg.geometry.box import Box
from bigseg.kernels.synthetic import tissue as kernel
from bigseg.kernels.synthetic import tissue_tiles
from bigseg.kernels.synthetic.tissue import Tissue

ORGAN = Tissue((33, 70, 61), seed=3)
BLOCK = Tissue((24, 50, 50), cell_diameter_um=5.0, outline=False, seed=4)
OTHERS = (
    Tissue((20, 40, 36), voxel_size_um=(1.0, 0.2, 0.3), jitter=1.0, curvature=0.15, seed=2**70, dtype="uint16"),
    Tissue((19, 19, 19), voxel_size_um=(0.4, 0.4, 0.4), cell_diameter_um=2.0, curvature=0.0, seed=-1),
)


def whole(tissue: Tissue) -> Box:
    return Box((0, 0, 0), tissue.shape)


@pytest.fixture(scope="module")
def rendered() -> dict[tuple[Tissue, int], tuple[np.ndarray, np.ndarray]]:
    return {(tissue, t): tissue.render(whole(tissue), t) for tissue in (ORGAN, BLOCK, *OTHERS) for t in (0, 1, 4)}


@st.composite
def boxes(draw: st.DrawFn, shape: tuple[int, int, int]) -> Box:
    sides = []
    for n in shape:
        begin = draw(st.integers(0, n - 1))
        sides.append((begin, draw(st.one_of(st.just(begin + 1), st.integers(begin + 1, n)))))
    (z, zz), (y, yy), (x, xx) = sides
    return Box((z, y, x), (zz, yy, xx))


@given(data=st.data(), tissue=st.sampled_from((ORGAN, BLOCK, *OTHERS)), t=st.sampled_from((0, 1, 4)))
@settings(max_examples=60, deadline=None)
def test_any_box_equals_the_crop_of_the_whole(rendered, data, tissue, t):
    box = data.draw(boxes(tissue.shape))
    image, labels = rendered[tissue, t]
    np.testing.assert_array_equal(tissue.labels(box, t), labels[box.slices])
    np.testing.assert_array_equal(tissue.image(box, t), image[box.slices])


def test_every_voxel_of_a_row_by_itself(rendered):
    image, labels = rendered[ORGAN, 1]
    for x in range(ORGAN.shape[2]):
        voxel = Box((16, 35, x), (17, 36, x + 1))
        assert ORGAN.labels(voxel, 1).item() == labels[16, 35, x]
        assert ORGAN.image(voxel, 1).item() == image[16, 35, x]


def test_an_empty_box_has_no_voxels():
    assert ORGAN.labels(Box((3, 3, 3), (3, 9, 9))).shape == (0, 6, 6)


def test_types_and_ids(rendered):
    for (tissue, _), (image, labels) in rendered.items():
        assert image.dtype == tissue.dtype
        assert labels.dtype == np.uint32
        assert image.shape == labels.shape == tissue.shape
        assert labels.max() <= tissue.max_id
        assert (labels.min() == 0) == tissue.outline


def test_the_same_parameters_give_the_same_tissue_and_another_seed_another(rendered):
    image, labels = rendered[ORGAN, 1]
    kernel._frame.cache_clear()
    again = dataclasses.replace(ORGAN).render(whole(ORGAN), 1)
    np.testing.assert_array_equal(again[0], image)
    np.testing.assert_array_equal(again[1], labels)
    other = dataclasses.replace(ORGAN, seed=ORGAN.seed + 1).render(whole(ORGAN), 1)
    assert (other[1] != labels).mean() > 0.1
    assert (other[0] != image).mean() > 0.5


def test_noise_differs_from_time_to_time_and_looks_like_noise():
    still = dataclasses.replace(BLOCK, growth=0.0)
    a, b = (still.image(whole(still), t).astype(float) for t in (0, 9))
    # The sway returns almost to where it started at t = 9 (6.3 of a period of 2 π), so what differs is noise.
    difference = (a - b) - (a - b).mean()
    assert difference.std() > 5
    for axis in range(3):
        shifted = np.roll(difference, 1, axis)
        assert abs((difference * shifted).mean() / difference.var()) < 0.1


def test_nothing_nearer_lies_beyond_the_search(rendered, monkeypatch):
    monkeypatch.setattr(kernel, "_REACH", 4)
    monkeypatch.setattr(kernel, "_MARGIN", 5)
    # A wider margin renumbers the lattice and so redraws the seeds: the two searches are compared within it.
    wide = {tissue: tissue.labels(whole(tissue), 1) for tissue in (BLOCK, *OTHERS)}
    monkeypatch.setattr(kernel, "_REACH", 2)
    for tissue, labels in wide.items():
        np.testing.assert_array_equal(tissue.labels(whole(tissue), 1), labels)


def test_the_tiling_does_not_show(rendered, monkeypatch):
    monkeypatch.setattr(tissue_tiles, "_VOXELS", 300)
    for tissue in (ORGAN, BLOCK):
        image, labels = tissue.render(whole(tissue), 1)
        # Coordinates are rounded relative to the tile, which may decide a voxel in the very middle of a wall.
        assert (labels != rendered[tissue, 1][1]).mean() < 1e-4
        assert (np.abs(image.astype(int) - rendered[tissue, 1][0]) > 1).mean() < 1e-3


@pytest.mark.parametrize("tissue", [ORGAN, BLOCK, *OTHERS])
def test_candidates_of_a_tile_fit_their_bits(tissue):
    counts = [len(kernel._seeds(tissue, tile).ids) for tile in tissue._tiles(whole(tissue), 1)]
    assert min(counts) >= 2
    assert max(counts) < 64 < int(tissue_tiles.INDEX_MASK)


def test_cells_keep_their_ids_and_move_slowly(rendered):
    before, after = rendered[ORGAN, 0][1], rendered[ORGAN, 1][1]
    ids, sizes = np.unique(before[before > 0], return_counts=True)
    interior = ids[sizes > 500]
    assert len(interior) >= 10
    for cell in interior:
        assert (after[before == cell] == cell).mean() > 0.7
    np.testing.assert_array_equal(np.setdiff1d(interior, after), [])


def test_the_tissue_grows():
    tissue = dataclasses.replace(ORGAN, growth=0.03)
    sizes = [np.count_nonzero(tissue.labels(whole(tissue), t)) for t in (0, 1)]
    assert 1.04 < sizes[1] / sizes[0] < 1.10


def test_cells_are_in_one_piece(rendered):
    for tissue in (ORGAN, BLOCK):
        labels = rendered[tissue, 0][1]
        split = 0
        for cell, where in enumerate(ndimage.find_objects(labels), start=1):
            if where is not None:
                pieces, count = ndimage.label(labels[where] == cell, np.ones((3, 3, 3)))
                split += count > 1 and np.sort(np.bincount(pieces.ravel())[1:])[-2] > 5
        assert split <= 0.02 * len(np.unique(labels))


def test_cell_volume_follows_the_diameter():
    tissue = Tissue((40, 80, 80), cell_diameter_um=4.0, outline=False)
    _, sizes = np.unique(tissue.labels(whole(tissue)), return_counts=True)
    inner = np.pi / 6 * 4.0**3 / (0.5 * 0.25 * 0.25)
    # Cells that the volume's faces cut are smaller, hence the upper half.
    assert 0.8 * inner < np.median(sizes[sizes > np.median(sizes)]) < 1.6 * inner


def test_walls_are_brighter_than_cells_and_cells_than_nothing(rendered):
    for t in (0, 4):
        image, labels = rendered[ORGAN, t]
        wall = np.zeros(labels.shape, bool)
        for axis in range(3):
            a, b = np.moveaxis(labels, axis, 0)[:-1], np.moveaxis(labels, axis, 0)[1:]
            view = np.moveaxis(wall, axis, 0)
            view[:-1] |= a != b
            view[1:] |= a != b
        deep = ndimage.distance_transform_edt(~wall, sampling=ORGAN.voxel_size_um) > 1.2
        inside, outside = image[deep & (labels > 0)], image[deep & (labels == 0)]
        assert image[wall].mean() > 3 * inside.mean()
        assert np.percentile(inside, 99) < np.median(image[wall])
        assert inside.mean() > outside.mean() + 3


def test_no_wall_is_drawn_outside_the_organ(rendered):
    image, labels = rendered[ORGAN, 0]
    away = ndimage.distance_transform_edt(labels == 0, sampling=ORGAN.voxel_size_um) > 2.5
    assert away.sum() > 100
    assert image[away].max() < 100


def test_walls_differ_in_brightness():
    tissue = dataclasses.replace(BLOCK, weak_walls=0.5, photons=1e6)
    image, labels = tissue.render(whole(tissue))
    left, right = labels[:, :, :-1], labels[:, :, 1:]
    at = left != right
    means = {}
    brightness = image[:, :, 1:][at].astype(float)
    for pair, value in zip(zip(left[at], right[at], strict=True), brightness, strict=True):
        means.setdefault(pair, []).append(value)
    averages = [np.mean(values) for values in means.values() if len(values) > 30]
    assert np.percentile(averages, 10) < 0.6 * np.percentile(averages, 90)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": (0, 5, 5)},
        {"voxel_size_um": (1.0, 0.0, 1.0)},
        {"cell_diameter_um": 1.0},
        {"jitter": 1.5},
        {"curvature": 0.3},
        {"growth": -0.1},
        {"shape": (100_000, 100_000, 100_000)},
    ],
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must be|are less|fit uint32"):
        Tissue(**{"shape": (10, 10, 10), **wrong})


def test_boxes_and_times_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="outside the volume"):
        ORGAN.labels(Box((0, 0, 0), (1, 1, ORGAN.shape[2] + 1)))
    with pytest.raises(ValueError, match="negative"):
        ORGAN.image(whole(ORGAN), -1)


def test_a_corner_of_a_huge_volume_costs_only_itself():
    huge = Tissue((20_000, 20_000, 20_000), outline=False)
    box = Box((19_990, 10_000, 19_980), (20_000, 10_020, 20_000))
    _, labels = huge.render(box)
    assert len(np.unique(labels)) >= 1
    for corner in itertools.product(*zip(box.begin, (e - 1 for e in box.end), strict=True)):
        voxel = Box(corner, tuple(c + 1 for c in corner))
        assert huge.labels(voxel).item() == labels[voxel.inside(box).slices].item()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "make_demo_data.py"
    spec = importlib.util.spec_from_file_location("make_demo_data", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def demo(script, monkeypatch, capsys):
    def run(folder: Path, *options: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["make_demo_data.py", str(folder), "--shape", "20", "40", "30", *options])
        capsys.readouterr()  # what an interrupted run printed
        script.main()
        return [line.split()[0] for line in capsys.readouterr().out.splitlines()]

    return run


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.iterdir())}


def test_script_writes_what_the_kernel_makes(demo, tmp_path):
    assert demo(tmp_path, "--seed", "5") == ["wrote"] * 4
    tissue = Tissue((20, 40, 30), seed=5)
    names = ["tissue.json", "tissue_t0.tif", "tissue_t1.tif", "truth_t0.tif", "truth_t1.tif"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    for t in (0, 1):
        image, labels = tissue.render(whole(tissue), t)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / f"tissue_t{t}.tif"), image)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / f"truth_t{t}.tif"), labels)
    with tifffile.TiffFile(tmp_path / "truth_t1.tif") as file:
        assert file.series[0].axes == "ZYX"
        assert file.imagej_metadata["spacing"] == 0.5
        assert file.imagej_metadata["unit"] == "micron"
        assert file.pages[0].resolution == (4.0, 4.0)


def test_script_leaves_finished_files_alone(demo, tmp_path):
    demo(tmp_path)
    before = state(tmp_path)
    assert demo(tmp_path) == ["kept"] * 4
    assert state(tmp_path) == before
    assert demo(tmp_path, "--times", "3") == ["kept"] * 4 + ["wrote"] * 2
    after = state(tmp_path)
    assert all(after[name] == before[name] for name in before if name.endswith(".tif"))


def test_script_gives_the_same_bytes_anywhere(demo, tmp_path):
    for name in ("a", "b"):
        demo(tmp_path / name, "--times", "1")
    a, b = ({n: data for n, (data, _) in state(tmp_path / name).items()} for name in ("a", "b"))
    assert a == b


def test_script_rewrites_for_other_parameters_and_names_what_is_left(demo, tmp_path):
    demo(tmp_path)
    before = state(tmp_path)
    assert demo(tmp_path, "--seed", "1", "--times", "1") == ["wrote", "wrote", "beware:"]
    after = state(tmp_path)
    assert after["truth_t0.tif"][0] != before["truth_t0.tif"][0]
    assert after["truth_t1.tif"] == before["truth_t1.tif"]
    assert demo(tmp_path) == ["wrote"] * 4


def test_script_finishes_what_was_interrupted(script, demo, tmp_path, monkeypatch):
    demo(tmp_path)
    good = {n: data for n, (data, _) in state(tmp_path).items()}
    real = script.write_tiff

    def dies_at_the_third(path, *rest):
        if path.name == "tissue_t1.tif":
            raise KeyboardInterrupt
        real(path, *rest)

    monkeypatch.setattr(script, "write_tiff", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        demo(tmp_path, "--seed", "1")
    monkeypatch.setattr(script, "write_tiff", real)
    assert demo(tmp_path, "--seed", "1") == ["kept"] * 2 + ["wrote"] * 2
    assert demo(tmp_path) == ["wrote"] * 4
    assert {n: data for n, (data, _) in state(tmp_path).items()} == good


def test_script_refuses_what_imagej_cannot_hold(script, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["make_demo_data.py", str(tmp_path), "--shape", "4000", "4000", "4000"])
    with pytest.raises(SystemExit) as exit_:
        script.main()
    assert exit_.value.code == 2
    assert "65535" in capsys.readouterr().err
