"""The kernel of stage `supervoxels`, against elf, scikit-image and brute force."""

from __future__ import annotations

import elf.segmentation.watershed as elf_watershed
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from skimage.feature import peak_local_max
from skimage.measure import label as skimage_label

from bigseg.geometry.halo import watershed_halo
from bigseg.kernels.maxima import local_maxima, mark_groups
from bigseg.kernels.watershed import (
    crop_and_split,
    distance_watershed,
    flood_small,
    height_map,
    label_sizes,
    smoothed_distance,
    stacked_watershed,
)

DEFAULTS = {"threshold": 0.4, "sigma_seeds": 2.0, "sigma_weights": 2.0, "alpha": 0.9, "minimum_size": 100}
SHAPES = st.tuples(*[st.integers(1, 7)] * 3)


def membranes(shape, cells=30, noise=0.2, seed=0):
    """Voronoi cells with blurred, noisy walls."""
    rng = np.random.default_rng(seed)
    points = np.ones(shape, bool)
    points[tuple(rng.integers(0, n, cells) for n in shape)] = False
    nearest = scipy.ndimage.distance_transform_edt(points, return_distances=False, return_indices=True)
    label = np.ravel_multi_index(tuple(nearest), shape)
    wall = scipy.ndimage.maximum_filter(label, 3) != scipy.ndimage.minimum_filter(label, 3)
    blurred = scipy.ndimage.gaussian_filter(wall.astype(np.float32), 0.8)
    return np.clip(blurred + noise * rng.standard_normal(shape), 0, 1).astype(np.float32)


def block_mask(shape):
    """A mask cut obliquely, in two parts."""
    z, y, x = np.indices(shape)
    return (abs(x + y - z - shape[2] * 0.8) > 2) & (y > 1)


def agreement(first, second):
    """Share of voxels that keep their label when the labels of `first` are mapped to those of `second`."""
    pairs, counts = np.unique(np.stack((first.ravel(), second.ravel())).astype(np.int64), axis=1, return_counts=True)
    best = {}
    for (a, _), n in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        best[a] = max(best.get(a, 0), n)
    return sum(best.values()) / first.size


def same_partition(first, second):
    return agreement(first, second) == 1 and agreement(second, first) == 1


def assert_consecutive(labels, mask=None):
    assert labels.dtype == np.uint32
    present = np.unique(labels)
    expected = np.arange(0 if mask is not None and not mask.all() else 1, present[-1] + 1)
    np.testing.assert_array_equal(present, expected)
    if mask is not None:
        np.testing.assert_array_equal(labels > 0, mask)


# --- maxima ---------------------------------------------------------------------------------------------------------


def plateaus(shape_strategy):
    small = npst.arrays(np.float32, shape_strategy, elements=st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5]))
    rough = npst.arrays(np.float32, shape_strategy, elements=st.floats(-2, 2, width=32))
    return small | rough


@given(plateaus(SHAPES | st.tuples(st.integers(1, 9), st.integers(1, 9))))
@settings(max_examples=300, deadline=None)
def test_maxima_are_those_of_skimage(values):
    expected = np.zeros(values.shape, bool)
    if values.size > 1:  # skimage returns nothing for a single voxel either, but warns
        expected[tuple(peak_local_max(values, min_distance=1, exclude_border=False).T)] = True
    np.testing.assert_array_equal(local_maxima(values), np.flatnonzero(expected))


def test_maxima_across_chunks_are_those_of_skimage():
    values = np.random.default_rng(0).integers(0, 40, (11, 210, 310)).astype(np.float32)
    peaks = peak_local_max(values, min_distance=1, exclude_border=False)
    np.testing.assert_array_equal(local_maxima(values), np.sort(np.ravel_multi_index(tuple(peaks.T), values.shape)))


@given(npst.arrays(bool, SHAPES | st.tuples(st.integers(1, 9), st.integers(1, 9))))
@settings(max_examples=300, deadline=None)
def test_groups_are_those_of_full_connectivity(points):
    labels, count = mark_groups(np.flatnonzero(points), points.shape)
    expected = skimage_label(points, connectivity=points.ndim)
    np.testing.assert_array_equal(labels, expected)
    assert count == expected.max()


# --- against elf ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (1.0, 1.5, 2.0)])
@pytest.mark.parametrize("minimum_size", [0, 100])
def test_equal_to_elf(sampling, minimum_size):
    boundary = membranes((29, 48, 53))
    ours = distance_watershed(
        boundary, **DEFAULTS | {"minimum_size": minimum_size}, sampling=sampling, distance_scale=None
    )
    sigma = tuple(2.0 / s for s in sampling)
    theirs, count = elf_watershed.distance_transform_watershed(
        boundary, 0.4, sigma, sigma_weights=sigma, min_size=minimum_size, pixel_pitch=sampling
    )
    assert_consecutive(ours)
    assert len(np.unique(theirs)) == ours.max() > 20
    if minimum_size:  # heights that the smaller range of the second flooding tells apart are ties for elf
        assert agreement(ours, theirs) > 0.999
        assert label_sizes(ours, int(ours.max()))[1:].min() >= minimum_size
    else:
        assert count == ours.max()
        np.testing.assert_array_equal(ours, theirs)


def test_equal_to_elf_without_smoothing():
    boundary = membranes((20, 30, 31), noise=0.4)
    ours = distance_watershed(
        boundary, threshold=0.4, sigma_seeds=0, sigma_weights=0, alpha=0.7, minimum_size=0, distance_scale=None
    )
    theirs, _ = elf_watershed.distance_transform_watershed(boundary, 0.4, 0, sigma_weights=0, min_size=0, alpha=0.7)
    np.testing.assert_array_equal(ours, theirs)


def test_stacked_equals_elf():
    boundary = membranes((5, 90, 100))
    ours = stacked_watershed(boundary, **DEFAULTS, distance_scale=None)
    theirs, _ = elf_watershed.stacked_watershed(
        boundary, n_threads=1, threshold=0.4, sigma_seeds=2.0, sigma_weights=2.0, min_size=100
    )
    assert_consecutive(ours)
    assert len(np.unique(theirs)) == ours.max()
    assert agreement(ours, theirs) > 0.999
    for z in range(1, 5):
        assert ours[z].min() == ours[z - 1].max() + 1


def test_masked_is_close_to_elf():
    """elf also sows and floods outside the mask and cuts it out at the end, so voxels near the edge may differ."""
    boundary = membranes((29, 48, 53), noise=0.1)
    mask = block_mask(boundary.shape)
    ours = distance_watershed(boundary, **DEFAULTS, mask=mask, distance_scale=None)
    theirs, _ = elf_watershed.distance_transform_watershed(boundary, 0.4, 2.0, min_size=100, mask=mask)
    assert_consecutive(ours, mask)
    assert agreement(ours, theirs) > 0.95
    assert agreement(theirs, ours) > 0.95


def test_masked_stacked_is_close_to_elf():
    boundary = membranes((4, 90, 100), noise=0.1)
    mask = block_mask(boundary.shape)
    ours = stacked_watershed(boundary, **DEFAULTS, mask=mask, distance_scale=None)
    theirs, _ = elf_watershed.stacked_watershed(
        boundary, mask=mask, n_threads=1, threshold=0.4, sigma_seeds=2.0, sigma_weights=2.0, min_size=100
    )
    assert_consecutive(ours, mask)
    assert agreement(ours, theirs) > 0.95
    assert agreement(theirs, ours) > 0.95


def test_mask_that_holds_everything_changes_nothing():
    boundary = membranes((12, 30, 31))
    mask = np.ones(boundary.shape, bool)
    np.testing.assert_array_equal(
        distance_watershed(boundary, **DEFAULTS, mask=mask), distance_watershed(boundary, **DEFAULTS)
    )


def test_empty_part_of_a_block_changes_nothing_elsewhere():
    boundary = membranes((24, 40, 120), cells=60, noise=0.1)
    boundary[:, :, 80:] *= 0.05
    whole = distance_watershed(boundary, **DEFAULTS)[:, :, :40]
    cut = distance_watershed(boundary[:, :, :70].copy(), **DEFAULTS)[:, :, :40]
    assert agreement(whole, cut) > 0.999
    assert agreement(cut, whole) > 0.999


def test_anisotropic_is_not_isotropic():
    boundary = membranes((29, 48, 53))
    assert not same_partition(
        distance_watershed(boundary, **DEFAULTS, sampling=(3.0, 1.0, 1.0)), distance_watershed(boundary, **DEFAULTS)
    )


@pytest.mark.parametrize("run", [distance_watershed, stacked_watershed])
def test_deterministic_and_leaves_its_input_alone(run):
    boundary = membranes((10, 40, 41))
    mask = block_mask(boundary.shape)
    given_boundary, given_mask = boundary.copy(), mask.copy()
    for sigma in (0.0, 2.0):
        settings_ = DEFAULTS | {"sigma_seeds": sigma, "sigma_weights": sigma}
        first = run(boundary, **settings_, mask=mask)
        np.testing.assert_array_equal(first, run(boundary, **settings_, mask=mask))
        np.testing.assert_array_equal(boundary, given_boundary)
        np.testing.assert_array_equal(mask, given_mask)


def test_array_that_is_a_view():
    boundary = membranes((20, 30, 62))
    mask = block_mask(boundary.shape)
    np.testing.assert_array_equal(
        distance_watershed(boundary[2:, :, ::2], **DEFAULTS, mask=mask[2:, :, ::2]),
        distance_watershed(boundary[2:, :, ::2].copy(), **DEFAULTS, mask=mask[2:, :, ::2].copy()),
    )


# --- input without structure ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 5), (7, 1, 1), (1, 6, 7), (5, 6, 7)])
@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_constant_map_is_one_supervoxel(shape, value):
    labels = distance_watershed(np.full(shape, value, np.float32), **DEFAULTS)
    np.testing.assert_array_equal(labels, np.ones(shape, np.uint32))


def test_map_below_the_threshold_is_one_supervoxel_per_region_of_the_mask():
    rng = np.random.default_rng(0)
    boundary = (0.3 * rng.random((6, 20, 20))).astype(np.float32)
    mask = np.ones(boundary.shape, bool)
    mask[:, 8:10] = False
    mask[:, 15, 15] = mask[:, 14, 16] = False  # cuts nothing
    labels = distance_watershed(boundary, **DEFAULTS, mask=mask)
    assert_consecutive(labels, mask)
    assert same_partition(labels, scipy.ndimage.label(mask)[0])
    assert labels.max() == 2


def test_region_of_the_mask_without_seed_gets_a_label():
    boundary = membranes((8, 40, 60), noise=0.0)
    boundary[:, :, 40:] = 1  # here the distance is 0 everywhere
    mask = np.ones(boundary.shape, bool)
    mask[:, :, 45:50] = False
    labels = distance_watershed(boundary, **DEFAULTS | {"sigma_seeds": 0.5}, mask=mask)
    assert_consecutive(labels, mask)
    assert len(np.unique(labels[:, :, 50:])) == 1
    assert not np.isin(labels[:, :, :45], labels[0, 0, -1]).any()


@pytest.mark.parametrize("run", [distance_watershed, stacked_watershed])
def test_empty_mask_is_all_zero(run):
    boundary = membranes((3, 10, 11))
    labels = run(boundary, **DEFAULTS, mask=np.zeros(boundary.shape, bool))
    assert labels.dtype == np.uint32
    assert not labels.any()


def test_one_plane_is_the_same_stacked_or_not():
    boundary = membranes((1, 80, 90))
    assert agreement(distance_watershed(boundary, **DEFAULTS), stacked_watershed(boundary, **DEFAULTS)) > 0.999


@given(
    npst.arrays(np.float32, SHAPES, elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    st.randoms(use_true_random=False),
    st.sampled_from([0, 2, 100]),
    st.sampled_from([0.0, 0.3, 2.0]),
    st.sampled_from([distance_watershed, stacked_watershed]),
)
@settings(max_examples=200, deadline=None)
def test_every_voxel_of_any_mask_gets_a_label(boundary, random, minimum_size, sigma, run):
    mask = np.array([random.random() < 0.7 for _ in range(boundary.size)]).reshape(boundary.shape)
    labels = run(
        boundary,
        threshold=0.4,
        sigma_seeds=sigma,
        sigma_weights=sigma,
        alpha=0.9,
        minimum_size=minimum_size,
        sampling=(2.0, 1.0, 1.0),
        mask=mask,
    )
    assert_consecutive(labels, mask) if mask.any() else np.testing.assert_array_equal(labels, 0)


# --- small supervoxels ----------------------------------------------------------------------------------------------


def over_segmented(seed):
    boundary = membranes((24, 40, 41), noise=0.5, seed=seed)
    distance = smoothed_distance(boundary, 0.4, 0.7, (1, 1, 1), None)
    labels, count = mark_groups(local_maxima(distance), boundary.shape)
    # Modulo a prime all heights are distinct whole numbers: each voxel has a level of the flooding to itself.
    assert boundary.size < 65521
    height = (np.arange(boundary.size) * 40503 % 65521).reshape(boundary.shape).astype(np.float32)
    labels = elf_watershed.watershed(height, labels)[0]
    return labels, count, height, boundary


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("minimum_size", [10, 60])
def test_small_supervoxels_go_where_elf_puts_them(seed, minimum_size):
    labels, count, height, _ = over_segmented(seed)
    small = np.flatnonzero(label_sizes(labels, count)[labels] < minimum_size)
    assert 0 < len(small) < labels.size
    # With both extremes in small supervoxels, the two floodings cut the same range into the same levels, one unit each.
    height.flat[small[0]], height.flat[small[-1]] = -1, 65534
    theirs, _ = elf_watershed.apply_size_filter(labels.copy(), height, minimum_size)
    ours, kept = flood_small(labels, count, height, minimum_size, None)
    assert_consecutive(ours)
    assert kept == ours.max() == len(np.unique(theirs))
    assert same_partition(ours, theirs)


def test_small_supervoxels_with_ties_mostly_go_where_elf_puts_them():
    labels, count, _, boundary = over_segmented(2)
    theirs, _ = elf_watershed.apply_size_filter(labels.copy(), boundary, 60)
    ours, _ = flood_small(labels, count, boundary, 60, None)
    assert agreement(ours, theirs) > 0.97


def test_nothing_small_or_all_small_changes_nothing():
    labels, count, height, _ = over_segmented(0)
    for size in (0, 1, labels.size + 1):
        merged, kept = flood_small(labels, count, height, size, None)
        assert kept == count
        np.testing.assert_array_equal(merged, labels)


def test_small_supervoxels_out_of_reach_of_a_large_one_stay():
    labels = np.array([[[1, 1, 1, 1, 2, 0, 3, 4]]], np.uint32)
    merged, kept = flood_small(labels, 4, np.zeros(labels.shape, np.float32), 3, labels > 0)
    np.testing.assert_array_equal(merged, [[[1, 1, 1, 1, 1, 0, 2, 3]]])
    assert kept == 3


# --- the rest -------------------------------------------------------------------------------------------------------


def test_height_map_needs_nothing_but_the_voxel_itself():
    boundary = membranes((6, 20, 20))
    distance = smoothed_distance(boundary, 0.4, 2.0, (1, 1, 1), None)
    height = height_map(boundary, distance.copy(), 0.0, 0.9, (1, 1, 1), 20.0)
    np.testing.assert_allclose(height, 0.9 * boundary + 0.1 * (1 - distance / (distance + 20)), atol=1e-6)
    assert height.dtype == np.float32


@given(npst.arrays(np.uint32, SHAPES, elements=st.sampled_from([0, 1, 1, 2, 7])), st.data())
@settings(max_examples=300, deadline=None)
def test_pieces_of_a_crop_against_brute_force(labels, data):
    inner = tuple(
        slice(a, data.draw(st.integers(a + 1, n))) for n in labels.shape for a in [data.draw(st.integers(0, n - 1))]
    )
    pieces, count = crop_and_split(labels, inner)
    cut = labels[inner]
    expected = np.zeros(cut.shape, np.int64)
    for value in np.unique(cut[cut > 0]):
        part, _ = scipy.ndimage.label(cut == value)
        expected[part > 0] = part[part > 0] + expected.max()
    values, first = np.unique(expected[expected > 0], return_index=True)  # number in C order of the first voxels
    rank = np.zeros(expected.max() + 1, np.int64)
    rank[values[np.argsort(first)]] = np.arange(1, len(values) + 1)
    np.testing.assert_array_equal(pieces, rank[expected])
    assert pieces.dtype == np.uint32
    assert count == len(values)


@pytest.mark.parametrize(
    ("voxel_size", "halo"),
    [
        ((1.0, 1.0, 1.0), (32, 32, 32)),
        ((0.235, 0.15, 0.15), (21, 32, 32)),
        ((2.0, 0.5, 0.25), (4, 16, 32)),
        ((1000.0, 1.0, 1.0), (1, 32, 32)),
    ],
)
def test_default_halo(voxel_size, halo):
    assert watershed_halo(np.array(voxel_size) / min(voxel_size)) == halo
