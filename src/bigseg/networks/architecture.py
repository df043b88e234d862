"""What a U-Net is made of, as data: the keys of pytorch-3dunet's ``model`` section.

The four networks of PlantSeg (Wolny et al. 2020) and the variant with squeeze and excitation. Weights are
interchangeable with pytorch-3dunet's, because modules and parameters have the same names and sizes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bigseg.errors import UserError
from bigseg.networks.reach import LayerGraph

Name = Literal["UNet2D", "UNet3D", "ResidualUNet2D", "ResidualUNet3D", "ResidualUNetSE3D"]
NAMES: tuple[str, ...] = ("UNet2D", "UNet3D", "ResidualUNet2D", "ResidualUNet3D", "ResidualUNetSE3D")
Sizes = int | list[int]
"""One number for all axes, or one per axis."""

_IGNORED_BY_PYTORCH3DUNET = ("conv_kernel_size", "pool_kernel_size")
"""Its named classes swallow these keys and always use 3 and 2."""


class Architecture(BaseModel):
    """A U-Net; names and defaults are pytorch-3dunet's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    in_channels: int = Field(gt=0)
    out_channels: int = Field(gt=0)
    f_maps: int | list[int] = 64
    """Feature maps per level, or those of the first level, doubled from level to level."""
    num_levels: int | None = None
    """Number of levels where ``f_maps`` is one number: 4, or 5 for residual networks, if left out."""
    layer_order: str = "gcr"
    """Order within a layer: c convolution, g group norm, b batch norm, r ReLU, l leaky ReLU, e ELU, d/D dropout."""
    num_groups: int = Field(default=8, gt=0)
    final_sigmoid: bool = True
    """Sigmoid at the end; softmax over the channels if false."""
    is_segmentation: bool = True
    """False for a network without an activation at its end."""
    conv_kernel_size: Sizes = 3
    pool_kernel_size: Sizes = 2
    conv_padding: Sizes = 1
    conv_upscale: Literal[1, 2] = 2
    """2: the first convolution of an encoder gives half of its level's feature maps."""
    upsample: Literal["default", "nearest", "linear", "bilinear", "trilinear", "area", "deconv"] = "default"
    dropout_prob: float | list[float] = 0.1

    @field_validator("layer_order")
    @classmethod
    def _order(cls, order: str) -> str:
        if order.count("c") != 1 or set(order) - set("cgbrledD") or order[0] in "rle":
            raise ValueError("allowed are c once, and g, b, r, l, e, d, D; no non-linearity at the beginning")
        return order

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if len(self.features) < 2 or min(self.features) < 1:
            raise ValueError("f_maps: a U-Net has at least 2 levels")
        for sizes in (self.conv_kernel_size, self.pool_kernel_size, self.conv_padding):
            if isinstance(sizes, list) and len(sizes) != self.dims:
                raise ValueError(f"{sizes}: give one number, or one for each of the {self.dims} axes")
        if self.residual and self.upsample not in ("default", "deconv"):
            raise ValueError(f"upsample: {self.upsample} does not fit the channels of a residual network")
        modes = {2: ("trilinear", "linear"), 3: ("bilinear", "linear")}[self.dims]
        if self.upsample in modes:
            raise ValueError(f"upsample: {self.upsample} is not for {self.dims}D")
        return self

    @property
    def dims(self) -> int:
        """2 or 3."""
        return 2 if self.name.endswith("2D") else 3

    @property
    def residual(self) -> bool:
        """Whether blocks are residual."""
        return self.name.startswith("Residual")

    @property
    def features(self) -> tuple[int, ...]:
        """Feature maps per level, the finest first."""
        if isinstance(self.f_maps, list):
            return tuple(self.f_maps)
        levels = self.num_levels if self.num_levels is not None else (5 if self.residual else 4)
        return tuple(self.f_maps * 2**level for level in range(levels))

    @property
    def joins_by_sum(self) -> bool:
        """Whether skip connections are added; else they are concatenated."""
        return self.residual and self.upsample == "default"

    @property
    def upsampling(self) -> str:
        """How decoders enlarge: an interpolation mode, or ``deconv``."""
        if self.upsample == "default":
            return "deconv" if self.residual else "nearest"
        return self.upsample

    def per_axis(self, sizes: Sizes) -> tuple[int, ...]:
        """A setting as one number per axis."""
        return (sizes,) * self.dims if isinstance(sizes, int) else tuple(sizes)

    def decoder_inputs(self) -> list[int]:
        """Channels that each decoder's block gets, the coarsest first."""
        deep_first = self.features[::-1]
        found = []
        for coarse, fine in pairwise(deep_first):
            if self.joins_by_sum:
                found.append(fine)
            elif self.residual or self.upsampling == "deconv":
                found.append(coarse)
            else:
                found.append(coarse + fine)
        return found

    def first_features(self, level: int) -> int:
        """Channels after the first convolution of a plain encoder."""
        into = self.in_channels if level == 0 else self.features[level - 1]
        out = self.features[level]
        return max(into, out if self.conv_upscale == 1 else out // 2)

    def graph(self) -> LayerGraph:
        """Its layers, to work out how far it looks (:mod:`bigseg.networks.reach`)."""
        graph = LayerGraph(self.dims, self.in_channels)
        kernel, padding = self.per_axis(self.conv_kernel_size), self.per_axis(self.conv_padding)
        pool = self.per_axis(self.pool_kernel_size)
        one, zero, half = (1,) * self.dims, (0,) * self.dims, tuple(k // 2 for k in kernel)

        def layer(node: int, channels: int, pad: tuple[int, ...]) -> int:
            for kind in self.layer_order:
                if kind == "c":
                    node = graph.window(node, kernel, one, pad, channels=channels)
                elif kind == "g":
                    node = graph.whole(node)
            return node

        def block(node: int, first: int, out: int) -> int:
            if not self.residual:
                return layer(layer(node, first, padding), out, padding)
            if graph.channels(node) != out:
                node = graph.window(node, one, one, zero, channels=out)
            ones = (1,) * self.dims  # residual blocks always pad by 1
            inner = graph.join([layer(layer(node, out, ones), out, ones), node], channels=out)
            return graph.whole(inner) if "SE" in self.name else inner

        node, skips = 0, []
        for level, out in enumerate(self.features):
            if level:
                node = graph.window(node, pool, pool, zero)
            node = block(node, self.first_features(level), out)
            skips.append(node)
        skips.pop()
        for into, skip in zip(self.decoder_inputs(), reversed(skips), strict=True):
            out = graph.channels(skip)
            if self.upsampling == "deconv":
                node = graph.transposed(node, kernel, pool, half, channels=out, resized=True)
            elif self.upsampling in ("nearest", "area"):
                node = graph.nearest(node, pool)
            else:
                node = graph.linear(node, pool)
            node = block(graph.join([skip, node], channels=into), out, out)
        graph.window(node, one, one, zero, channels=self.out_channels)
        return graph


def read_architecture(settings: dict[str, Any], origin: str) -> Architecture:
    """The ``model`` section of a pytorch-3dunet configuration.

    Keys that pytorch-3dunet ignores are ignored here too.

    Args:
        settings: the section.
        origin: what messages call it, e.g. the file.

    Raises:
        UserError: it is no network that is known here.
    """
    if settings.get("name") not in NAMES:
        raise UserError(
            f"{origin}: model {settings.get('name')!r} is no architecture that bigseg knows",
            f"it knows {', '.join(NAMES)}; export other networks to ONNX or TorchScript",
        )
    known = {
        key: value
        for key, value in settings.items()
        if key in Architecture.model_fields and key not in _IGNORED_BY_PYTORCH3DUNET
    }
    return make_architecture(known, origin)


def make_architecture(settings: dict[str, Any], origin: str) -> Architecture:
    """An architecture from its keys.

    Raises:
        UserError: a key is missing, unknown or wrong.
    """
    try:
        return Architecture.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "model"
        raise UserError(f"{origin}: {key}: {first['msg']}", "correct the description of the network") from error
