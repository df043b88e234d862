"""Patches give what the whole volume gives, and how patches are chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from network_checks import image, in_blocks, model

from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid
from bigseg.networks.augment import partners, transforms
from bigseg.networks.maps import Maps
from bigseg.networks.tiling import Tiling, choose_core, core_candidates, patch_shape, voxels

TOLERANCE = 2e-6
SHAPE = (13, 27, 33)
KINDS = [
    {"layer_order": "cr"},
    {"layer_order": "bcr"},
    {"name": "ResidualUNet3D", "layer_order": "bcr"},
    {"layer_order": "cr", "upsample": "trilinear"},
    {"name": "UNet2D", "layer_order": "cbr", "num_levels": 3},
    {"layer_order": "cbr", "conv_kernel_size": [1, 3, 3], "conv_padding": [0, 1, 1], "pool_kernel_size": [1, 2, 2]},
]


@pytest.mark.parametrize("keys", KINDS, ids=lambda k: "-".join(map(str, k.values())))
def test_tiled_is_whole_everywhere(keys):
    found, volume = model(**keys), image(1, *SHAPE)
    whole = in_blocks(found, volume, SHAPE)["boundary"]
    assert whole.std() > 1e-3
    for block, core in [((13, 9, 16), None), ((6, 27, 11), (4, 8, 12))]:
        tiled = in_blocks(found, volume, block, core=core)["boundary"]
        assert np.abs(tiled - whole).max() < TOLERANCE


def test_the_whole_is_one_pass_of_the_network():
    found, volume = model(), image(1, 12, 16, 20)
    with torch.inference_mode():
        expected = found(torch.from_numpy(volume)[None])[0, 0].numpy()
    assert np.allclose(in_blocks(found, volume, (5, 8, 20))["boundary"], expected, atol=TOLERANCE)


def test_a_halo_one_step_too_small_shows():
    found, volume = model(), image(1, *SHAPE)
    whole = in_blocks(found, volume, SHAPE)["boundary"]

    def less(tiling: Tiling) -> Tiling:
        step = tiling.divisibility[0]
        return replace(
            tiling,
            before=tuple(tuple(max(0, b - step) for b in row) for row in tiling.before),
            after=tuple(tuple(max(0, a - step) for a in row) for row in tiling.after),
        )

    assert np.abs(in_blocks(found, volume, (13, 9, 16), change=less)["boundary"] - whole).max() > 10 * TOLERANCE


def test_windows_that_do_not_coincide_show():
    """A patch that begins between two multiples of the divisibility gives other results."""
    found, volume = model(), image(1, 32, 48, 48)
    with torch.inference_mode():
        whole = found(torch.from_numpy(volume)[None])[0, 0, 14:18, 20:28, 20:28]
        shifted = found(torch.from_numpy(volume[:, 1:31, 1:47, 1:47])[None])[0, 0, 13:17, 19:27, 19:27]
        aligned = found(torch.from_numpy(volume[:, 2:30, 2:46, 2:46])[None])[0, 0, 12:16, 18:26, 18:26]
    assert float((aligned - whole).abs().max()) < TOLERANCE < float((shifted - whole).abs().max())


def test_mirrored_margins_and_transforms_are_without_seams_too():
    found, volume = model(name="UNet2D", layer_order="cr"), image(1, 3, 21, 26)
    for options in ({"mirror": (0, 5, 9)}, {"augment": "flips"}, {"augment": "rotations"}):
        whole = in_blocks(found, volume, (3, 21, 26), **options)["boundary"]
        tiled = in_blocks(found, volume, (2, 8, 13), **options)["boundary"]
        assert np.abs(tiled - whole).max() < TOLERANCE


def test_a_mirrored_margin_is_the_mirrored_volume():
    found, volume = model(name="UNet2D"), image(1, 1, 12, 16)
    padded = np.pad(volume, [(0, 0), (0, 0), (4, 4), (4, 4)], mode="reflect")
    expected = in_blocks(found, padded, (1, 20, 24))["boundary"][:, 4:-4, 4:-4]
    assert np.allclose(in_blocks(found, volume, (1, 12, 16), mirror=(0, 4, 4))["boundary"], expected, atol=TOLERANCE)


def test_group_norm_depends_on_patches_but_not_on_blocks_and_overlap_softens_the_seams():
    found, volume = model(layer_order="gcr"), image(1, 16, 32, 32)
    volume[..., 16:] = 4 * volume[..., 16:] + 3
    core = (16, 32, 8)
    one = in_blocks(found, volume, (16, 32, 32), core=core)["boundary"]
    other = in_blocks(found, volume, (16, 12, 10), core=core)["boundary"]
    assert np.abs(one - other).max() < TOLERANCE
    whole = in_blocks(found, volume, (16, 32, 32), core=(16, 32, 32))["boundary"]
    assert np.abs(one - whole).max() > 100 * TOLERANCE
    blended = in_blocks(found, volume, (16, 32, 32), core=(16, 32, 16), overlap=True)["boundary"]
    again = in_blocks(found, volume, (16, 12, 10), core=(16, 32, 16), overlap=True)["boundary"]
    assert np.abs(blended - again).max() < TOLERANCE

    def seam(result: np.ndarray) -> float:
        """The steps at the faces of patches beyond those of one pass over the whole."""
        return float(np.abs(np.diff(result - whole, axis=2))[..., 7::8].mean())

    assert seam(blended) < 0.7 * seam(one)


def test_overlapping_patches_of_a_norm_free_network_are_the_whole():
    found, volume = model(), image(1, 10, 18, 22)
    whole = in_blocks(found, volume, (10, 18, 22))["boundary"]
    tiled = in_blocks(found, volume, (10, 9, 11), core=(8, 8, 8), overlap=True)["boundary"]
    assert np.abs(tiled - whole).max() < TOLERANCE


# Affinities under transforms

OFFSETS = ((0, -1, 0), (0, 0, -1), (0, 3, -2), (0, -2, -3), (-1, 0, 0))


@pytest.mark.parametrize("kind", ["flips", "rotations"])
def test_affinities_are_permuted_with_the_grid(kind):
    """The affinities of a labelling, computed on the transformed labels, are those of the labels themselves."""
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (4, 9, 9)))
    expected = _affinities(labels)
    from bigseg.networks.predictor import _shifted, _turn, _turn_back

    told = 0
    for transform in transforms(kind, 3):
        turned = _turn(labels[None, None], transform)[0, 0]
        back = _turn_back(_affinities(turned)[None], transform)[0]
        for channel, partner in enumerate(partners(transform, OFFSETS)):
            if partner is None:
                continue
            source, shift = partner
            here, there = _shifted(shift, labels.shape)
            one, other = expected[(channel, *here)], back[(source, *there)]
            inside = _inside(labels.shape, OFFSETS[channel])[here]
            assert torch.equal(one[inside], other[inside])
            told += 1
    assert told > len(OFFSETS) * 5


def _affinities(labels: torch.Tensor) -> torch.Tensor:
    rolled = [torch.roll(labels, tuple(-o for o in offset), (0, 1, 2)) for offset in OFFSETS]
    return torch.stack([labels == other for other in rolled])


def _inside(shape: tuple[int, ...], offset: tuple[int, int, int]) -> torch.Tensor:
    grid = np.indices(shape)
    return torch.from_numpy(
        np.all([(g + o >= 0) & (g + o < n) for g, o, n in zip(grid, offset, shape, strict=True)], axis=0)
    )


def test_maps_derive_a_boundary():
    output = torch.rand((3, 2, 4, 4))
    nearest = Maps(("affinity", "affinity", "affinity"), ((0, -1, 0), (0, 0, -1), (0, 0, -9)))
    assert torch.equal(nearest.compose(output)["boundary"], 1 - output[:2].amin(dim=0))
    assert torch.equal(Maps(("ignore", "foreground", "ignore")).compose(output)["boundary"], 1 - output[1])
    both = Maps(("foreground", "boundary", "ignore")).compose(output)
    assert torch.equal(both["boundary"], output[1])
    assert torch.equal(both["foreground"], output[0])


# Which patches


def tiling(volume=(100, 100, 100), halo=44, step=16, **keys) -> Tiling:
    return Tiling(volume, (step,) * 3, ((halo,),) * 3, ((halo,),) * 3, **keys)


def test_patches_fit_never_exceed_the_volume_and_are_multiples():
    """Of the whole patch the product counts, not the sum; its halo is on both sides; and no patch is negative."""
    cases = [
        ((100, 100, 100), 120**3),
        ((300, 100, 100), 112**3),
        ((10, 1000, 100), 80**3),
        ((96, 96, 96), 96**3),
        ((400, 400, 400), 160**3),
    ]
    for volume, budget in cases:
        found = tiling(volume)
        core = choose_core(found, volume, lambda shape, budget=budget: voxels(shape) <= budget)
        shape = patch_shape(found, core)
        assert voxels(shape) <= budget
        assert all(c > 0 and c % 16 == 0 for c in core)
        assert all(s <= f for s, f in zip(shape, found.frame, strict=True))
        for patch in found.patches(Box((0, 0, 0), volume), core):
            assert all(g <= s for g, s in zip(patch.given.shape, shape, strict=True))


def test_a_volume_that_fits_is_one_patch_without_halo():
    found = tiling((96, 96, 96))
    assert choose_core(found, (96, 96, 96), lambda shape: voxels(shape) <= 96**3) == (96, 96, 96)
    assert patch_shape(found, (96, 96, 96)) == (96, 96, 96)


def test_a_patch_that_cannot_fit_is_told():
    with pytest.raises(UserError, match="does not fit") as caught:
        choose_core(tiling((400, 400, 400)), (256, 256, 256), lambda shape: voxels(shape) < 32**3)
    assert "network_memory_gb" in caught.value.remedy


def test_probing_asks_a_few_times_only():
    asked = []
    found = tiling((4000, 4000, 4000))

    def fits(shape):
        asked.append(shape)
        return voxels(shape) <= 200**3

    core = choose_core(found, (256, 256, 256), fits)
    assert len(asked) < 8
    larger = list(core_candidates(found, (256, 256, 256)))
    assert voxels(patch_shape(found, larger[larger.index(core) - 1])) > 200**3


def test_the_used_parts_tile_each_block_and_lie_in_what_is_given():
    found = tiling((37, 70, 45), halo=5, step=4)
    grid = Grid((37, 70, 45), (20, 33, 45))
    count = np.zeros(found.frame, int)
    for number in range(grid.number_of_blocks):
        box = grid.box(number)
        for patch in found.patches(box, (8, 12, 16)):
            count[patch.used.slices] += 1
            assert patch.used.inside(patch.given).begin >= (0, 0, 0)
            assert all(b % 4 == 0 for b in patch.given.begin)
    assert (count[:37, :70, :45] == 1).all()


def test_a_model_of_fixed_size_gives_patches_of_that_size():
    found = tiling((5, 130, 70), halo=9, step=8, fixed=(None, 64, 64))
    found = replace(found, divisibility=(1, 8, 8), before=((0,), (9,), (9,)), after=((0,), (9,), (9,)))
    assert found.largest_core()[1:] == (32, 32)
    for patch in found.patches(Box((0, 0, 0), (5, 130, 70)), (5, 32, 32)):
        assert patch.given.shape[1:] == (64, 64)
    small = replace(found, volume=(5, 40, 64))
    assert small.frame == (5, 64, 64)
    assert small.largest_core()[1:] == (64, 64)
    with pytest.raises(UserError, match="nothing is left"):
        replace(found, before=((0,), (60,), (60,))).largest_core()
