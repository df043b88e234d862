"""The U-Nets of :mod:`bigseg.networks.architecture` in torch.

Names and order of modules are pytorch-3dunet's, so that its checkpoints load here and ours load there; what a module
computes is the same to the last operation. Plain blocks are two layers (Çiçek et al. 2016), residual ones follow Lee et
al. 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional

from bigseg.networks.architecture import NAMES, Architecture, make_architecture

Tensor = torch.Tensor


def build(architecture: Architecture) -> UNet:
    """The network with random weights."""
    return UNet(architecture)


class UNet(nn.Module):
    """Encoder, decoder with skip connections, a final 1×1 convolution and an activation.

    ``forward`` takes (batch, channels, [z,] y, x) and gives (batch, outputs, [z,] y, x), with the final activation;
    :meth:`logits` leaves it out, for losses.
    """

    def __init__(self, architecture: Architecture) -> None:
        """Build the layers."""
        super().__init__()
        self.architecture = architecture
        features = architecture.features
        into = (architecture.in_channels, *features[:-1])
        self.encoders = nn.ModuleList(
            _Encoder(architecture, level, i, out) for level, (i, out) in enumerate(zip(into, features, strict=True))
        )
        self.decoders = nn.ModuleList(
            _Decoder(architecture, coarse, joined, fine)
            for coarse, joined, fine in zip(
                features[:0:-1], architecture.decoder_inputs(), features[-2::-1], strict=True
            )
        )
        self.final_conv = _convolution(architecture.dims, features[0], architecture.out_channels, 1, 0, bias=True)

    def logits(self, x: Tensor) -> Tensor:
        """The output before the final activation."""
        skips: list[Tensor] = []
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x)
        skips.pop()
        for decoder in self.decoders:
            x = decoder(skips.pop(), x)
        result: Tensor = self.final_conv(x)
        return result

    def forward(self, x: Tensor) -> Tensor:
        """The output after the final activation."""
        x = self.logits(x)
        if not self.architecture.is_segmentation:
            return x
        return torch.sigmoid(x) if self.architecture.final_sigmoid else torch.softmax(x, dim=1)


class _Encoder(nn.Module):
    """Max pooling, but for the first level, and a block."""

    def __init__(self, architecture: Architecture, level: int, into: int, out: int) -> None:
        super().__init__()
        pool = nn.MaxPool3d if architecture.dims == 3 else nn.MaxPool2d
        self.pooling = pool(architecture.per_axis(architecture.pool_kernel_size)) if level else None
        self.basic_module = _block(architecture, into, architecture.first_features(level), out)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.basic_module(x if self.pooling is None else self.pooling(x))
        return result


class _Decoder(nn.Module):
    """Enlarge to the size of the skip connection, join, and a block."""

    def __init__(self, architecture: Architecture, coarse: int, joined: int, fine: int) -> None:
        super().__init__()
        self.upsampling = _Upsampling(architecture, coarse, fine)
        self.sum = architecture.joins_by_sum
        self.basic_module = _block(architecture, joined, fine, fine)

    def forward(self, skip: Tensor, x: Tensor) -> Tensor:
        x = self.upsampling(x, skip.shape[2:])
        result: Tensor = self.basic_module(skip + x if self.sum else torch.cat((skip, x), dim=1))
        return result


class _Upsampling(nn.Module):
    """Interpolation, or a transposed convolution whose output is then brought to size by repeating voxels."""

    def __init__(self, architecture: Architecture, into: int, out: int) -> None:
        super().__init__()
        self.mode = architecture.upsampling
        if self.mode == "deconv":
            self.upsample = _Transposed(architecture, into, out)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        if self.mode == "deconv":
            x = self.upsample(x)
            return functional.interpolate(x, size=size)
        return functional.interpolate(x, size=size, mode=self.mode)


class _Transposed(nn.Module):
    """A module of its own for the sake of the parameters' names."""

    def __init__(self, architecture: Architecture, into: int, out: int) -> None:
        super().__init__()
        kind = nn.ConvTranspose3d if architecture.dims == 3 else nn.ConvTranspose2d
        kernel = architecture.per_axis(architecture.conv_kernel_size)
        stride = architecture.per_axis(architecture.pool_kernel_size)
        padding = tuple(k // 2 for k in kernel)
        self.conv_transposed = kind(into, out, kernel, stride, padding, bias=False)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv_transposed(x)
        return result


def _block(architecture: Architecture, into: int, first: int, out: int) -> nn.Module:
    if architecture.residual:
        return _Residual(architecture, into, out)
    padding = architecture.per_axis(architecture.conv_padding)
    rates = architecture.dropout_prob
    one, two = (rates[0], rates[-1]) if isinstance(rates, list) else (rates, rates)
    block = nn.Sequential()
    block.add_module("SingleConv1", _layer(architecture, into, first, architecture.layer_order, padding, one))
    block.add_module("SingleConv2", _layer(architecture, first, out, architecture.layer_order, padding, two))
    return block


class _Residual(nn.Module):
    """A residual block: the non-linearity of the second layer comes after the sum."""

    def __init__(self, architecture: Architecture, into: int, out: int) -> None:
        super().__init__()
        order, dims = architecture.layer_order, architecture.dims
        linear = "".join(kind for kind in order if kind not in "rle")
        self.conv1 = _convolution(dims, into, out, 1, 0, bias=True) if into != out else nn.Identity()
        self.conv2 = _layer(architecture, out, out, order, (1,) * dims, 0.1)
        self.conv3 = _layer(architecture, out, out, linear, (1,) * dims, 0.1)
        self.non_linearity: nn.Module
        if "l" in order:
            self.non_linearity = nn.LeakyReLU(0.1)
        else:
            self.non_linearity = nn.ELU() if "e" in order else nn.ReLU()
        self.se_module = _SqueezeExcite(out) if "SE" in architecture.name else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        x = self.non_linearity(self.conv3(self.conv2(x)) + x)
        return x if self.se_module is None else self.se_module(x)


class _SqueezeExcite(nn.Module):
    """Concurrent channel and spatial squeeze and excitation (Roy et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cSE = nn.ModuleDict({"fc1": nn.Linear(channels, channels), "fc2": nn.Linear(channels, channels)})
        self.sSE = nn.ModuleDict({"conv": nn.Conv3d(channels, 1, 1)})

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3, 4))
        channel = torch.sigmoid(self.cSE["fc2"](torch.relu(self.cSE["fc1"](mean))))
        return torch.maximum(x * channel[:, :, None, None, None], x * torch.sigmoid(self.sSE["conv"](x)))


def _layer(
    architecture: Architecture, into: int, out: int, order: str, padding: tuple[int, ...], dropout: float
) -> nn.Sequential:
    """Convolution, norm and non-linearity in the given order."""
    dims = architecture.dims
    layer = nn.Sequential()
    groups = architecture.num_groups
    before = True
    for kind in order:
        channels = into if before else out
        if kind == "c":
            bias = not set("gb") & set(order)  # a norm makes it superfluous
            layer.add_module("conv", _convolution(dims, into, out, architecture.conv_kernel_size, padding, bias=bias))
            before = False
        elif kind == "g":
            groups = groups if channels >= groups else 1
            layer.add_module("groupnorm", nn.GroupNorm(groups, channels))
        elif kind == "b":
            layer.add_module("batchnorm", nn.BatchNorm3d(channels) if dims == 3 else nn.BatchNorm2d(channels))
        elif kind == "r":
            layer.add_module("ReLU", nn.ReLU(inplace=True))
        elif kind == "l":
            layer.add_module("LeakyReLU", nn.LeakyReLU(inplace=True))
        elif kind == "e":
            layer.add_module("ELU", nn.ELU(inplace=True))
        elif kind == "d":
            layer.add_module("dropout", nn.Dropout(dropout))
        else:
            layer.add_module("dropout2d", nn.Dropout2d(dropout))
    return layer


def _convolution(
    dims: int, into: int, out: int, kernel: int | Sequence[int], padding: int | Sequence[int], *, bias: bool
) -> nn.Module:
    kind = nn.Conv3d if dims == 3 else nn.Conv2d
    size = kernel if isinstance(kernel, int) else tuple(kernel)
    around = padding if isinstance(padding, int) else tuple(padding)
    return kind(into, out, size, padding=around, bias=bias)  # type: ignore[arg-type]


def __getattr__(name: str) -> Callable[..., UNet]:
    """``UNet3D(in_channels=1, …)`` and so on, for tools that build a network by the name in a package."""
    if name not in NAMES:
        raise AttributeError(name)
    return lambda **settings: build(make_architecture({"name": name, **settings}, name))
