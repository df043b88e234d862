"""The best model so far, as a package that ``predict.model`` and other tools read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bigseg.config.training import Training
from bigseg.geometry.box import Box, triple
from bigseg.networks.description import Operation
from bigseg.networks.unet import UNet
from bigseg.networks.write_package import Card, write_package
from bigseg.training.data import LabelledVolume
from bigseg.training.targets import offsets_of, roles_of

_PATHS: dict[str, Any] = {"output": True, "train": True, "validate_on": True, "network": {"initial_model"}}
"""Keys of the configuration that mean nothing elsewhere."""
_TEST_LENGTH = 32
"""About how long the edges of the package's test image are."""


def export_best(
    config: Training,
    network: UNet,
    example: LabelledVolume,
    preprocessing: Sequence[Operation],
    epoch: int,
    scores: dict[str, float],
) -> None:
    """Write the package into ``config.output``.

    Args:
        config: the training.
        network: the network; put into evaluation mode.
        example: where the test image is cut from; it also tells the voxel size, if the configuration does not.
        preprocessing: how images are normalised.
        epoch: the epoch that the weights are from.
        scores: what validation found.
    """
    size = told_size(config, example)
    write_package(
        Path(config.output).expanduser(),
        network,
        Card(
            name=config.name,
            description=config.description,
            documentation=_card(config, epoch, scores, size),
            crest_weight=config.crest_weight,
        ),
        outputs=roles_of(config.target),
        offsets=offsets_of(config.target),
        preprocessing=preprocessing,
        test_image=_test_image(network, example),
        voxel_size_um=size,
        training={
            "epoch": epoch,
            "validation": scores,
            "config": config.model_dump(mode="json", exclude=_PATHS),
        },
    )


def told_size(config: Training, example: LabelledVolume) -> tuple[float, float, float] | None:
    """The voxel size (z, y, x) in µm that the model tells."""
    if config.voxel_size_um == "auto":
        return example.voxel_size_um
    if config.voxel_size_um == "none":
        return None
    z, y, x = config.voxel_size_um
    return (z, y, x)


def _test_image(network: UNet, example: LabelledVolume) -> np.ndarray:
    """A box from the middle of the volume, a multiple of the divisibility, mirrored where the volume is too small."""
    steps = network.architecture.graph().divisibility()
    per_axis = (1, *steps) if network.architecture.dims == 2 else steps
    lengths = [max(2, _TEST_LENGTH // step) * step if step > 1 else _TEST_LENGTH for step in per_axis]
    if network.architecture.dims == 2:
        lengths[0] = 1
    begin, end = [], []
    for low, high, length in zip(example.box.begin, example.box.end, lengths, strict=True):
        begin.append(max(low, (low + high - length) // 2))
        end.append(min(high, begin[-1] + length))
    raw = example.read_raw(Box(triple(begin), triple(end)))
    pads = [(0, n - have) for n, have in zip(lengths, raw.shape[1:], strict=True)]
    padded = np.pad(raw, [(0, 0), *pads], mode="symmetric")
    return padded[:, 0] if network.architecture.dims == 2 else padded


def _card(config: Training, epoch: int, scores: dict[str, float], size: Sequence[float] | None) -> str:
    lines = [
        f"# {config.name}",
        "",
        config.description,
        "",
        f"- target: {config.target.kind}, loss: {config.loss.name}, normalisation: {config.normalise}",
        f"- voxel size (z, y, x): {'not known' if size is None else f'{list(size)} µm'}",
        f"- trained on {len(config.train)} volumes, {epoch} epochs of {config.iterations} iterations with "
        f"{config.batch} patches of {config.patch} voxels, seed {config.seed}",
        f"- validated on {len(config.validate_on)} volumes: "
        + ", ".join(f"{key.replace('_', ' ')} {value:.4f}" for key, value in scores.items()),
        "",
        "Trained with `bigseg train`; the settings are in `rdf.yaml`.",
    ]
    return "\n".join(lines) + "\n"
