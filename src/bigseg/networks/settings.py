"""What the configuration makes of a model: the channels that it is given, and what those are that it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigseg.errors import UserError
from bigseg.geometry.box import Triple, triple
from bigseg.networks.description import ModelDescription

if TYPE_CHECKING:
    from bigseg.config.stages import Predict


def channels_of(settings: Predict) -> list[int]:
    """Image channels that the network is given."""
    return [settings.channel] if settings.channels == "auto" else list(settings.channels)


def outputs_of(model: ModelDescription, settings: Predict) -> tuple[tuple[str, ...], tuple[Triple, ...]]:
    """What the output channels are, and the offsets of those that are affinities.

    Raises:
        UserError: nobody tells, or what is told does not fit the model.
    """
    count = model.out_channels
    if settings.outputs != "auto":
        roles: tuple[str, ...] = tuple(settings.outputs)
    elif model.outputs is not None:
        roles = model.outputs
    elif count <= 2:
        roles = ("boundary",) if count == 1 else ("foreground", "boundary")
    else:
        raise UserError(
            f"predict.outputs: {model.origin} has {count} output channels and does not say what they are",
            "list them in predict.outputs, e.g. [affinity, affinity, affinity, boundary]",
        )
    if len(roles) != count:
        raise UserError(
            f"predict.outputs: names {len(roles)} channels, {model.origin} has {count}", "name every output channel"
        )
    for role in ("boundary", "foreground"):
        if roles.count(role) > 1:
            raise UserError(f"predict.outputs: {role} is there twice", "name the others `ignore`")
    if set(roles) == {"ignore"}:
        raise UserError("predict.outputs: all channels are ignored", "name the one that is the boundary")
    offsets = model.offsets if settings.offsets == "auto" else tuple(triple(o) for o in settings.offsets)
    needed = roles.count("affinity")
    if settings.offsets == "auto" and not needed:
        offsets = ()
    if len(offsets) != needed:
        raise UserError(
            f"predict.offsets: {len(offsets)} offsets for {needed} affinity channels of {model.origin}",
            "give an offset (z, y, x) for each of them, in order",
        )
    if len(set(offsets)) != len(offsets) or (0, 0, 0) in offsets:
        raise UserError("predict.offsets: offsets must differ from each other and from [0, 0, 0]", "correct them")
    return roles, offsets
