"""What tests of networks share: small networks with lively random weights, and models made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pipeline_checks import DATA
from torch import nn

from bigseg.geometry.box import Triple
from bigseg.geometry.grid import Grid
from bigseg.machine import Machine
from bigseg.networks.architecture import Architecture, make_architecture
from bigseg.networks.maps import Maps
from bigseg.networks.model import Model, load_unet
from bigseg.networks.predictor import Options, Predictor
from bigseg.networks.tiling import Tiling, first_core
from bigseg.networks.unet import UNet, build
from bigseg.networks.write_package import Card, write_package

MODELS = DATA / "models"
CARD = Card(name="tiny test network", description="for tests", documentation="# Tiny\n\nFor tests.\n")


def architecture(**keys: Any) -> Architecture:
    plain = {"name": "UNet3D", "in_channels": 1, "out_channels": 1, "f_maps": 4, "num_levels": 2, "num_groups": 2}
    return make_architecture({**plain, "layer_order": "cr", **keys}, "test")


def network(seed: int = 0, **keys: Any) -> UNet:
    """A network whose output varies enough that every voxel it sees counts."""
    torch.manual_seed(seed)
    made = build(architecture(**keys)).eval()
    for module in made.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 2:
                parameter.mul_(2.0)
    return made


def model(seed: int = 0, **keys: Any) -> Model:
    made = network(seed, **keys)
    return load_unet(made.architecture, made.state_dict(), "test", {"source": "pytorch-3dunet"})


def package(folder: Path, seed: int = 0, outputs: tuple[str, ...] = ("boundary",), **keys: Any) -> Path:
    """A package of a random network."""
    extra = {key: keys.pop(key) for key in ("offsets",) if key in keys}
    card = replace(CARD, crest_weight=keys.pop("crest_weight", 0.0))
    made = network(seed, out_channels=len(outputs), **keys)
    rng = np.random.default_rng(0)
    shape = (made.architecture.in_channels, *(16,) * made.architecture.dims)
    image = rng.integers(0, 255, shape).astype(np.uint8)
    return write_package(folder, made, card, outputs=outputs, test_image=image, **extra).parent


def image(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def in_blocks(
    found: Model,
    volume: np.ndarray,
    block: Triple,
    *,
    core: Triple | None = None,
    augment: str = "none",
    change: Callable[[Tiling], Tiling] = lambda tiling: tiling,
    maps: Maps | None = None,
    overlap: bool = False,
    mirror: Triple = (0, 0, 0),
    margin: Triple = (0, 0, 0),
) -> dict[str, np.ndarray]:
    """Float maps of a volume (c, z, y, x), block by block, each given only the voxels that it says it needs."""
    shape: Triple = volume.shape[1:]  # type: ignore[assignment]
    tiling = change(
        Tiling.of(found.description, shape, mirror=mirror, margin=margin, symmetric=augment != "none", overlap=overlap)
    )
    roles = maps or Maps(("boundary",) + ("ignore",) * (found.description.out_channels - 1))
    options = Options(roles, dtype="float32", augment=augment, core=core)
    predictor = Predictor(found, tiling, options, Machine(1), block)
    grid = Grid(shape, block)
    result: dict[str, np.ndarray] = {}
    try:
        for number in range(grid.number_of_blocks):
            box = grid.box(number)
            needed = tiling.needed(box, core or first_core(tiling, block))
            made = predictor.predict(volume[(slice(None), *needed.slices)], needed, box)
            for name, values in made.items():
                whole = result.setdefault(name, np.full((*values.shape[:-3], *shape), np.nan, np.float32))
                whole[(..., *box.slices)] = values
    finally:
        predictor.close()
    return result
