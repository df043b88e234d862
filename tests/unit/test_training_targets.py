from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.segmentation import find_boundaries as of_skimage

from bigseg.config.training import Target
from bigseg.networks.augment import Transform, partners
from bigseg.training.augment import (
    Turn,
    add_gaussian_noise,
    add_poisson_noise,
    change_contrast,
    deform,
)
from bigseg.training.losses import bce_loss, dice_loss, loss
from bigseg.training.targets import (
    affinity_target,
    boundary_target,
    find_boundaries,
    foreground_boundary_target,
    make_targets,
    roles_of,
    target_margin,
)

OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, -3, 0), (0, 0, -3), (-2, 1, 4))


def cells(seed: int = 0, shape: tuple[int, ...] = (12, 20, 22), count: int = 9) -> np.ndarray:
    """Voronoi cells with labels 0 … count - 1."""
    rng = np.random.default_rng(seed)
    seeds = np.zeros(shape, int)
    places = rng.choice(seeds.size, count, replace=False)
    seeds.flat[places] = np.arange(count) + 1
    nearest = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    return seeds[tuple(nearest)] - 1


@pytest.mark.parametrize("shape", [(12, 20, 22), (1, 20, 22)])
def test_boundaries_are_those_of_skimage(shape: tuple[int, ...]) -> None:
    labels = cells(shape=shape)
    expected = of_skimage(labels, connectivity=1, mode="thick")
    assert np.array_equal(find_boundaries(labels), expected)
    sigma = [1.0 if n > 1 else 0.0 for n in shape]
    smooth = ndimage.gaussian_filter(expected.astype(np.float32), sigma) > 0.5
    target = boundary_target(labels, 1.0)
    assert np.array_equal(target.values[0], smooth)
    assert target.known.all()


def test_a_flat_boundary_stays_two_voxels_thick() -> None:
    labels = np.repeat([1, 2], 10)[None, None] * np.ones((8, 12, 1), int)
    values = boundary_target(labels, 1.0).values[0]
    assert np.array_equal(np.flatnonzero(values[4, 6]), [9, 10])


def test_boundaries_grow_in_physical_proportion() -> None:
    labels = np.ones((8, 12, 12), int)
    labels[:, :, 6:] = 2
    labels[4:] += 2
    values = boundary_target(labels, 0.0, grow=1.5, sampling=(2.0, 1.0, 1.0)).values[0]
    assert np.array_equal(np.flatnonzero(values[0, 0]), [4, 5, 6, 7])  # one more on either side
    assert np.array_equal(np.flatnonzero(values[:, 0, 0]), [3, 4])  # the next planes are too far away
    one = np.ones((4, 6, 6), int)
    assert not boundary_target(one, 1.0, grow=1.0).values.any()


def test_soft_boundaries_fall_off_in_physical_proportion() -> None:
    labels = np.ones((8, 14, 16), int)
    labels[..., 8:] = 2
    values = boundary_target(labels, 0.0, softness=1.5, sampling=(2.0, 1.0, 1.0)).values[0]
    beyond = np.array([7, 6, 5, 4, 3, 2, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7])  # voxels from the two on either side
    expected = np.where(beyond <= 4.5, np.exp(-(beyond**2) / (2 * 1.5**2)), 0)
    assert np.allclose(values[3, 5], expected, atol=1e-6)
    layers = np.where(np.arange(8)[:, None, None] < 4, 1, 2) * np.ones(labels.shape, int)
    deep = boundary_target(layers, 0.0, softness=1.5, sampling=(2.0, 1.0, 1.0)).values[0]
    assert np.allclose(deep[:, 0, 0], [0, np.exp(-16 / 4.5), np.exp(-4 / 4.5), 1, 1, *deep[5:, 0, 0]], atol=1e-6)
    grown = boundary_target(labels, 0.0, grow=1.0, softness=1.5).values[0]
    assert np.allclose(grown[3, 5, 9:], values[3, 5, 8:-1], atol=1e-6)


def test_boundary_without_smoothing() -> None:
    labels = cells()
    assert np.array_equal(boundary_target(labels, 0.0).values[0], find_boundaries(labels))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from([0.0, 1.0, 1.5, 2.0]),
    st.sampled_from([0.0, 0.7]),
    st.sampled_from([1.0, 2.0]),
)
def test_what_is_known_is_the_same_whatever_unlabelled_voxels_are(
    seed: int, sigma: float, grow: float, softness: float, depth: float
) -> None:
    rng = np.random.default_rng(seed)
    sampling = (depth, 1.0, 1.0)
    drawn = partial(boundary_target, sigma=sigma, grow=grow, softness=softness, sampling=sampling)
    labels = cells(seed, (8, 12, 14))
    truth = drawn(labels).values
    hidden = labels == labels[4, 6, 7]
    hidden |= rng.random(labels.shape) < 0.01
    target = drawn(np.where(hidden, 99, labels), ignore=99)
    assert not target.known[0][hidden].any()
    assert np.array_equal(target.values[target.known], truth[target.known])
    kinds = (np.full(labels.shape, 50), rng.integers(0, 9, labels.shape), cells(seed + 1, labels.shape))
    for other in kinds:
        values = drawn(np.where(hidden, other, labels)).values
        assert np.array_equal(target.values[target.known], values[target.known])


def test_the_edge_of_the_labelled_part_is_no_boundary_and_no_more_than_it_is_unknown() -> None:
    labels = np.ones((6, 10, 20), int)
    labels[..., 10:] = 7
    target = boundary_target(labels, 1.0, ignore=7, grow=2.0)
    assert not target.values[target.known].any()
    assert np.array_equal(np.flatnonzero(target.known[0, 3, 5]), np.arange(7))  # 9 touches, 8 and 7 would grow


def test_boundaries_next_to_unlabelled_voxels_are_unknown() -> None:
    labels = cells()
    known = boundary_target(labels, 0.0, ignore=3).known[0]
    unknown = np.zeros(labels.shape, bool)
    for z, y, x in np.argwhere(labels == 3):
        for dz, dy, dx in ((0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)):
            at = (z + dz, y + dy, x + dx)
            if all(0 <= a < n for a, n in zip(at, labels.shape, strict=True)):
                unknown[at] = True
    assert np.array_equal(~known, unknown)


def test_foreground_and_boundary() -> None:
    labels = cells()
    target = foreground_boundary_target(labels, 1.0, ignore=3)
    assert np.array_equal(target.values[0], labels > 0)
    boundary = boundary_target(labels, 1.0, ignore=3)
    assert np.array_equal(target.values[1], boundary.values[0])
    assert np.array_equal(target.known[0], labels != 3)
    assert np.array_equal(target.known[1], boundary.known[0])


def test_boundary_and_affinities() -> None:
    labels = cells()
    target = Target(kind="boundary_affinity", offsets=[list(o) for o in OFFSETS], ignore_label=3)
    both = make_targets(labels, target, (1.0, 1.0, 1.0))
    parts = boundary_target(labels, 1.0, ignore=3), affinity_target(labels, OFFSETS, 3)
    for index in (0, 1):
        assert np.array_equal(both[index], np.concatenate([part[index] for part in parts]))
    assert roles_of(target) == ("boundary", *["affinity"] * len(OFFSETS))


def test_turns_reach_every_order_of_the_axes_and_undo_their_shape() -> None:
    rng = np.random.default_rng(0)
    block = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    found = set()
    for _ in range(400):
        turn = Turn.draw(rng, flips=True, rotations=True, transpose=True)
        before = turn.before((2, 3, 4))
        assert turn.apply(np.zeros(before)).shape == (2, 3, 4)
        assert turn.apply(np.zeros((5, *before))).shape == (5, 2, 3, 4)
        found.add(tuple(turn.apply(block).reshape(-1)))
    assert len(found) == 48  # all symmetries of a cube


@pytest.mark.parametrize("ignore", [None, 3])
def test_affinities_by_brute_force(ignore: int | None) -> None:
    labels = cells(shape=(5, 7, 9))
    target = affinity_target(labels, OFFSETS, ignore)
    for channel, offset in enumerate(OFFSETS):
        for at in np.ndindex(labels.shape):
            other = tuple(a + o for a, o in zip(at, offset, strict=True))
            inside = all(0 <= a < n for a, n in zip(other, labels.shape, strict=True))
            known = inside and ignore not in (labels[at], labels[other])
            assert target.known[(channel, *at)] == known
            if known:
                assert target.values[(channel, *at)] == (labels[at] == labels[other])


def test_affinities_of_a_patch_smaller_than_the_offset() -> None:
    target = affinity_target(cells(shape=(1, 6, 6), count=3), [(-1, 0, 0)])
    assert not target.known.any()


@pytest.mark.parametrize(
    "target",
    [
        Target(),
        Target(grow=1.0),
        Target(grow=0.5, softness=1.2),
        Target(kind="foreground_boundary"),
        Target(kind="affinity", offsets=[list(o) for o in OFFSETS]),
        Target(kind="boundary_affinity", offsets=[[0, 0, -9], [-1, 0, 0]]),
    ],
)
def test_margin_is_what_targets_depend_on(target: Target) -> None:
    labels = cells(shape=(24, 30, 32))
    z, y, x = target_margin(target)
    sampling = (2.0, 1.0, 1.0)
    whole = make_targets(labels, target, sampling)
    cut = make_targets(labels[10 - z : 14 + z, 12 - y : 16 + y, 14 - x : 18 + x], target, sampling)
    inner = (slice(None), slice(z, z + 4), slice(y, y + 4), slice(x, x + 4))
    place = (slice(None), slice(10, 14), slice(12, 16), slice(14, 18))
    for one, other in zip(cut, whole, strict=True):
        assert np.array_equal(one[inner], other[place])
    assert len(roles_of(target)) == len(whole.values)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("flipped", [(), (0,), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_affinities_follow_the_grid(quarters: int, flipped: tuple[int, ...], order: tuple[int, int, int]) -> None:
    """Affinities of turned labels, turned back, are those of the labels at the permuted offset."""
    labels = cells(shape=(8, 14, 14))
    turn = Turn(quarters, flipped, order)
    offsets = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    plain = affinity_target(labels, offsets)
    turned = affinity_target(turn.apply(labels), offsets)
    positions = np.stack(np.indices(labels.shape))
    moved = turn.apply(positions)
    for channel, offset in enumerate(offsets):
        for at in np.argwhere(turned.known[channel])[::17]:
            one = moved[(slice(None), *at)]
            other = moved[(slice(None), *(at + offset))]
            partner = offsets.index(tuple(int(v) for v in other - one))  # type: ignore[arg-type]
            assert turned.values[(channel, *at)] == plain.values[(partner, *one)]
    if quarters < 2:  # what predict calls the same
        found = partners(Transform(bool(quarters), flipped), offsets)
        assert all(partner is not None for partner in found)


def test_turn_keeps_image_and_labels_together() -> None:
    rng = np.random.default_rng(0)
    labels = cells()
    for _ in range(20):
        turn = Turn.draw(rng, flips=True, rotations=True)
        assert turn.apply(np.zeros(turn.before((3, 4, 5)))).shape == (3, 4, 5)
        assert np.array_equal(turn.apply(labels[None].astype(np.float32))[0], turn.apply(labels))
    assert all(0 not in Turn.draw(rng, flips=True, rotations=True, dims=2).flipped for _ in range(20))


def test_deformation_moves_image_and_labels_alike() -> None:
    labels = cells(shape=(20, 40, 40))
    image = (labels == 4)[None].astype(np.float32)
    moved, cut = deform(
        (image, labels), np.random.default_rng(1), amplitude=2.0, spacing=12.0, sampling=(2.0, 1.0, 1.0)
    )
    assert set(np.unique(cut)) <= set(np.unique(labels))
    assert (cut != labels).mean() > 0.02
    assert ((moved[0] > 0.5) == (cut == 4)).mean() > 0.99
    again = deform((image, labels), np.random.default_rng(1), amplitude=2.0, spacing=12.0, sampling=(2.0, 1.0, 1.0))
    assert np.array_equal(again[0], moved)
    assert np.array_equal(again[1], cut)


def test_no_deformation_is_none() -> None:
    labels = cells()
    image = labels[None].astype(np.float32)
    moved, cut = deform((image, labels), np.random.default_rng(0), amplitude=0, spacing=8, sampling=(1, 1, 1))
    assert np.array_equal(cut, labels)
    assert np.allclose(moved, image, atol=1e-4)


def test_planes_are_deformed_within_themselves() -> None:
    labels = cells(shape=(1, 30, 30))
    _, cut = deform(
        (labels[None].astype(np.float32), labels), np.random.default_rng(0), amplitude=3, spacing=10, sampling=(1, 1, 1)
    )
    assert cut.shape == labels.shape
    assert (cut != labels).any()


def test_noise_has_the_deviation_that_it_should() -> None:
    rng = np.random.default_rng(0)
    flat = np.full((1, 40, 40, 40), 0.6, np.float32)
    photons = add_poisson_noise(flat, rng, (50, 50), 0.1, 1.1) - flat
    assert abs(photons.mean()) < 2e-3
    assert np.isclose(photons.std(), np.sqrt(0.5 / 50), rtol=0.02)
    dark = add_poisson_noise(flat - 1, rng, (50, 50), 0.1, 1.1)
    assert np.allclose(dark, -0.4)
    deviations = [float(add_gaussian_noise(flat, rng, 0.2).std()) for _ in range(30)]
    assert max(deviations) < 0.205
    assert min(deviations) < 0.1
    changed = change_contrast(flat, rng, 0.3)
    assert abs(float(changed.mean()) - 0.6) <= 0.3 * 0.6 + 0.15


def some(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn((2, 3, 4, 5, 6), generator=made)
    target = (torch.rand(logits.shape, generator=made) > 0.6).float()
    return logits, target, torch.rand(logits.shape, generator=made) > 0.3


def test_losses_against_sums_written_out() -> None:
    logits, target, known = some()
    p, q, m = torch.sigmoid(logits.double()).numpy(), target.double().numpy(), known.numpy()
    each = -(q * np.log(p) + (1 - q) * np.log(1 - p))
    assert float(bce_loss(logits, target, known)) == pytest.approx(each[m].mean(), rel=1e-5)
    dice = []
    for c in range(3):
        pc, qc = p[:, c][m[:, c]], q[:, c][m[:, c]]
        dice.append(1 - 2 * (pc * qc).sum() / ((pc**2).sum() + (qc**2).sum()))
    assert float(dice_loss(logits, target, known)) == pytest.approx(np.mean(dice), rel=1e-5)
    total = loss("bce_dice", logits, target, known, 0.7)
    assert float(total) == pytest.approx(each[m].mean() + 0.7 * np.mean(dice), rel=1e-5)
    assert float(loss("bce", logits, target, known)) == float(bce_loss(logits, target, known))
    assert float(loss("dice", logits, target, known)) == float(dice_loss(logits, target, known))


@pytest.mark.parametrize("name", ["bce", "dice", "bce_dice"])
def test_losses_do_not_see_what_is_unknown(name: str) -> None:
    logits, target, known = some()
    logits.requires_grad_()
    value = loss(name, logits, target, known)
    value.backward()
    assert logits.grad is not None
    assert (logits.grad[~known] == 0).all()
    assert (logits.grad[known] != 0).float().mean() > 0.9
    changed = torch.where(known, target, 1 - target)
    assert float(loss(name, logits.detach(), changed, known)) == float(value.detach())


@pytest.mark.parametrize("name", ["bce", "dice", "bce_dice"])
def test_losses_of_perfect_and_of_nothing(name: str) -> None:
    _, target, known = some()
    assert float(loss(name, 100 * (2 * target - 1), target, known)) < 1e-5
    nothing = torch.zeros_like(known)
    logits = torch.zeros_like(target, requires_grad=True)
    value = loss(name, logits, target, nothing)
    value.backward()
    assert float(value.detach()) == 0
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
