"""Losses on logits, counted only where the labels tell (BCE-Dice: Wolny 2023, eq. 2.2)."""

from __future__ import annotations

import torch
from torch.nn import functional

Tensor = torch.Tensor

_EPSILON = 1e-6


def bce_loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean binary cross entropy over the known voxels; 0 without any.

    Args:
        logits: (n, channels, …) before the sigmoid.
        target: the same shape, 0 … 1.
        known: the same shape, bool.
    """
    weights = known.to(logits.dtype)
    each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (each * weights).sum() / weights.sum().clamp(min=1)


def dice_loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """1 - the mean over the channels of 2 Σpq / (Σp² + Σq²), sums over the known voxels of the batch.

    A channel with no known voxel counts 0. Arguments as for :func:`bce_loss`.
    """
    weights = known.to(logits.dtype).transpose(0, 1).flatten(1)
    p = torch.sigmoid(logits).transpose(0, 1).flatten(1) * weights
    q = target.transpose(0, 1).flatten(1) * weights
    dice = 2 * (p * q).sum(1) / ((p * p).sum(1) + (q * q).sum(1)).clamp(min=_EPSILON)
    return ((1 - dice) * (weights.sum(1) > 0)).mean()


def loss(name: str, logits: Tensor, target: Tensor, known: Tensor, dice_weight: float = 1.0) -> Tensor:
    """``bce``, ``dice``, or ``bce_dice``: BCE + ``dice_weight`` · Dice; computed in float32."""
    logits, target = logits.float(), target.float()
    if name == "bce":
        return bce_loss(logits, target, known)
    if name == "dice":
        return dice_loss(logits, target, known)
    return bce_loss(logits, target, known) + dice_weight * dice_loss(logits, target, known)
