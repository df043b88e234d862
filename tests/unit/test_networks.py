"""Architectures against pytorch-3dunet, and their reach against what changing voxels shows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import yaml
from network_checks import MODELS, architecture, network

from bigseg.errors import UserError
from bigseg.networks.architecture import make_architecture, read_architecture
from bigseg.networks.checkpoint import load_network, read_state
from bigseg.networks.unet import build

KINDS = [
    {"name": "UNet3D", "layer_order": "gcr"},
    {"name": "UNet2D", "layer_order": "bcr", "f_maps": [4, 6, 10]},
    {"name": "UNet3D", "layer_order": "cr", "upsample": "deconv"},
    {"name": "UNet2D", "layer_order": "cbl", "upsample": "bilinear", "final_sigmoid": False},
    {"name": "UNet3D", "layer_order": "cge", "conv_upscale": 1, "is_segmentation": False},
    {"name": "ResidualUNet3D", "layer_order": "cge"},
    {"name": "ResidualUNet2D", "layer_order": "bcr"},
    {"name": "ResidualUNet3D", "layer_order": "gcl", "upsample": "deconv"},
    {"name": "ResidualUNetSE3D", "layer_order": "gcrd"},
]


@pytest.mark.parametrize("keys", KINDS, ids=lambda k: "-".join(map(str, k.values())))
def test_weights_are_interchangeable_with_pytorch_3dunet(keys):
    package = pytest.importorskip("pytorch3dunet.unet3d.model")
    settings = {"in_channels": 2, "out_channels": 3, "f_maps": 4, "num_levels": 3, "num_groups": 2, **keys}
    torch.manual_seed(1)
    theirs = getattr(package, keys["name"])(**{k: v for k, v in settings.items() if k != "name"}).eval()
    ours = build(make_architecture(settings, "test")).eval()
    image = torch.randn((1, 2) + ((9, 14, 12) if ours.architecture.dims == 3 else (13, 18)))
    ours.load_state_dict(theirs.state_dict())
    with torch.inference_mode():
        assert torch.equal(ours(image), theirs(image))
        other = build(ours.architecture).eval()
        theirs.load_state_dict(other.state_dict())
        assert torch.equal(other(image), theirs(image))


def test_the_mouse_embryo_checkpoint_gives_what_the_package_gives():
    folder = MODELS / "mouse_embryo_nuclei"
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    package = pytest.importorskip("pytorch3dunet.unet3d.model")
    settings = yaml.safe_load((folder / "config_predict.yml").read_text())["model"]
    state = read_state(folder / "best_checkpoint.pytorch", "mouse")
    ours = load_network(read_architecture(settings, "config"), state, "mouse")
    theirs = package.get_model(settings).eval()
    theirs.load_state_dict(state)
    image = torch.from_numpy(np.load(folder / "test_input.npy"))[..., :16, :64, :64]
    image = (image - image.mean()) / image.std()
    with torch.inference_mode():
        found = ours(image)
        assert torch.allclose(found, theirs(image), atol=1e-6)
    assert float(found.std()) > 0.01


# Reach


@pytest.mark.parametrize(("levels", "reach", "formula"), [(2, 9, 8), (3, 23, 20), (4, 51, 44), (5, 107, 92)])
def test_the_reach_exceeds_the_published_formula_by_the_windows(levels, reach, formula):
    graph = architecture(num_levels=levels).graph()
    # Two convolutions of kernel 3 in each level on the way down, and again on the way up but in the lowest.
    assert formula == sum(2 * 2**level for level in [*range(levels), *range(levels - 1)])
    assert graph.reach().halo == (reach,) * 3 == (formula + 2 ** (levels - 1) - 1,) * 3
    assert graph.divisibility() == (2 ** (levels - 1),) * 3


REACHES = [
    {"name": "UNet2D", "layer_order": "cr", "num_levels": 3},
    {"name": "UNet2D", "layer_order": "bcr", "upsample": "deconv"},
    {"name": "UNet2D", "layer_order": "cr", "upsample": "bilinear"},
    {
        "name": "UNet2D",
        "layer_order": "cr",
        "conv_kernel_size": [1, 5],
        "conv_padding": [0, 2],
        "pool_kernel_size": [1, 3],
    },
    {"name": "ResidualUNet2D", "layer_order": "bcr", "num_levels": 3},
]


@pytest.mark.parametrize("keys", REACHES, ids=lambda k: "-".join(map(str, k.values())))
def test_the_reach_is_what_gradients_show(keys):
    """Each place within the pooling windows; in float64, with all weights positive so that nothing cancels."""
    made = network(**keys).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.abs_()
    graph = made.architecture.graph()
    reach, divisibility = graph.reach(), graph.divisibility()
    length = 2 * max(reach.halo) + 4 * max(divisibility)
    shape = [-(-length // d) * d for d in divisibility]
    for axis, period in enumerate(divisibility):
        middle = shape[axis] // 2 // period * period
        for place in range(middle, middle + period):
            # All voxels differ, and inputs grow along the axis, so that maxima lie at either side of windows.
            seen = [_seen(made, shape, axis, place, seed) for seed in range(6)]
            low, high = min(first for first, _ in seen), max(last for _, last in seen)
            assert place - low <= reach.before[axis][place % period]
            assert high - place <= reach.after[axis][place % period]
            assert place - low >= reach.before[axis][place % period] - period
            assert high - place >= reach.after[axis][place % period] - period


def _seen(made, shape, axis, place, seed):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand((1, 1, *shape), generator=generator, dtype=torch.float64, requires_grad=True)
    other = [n // 2 for n in shape]
    other[axis] = place
    made.logits(image)[(0, 0, *other)].backward()
    assert image.grad is not None
    along = torch.nonzero(image.grad[0, 0].abs().amax(dim=1 - axis)).flatten()
    return int(along[0]), int(along[-1])


def test_group_norm_and_squeeze_look_at_the_whole_patch():
    assert not architecture(layer_order="bcr").graph().statistics
    assert architecture(layer_order="gcr").graph().statistics
    assert architecture(name="ResidualUNetSE3D", layer_order="bcr").graph().statistics


def test_a_network_without_padding_is_refused():
    with pytest.raises(UserError, match="of different size"):
        architecture(conv_padding=0).graph().divisibility()


# Bad input


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"layer_order": "rcg"}, "layer_order"),
        ({"layer_order": "xyz"}, "layer_order"),
        ({"f_maps": [8]}, "f_maps"),
        ({"name": "ResidualUNet3D", "upsample": "nearest"}, "upsample"),
        ({"in_channels": 0}, "in_channels"),
        ({"f_map": 3}, "f_map"),
        ({"pool_kernel_size": [2, 2]}, "axes"),
    ],
)
def test_an_impossible_architecture_is_named(keys, told):
    with pytest.raises(UserError, match=told) as caught:
        architecture(**keys)
    assert caught.value.remedy


def test_another_network_is_refused():
    with pytest.raises(UserError, match="no architecture that bigseg knows"):
        read_architecture({"name": "NoNet"}, "config.yml")


def test_weights_of_another_network_nan_and_damage_are_told(tmp_path):
    made = network()
    with pytest.raises(UserError, match="not those of a UNet3D"):
        load_network(architecture(f_maps=8), made.state_dict(), "weights")
    state = made.state_dict()
    state["final_conv.bias"] = torch.tensor([math.nan])
    with pytest.raises(UserError, match=r"final_conv\.bias hold NaN"):
        load_network(made.architecture, state, "weights")
    path = tmp_path / "weights.pt"
    torch.save(made.state_dict(), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"weights: (is damaged|cannot be read)"):
        read_state(path, "weights")
    with pytest.raises(UserError, match="no such file"):
        read_state(tmp_path / "none.pt", "weights")


class Harmful:
    """What a pickle may hold."""

    def __reduce__(self):
        return (print, ("never printed",))


def test_pickled_objects_are_never_run(tmp_path, capsys):
    torch.save({"model_state_dict": Harmful()}, tmp_path / "bad.pytorch")
    with pytest.raises(UserError, match="Python objects"):
        read_state(tmp_path / "bad.pytorch", "bad")
    assert "never printed" not in capsys.readouterr().out
