"""From a network's output channels to the maps of stage ``predict``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import torch

from bigseg.errors import UserError
from bigseg.geometry.box import Triple

_SLACK = 0.02
"""By how much a probability may leave [0, 1] before it is taken for something else: half-precision rounds."""


@dataclass(frozen=True)
class Maps:
    """Which maps are made of which channels.

    Attributes:
        roles: per output channel ``boundary``, ``foreground``, ``affinity`` or ``ignore``.
        offsets: offsets of the affinity channels, in order.
    """

    roles: tuple[str, ...]
    offsets: tuple[Triple, ...] = ()

    @property
    def affinities(self) -> list[int]:
        """Numbers of the affinity channels."""
        return [i for i, role in enumerate(self.roles) if role == "affinity"]

    def compose(self, output: torch.Tensor) -> dict[str, torch.Tensor]:
        """The maps ``boundary`` (z, y, x), and ``foreground`` (z, y, x), ``affinities`` (n, z, y, x) where they are.

        Without a boundary channel the boundary is where a voxel and one of its direct neighbours do not belong
        together, 1 - the least affinity (1 = same object); without affinities, 1 - foreground.

        Args:
            output: (channels, z, y, x) probabilities.
        """
        found: dict[str, torch.Tensor] = {}
        if "foreground" in self.roles:
            found["foreground"] = output[self.roles.index("foreground")]
        if self.affinities:
            found["affinities"] = output[self.affinities]
        if "boundary" in self.roles:
            found["boundary"] = output[self.roles.index("boundary")]
        elif self.affinities:
            direct = [i for i, o in enumerate(self.offsets) if sum(map(abs, o)) == 1]
            found["boundary"] = 1 - found["affinities"][direct or list(range(len(self.offsets)))].amin(dim=0)
        else:
            found["boundary"] = 1 - found["foreground"]
        return found


def encode(values: torch.Tensor, dtype: str) -> torch.Tensor:
    """Probabilities as ``uint8`` (255 = 1), ``float16`` or ``float32``."""
    clipped = values.float().clamp(0, 1)
    if dtype == "uint8":
        return (clipped * 255).round().to(torch.uint8)
    return clipped.half() if dtype == "float16" else clipped


def check_probabilities(output: torch.Tensor, names: Sequence[str]) -> None:
    """Refuse what is no probability.

    Raises:
        UserError: NaN, or values outside [0, 1].
    """
    used = output[[i for i, name in enumerate(names) if name != "ignore"]]
    low, high = (float(v) for v in torch.aminmax(used))
    if not (isfinite(low) and isfinite(high)):
        raise UserError(
            "the network's output holds NaN or infinity",
            "set predict.precision to float32, and check the image for NaN and the model's training",
        )
    if low < -_SLACK or high > 1 + _SLACK:
        raise UserError(
            f"the network's output is no probability: it reaches from {low:.3g} to {high:.3g}",
            "set predict.activation to sigmoid or softmax, if the network was exported without it",
        )
