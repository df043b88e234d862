"""How good a network is: loss, and scores of the segmentation that its boundary map leads to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from bigseg.config.training import Training
from bigseg.geometry.box import triple
from bigseg.kernels.contingency import Contingency, count_pairs
from bigseg.kernels.scores import Tally, combine, tally
from bigseg.networks.maps import Maps
from bigseg.networks.tiling import mirrored
from bigseg.networks.unet import UNet
from bigseg.training.data import LabelledVolume, read_mirrored, validation_boxes
from bigseg.training.losses import loss
from bigseg.training.segmentation import segment_boundary
from bigseg.training.targets import make_targets, offsets_of, roles_of


@dataclass(frozen=True)
class Verdict:
    """What validation found.

    Attributes:
        loss: mean loss of the boxes.
        adapted_rand_error: of the segmentation, 0 is best.
        voi_split: bits.
        voi_merge: bits.
    """

    loss: float
    adapted_rand_error: float
    voi_split: float
    voi_merge: float


def validate(
    network: UNet, volumes: Iterable[LabelledVolume], config: Training, device: torch.device, precision: torch.dtype
) -> Verdict:
    """Predict, segment and score the validation boxes, one after the other; the scores are those of all together.

    The network is put into evaluation mode.
    """
    network.eval()
    settings, target = config.validation, config.target
    maps = Maps(roles_of(target), offsets_of(target))
    losses: list[float] = []
    tallies: list[Tally] = []
    largest = triple(settings.box_shape) if network.architecture.dims == 3 else triple([1, *settings.box_shape[1:]])
    for volume in volumes:
        for box in validation_boxes(volume, largest, settings.boxes):
            image, labels = read_mirrored(volume, box, (0, 0, 0))
            logits = predict_logits(network, image, device, precision)
            targets = make_targets(labels, config.target, volume.sampling)
            values, known = (torch.from_numpy(a)[None] for a in targets)
            losses.append(float(loss(config.loss.name, logits[None], values, known, config.loss.dice_weight)))
            found = maps.compose(torch.sigmoid(logits))
            result = segment_boundary(
                found["boundary"].numpy(),
                settings.supervoxels,
                beta=settings.beta,
                minimum_object_size=settings.minimum_object_size,
                sampling=volume.sampling,
            )
            tallies.append(tally(_table(result, labels, target.ignore_label), ignore_zero=settings.ignore_zero))
    scores = combine(tallies)
    return Verdict(float(np.mean(losses)), scores["adapted_rand_error"], scores["voi_split"], scores["voi_merge"])


def predict_logits(network: UNet, image: np.ndarray, device: torch.device, precision: torch.dtype) -> torch.Tensor:
    """The output before the sigmoid, (channels, z, y, x) float32 on the CPU, of an image (c, z, y, x).

    The image is mirrored at its upper ends up to the network's divisibility, as ``predict`` does at those of a volume.
    """
    flat = network.architecture.dims == 2
    steps = network.architecture.graph().divisibility()
    per_axis = (1, *steps) if flat else steps
    whole = image
    for axis, (n, step) in enumerate(zip(image.shape[1:], per_axis, strict=True)):
        whole = np.take(whole, mirrored(n, 0, -(-n // step) * step), axis + 1)
    padded = torch.from_numpy(np.ascontiguousarray(whole)).to(device)
    batch = padded.transpose(0, 1) if flat else padded[None]
    with torch.inference_mode(), torch.autocast(device.type, precision, enabled=precision != torch.float32):
        output = network.logits(batch)
    result = (output.transpose(0, 1) if flat else output[0]).float().cpu()
    z, y, x = image.shape[1:]
    return result[:, :z, :y, :x]


def _table(result: np.ndarray, labels: np.ndarray, ignore: int | None) -> Contingency:
    """The pairs of labels, without what is not labelled."""
    if ignore is None:
        return count_pairs(result, labels)
    kept = labels != ignore
    return count_pairs(result[kept], labels[kept])
