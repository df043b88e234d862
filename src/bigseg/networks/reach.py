"""How far a network looks: its receptive field by construction, pooling windows included.

A network is a graph of layers. For every layer it is known which interval of its input an interval of its output is
made from, so the interval of input voxels behind one output voxel follows by going backwards through the graph; it
repeats with the network's divisibility. PlantSeg 2's formula (Yu 2025, eq. 3.1), the sum of 2^level · floor(k / 2)
over the convolutions, leaves out the windows of pooling and upsampling and is up to 2^(levels - 1) - 1 too small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm

from bigseg.errors import UserError

Axes = tuple[int, ...]
Interval = tuple[int, int]
"""First and last voxel, both included."""
Backwards = Callable[[Interval], Interval]


@dataclass(frozen=True)
class Reach:
    """Input voxels that can change an output voxel.

    It depends on the voxel's place within the pooling windows: ``before[axis][i % len(before[axis])]`` is how many
    voxels before voxel ``i`` count. Places are counted from where the network's input begins.
    """

    before: tuple[Axes, ...]
    after: tuple[Axes, ...]

    @property
    def halo(self) -> Axes:
        """The largest reach per axis, to either side."""
        return tuple(max(*b, *a) for b, a in zip(self.before, self.after, strict=True))


@dataclass(frozen=True)
class _Layer:
    """One layer: per axis the way back, the factor by which it is finer, and its length after a given one."""

    inputs: tuple[int, ...]
    channels: int
    back: tuple[Backwards, ...]
    finer: tuple[Fraction, ...]
    length: tuple[Callable[[int], int], ...]


@dataclass
class LayerGraph:
    """The layers of a network in order; number 0 is the input, the last one the output.

    Attributes:
        dims: 2 or 3 axes.
        in_channels: channels of the input.
        statistics: whether a layer looks at the whole patch (group and instance norm, global pooling), so that results
            depend on the patch.
    """

    dims: int
    in_channels: int
    statistics: bool = False
    layers: list[_Layer] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with the input."""
        self._add((), self.in_channels, _same, Fraction(1), _same_length)

    def channels(self, node: int) -> int:
        """Channels of a layer."""
        return self.layers[node].channels

    def window(
        self,
        node: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        before: Sequence[int],
        *,
        after: Sequence[int] | None = None,
        dilation: Sequence[int] | None = None,
        channels: int | None = None,
    ) -> int:
        """A convolution or pooling, padded ``before`` and ``after`` (the same if left out); the number of its layer."""
        end = before if after is None else after
        apart = dilation or (1,) * self.dims
        back, finer, length = [], [], []
        for k, s, p, q, d in zip(kernel, stride, before, end, apart, strict=True):
            back.append(_window(k, s, p, d))
            finer.append(Fraction(1, s))
            length.append(_window_length(k, s, p + q, d))
        return self._append((node,), channels or self.channels(node), back, finer, length)

    def nearest(self, node: int, factor: Sequence[int]) -> int:
        """Upsampling that repeats voxels."""
        return self._append(
            (node,),
            self.channels(node),
            [_nearest(f) for f in factor],
            [Fraction(f) for f in factor],
            [_times(f) for f in factor],
        )

    def linear(self, node: int, factor: Sequence[int]) -> int:
        """Linear upsampling with voxels' centres in place (``align_corners=False``, ONNX ``half_pixel``)."""
        return self._append(
            (node,),
            self.channels(node),
            [_linear(f) for f in factor],
            [Fraction(f) for f in factor],
            [_times(f) for f in factor],
        )

    def transposed(
        self,
        node: int,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        *,
        channels: int,
        output_padding: Sequence[int] | None = None,
        resized: bool = False,
    ) -> int:
        """A transposed convolution.

        Args:
            node: the layer before.
            kernel: per axis.
            stride: per axis.
            padding: per axis, as torch counts it.
            channels: of its output.
            output_padding: per axis.
            resized: whether its output is brought to ``stride`` times its input's length by repeating voxels, as
                pytorch-3dunet does: then voxel i is the convolution's i - 1 where it was one voxel too short.
        """
        extra = output_padding or (0,) * self.dims
        back, length = [], []
        for k, s, p, e in zip(kernel, stride, padding, extra, strict=True):
            missing = s - (k - 2 * p + e)
            if resized and missing not in (0, 1):
                raise UserError(
                    f"a transposed convolution of kernel {k} and stride {s} has no fixed place after resizing",
                    "use kernel 3",
                )
            shift = missing if resized else 0
            back.append(_transposed(k, s, p, shift))
            length.append(_times(s) if resized else _transposed_length(k, s, p, e))
        return self._append((node,), channels, back, [Fraction(s) for s in stride], length)

    def join(self, nodes: Sequence[int], *, channels: int) -> int:
        """Concatenation or sum."""
        return self._add(tuple(nodes), channels, _same, Fraction(1), _same_length)

    def whole(self, node: int) -> int:
        """A layer that uses statistics of the whole patch."""
        self.statistics = True
        return node

    def divisibility(self) -> Axes:
        """Per axis, what the length of a patch must be a multiple of.

        Raises:
            UserError: output and input differ in size, or branches do not meet.
        """
        coarse = [[1] * self.dims for _ in self.layers]
        result = [1] * self.dims
        for axis in range(self.dims):
            scale: list[Fraction] = []
            for number, layer in enumerate(self.layers):
                before = {scale[i] for i in layer.inputs} or {Fraction(1)}
                if len(before) > 1:
                    raise UserError("the network joins layers of different resolution", "it cannot be tiled")
                scale.append(before.pop() * layer.finer[axis])
                coarse[number][axis] = scale[-1].denominator
            if scale[-1] != 1:
                raise UserError("the network's output has another resolution than its input", "it cannot be tiled")
            result[axis] = lcm(*(row[axis] for row in coarse))
            self._check_lengths(axis, result[axis])
        return tuple(result)

    def reach(self) -> Reach:
        """How far the output looks, for every place within the divisibility."""
        before, after = [], []
        for axis, period in enumerate(self.divisibility()):
            intervals = [self._behind(axis, place) for place in range(period)]
            before.append(tuple(place - first for place, (first, _) in enumerate(intervals)))
            after.append(tuple(last - place for place, (_, last) in enumerate(intervals)))
        return Reach(tuple(before), tuple(after))

    def bytes_per_voxel(self) -> float:
        """Peak of what the layers of a forward pass keep at once, in bytes per voxel of a float32 patch."""
        volume: list[float] = []
        for layer in self.layers:
            inner = volume[layer.inputs[0]] if layer.inputs else 1.0
            for factor in layer.finer:
                inner *= float(factor)
            volume.append(inner)
        last_use = list(range(len(self.layers)))
        for number, layer in enumerate(self.layers):
            for used in layer.inputs:
                last_use[used] = number
        peak = 0.0
        for number in range(len(self.layers)):
            alive = sum(
                self.layers[i].channels * volume[i] for i in range(number + 1) if last_use[i] >= number or i == number
            )
            peak = max(peak, alive)
        return 4.0 * peak

    def _behind(self, axis: int, place: int) -> Interval:
        wanted: dict[int, Interval] = {len(self.layers) - 1: (place, place)}
        for number in range(len(self.layers) - 1, 0, -1):
            interval = wanted.pop(number, None)
            if interval is None:
                continue
            layer = self.layers[number]
            first, last = layer.back[axis](interval)
            for used in layer.inputs:
                low, high = wanted.get(used, (first, last))
                wanted[used] = (min(low, first), max(high, last))
        return wanted[0]

    def _check_lengths(self, axis: int, period: int) -> None:
        for blocks in (8, 11):
            lengths = [blocks * period]
            for layer in self.layers[1:]:
                before = {lengths[i] for i in layer.inputs}
                if len(before) > 1:
                    raise UserError("the network joins layers of different size", "it cannot be tiled")
                lengths.append(layer.length[axis](before.pop()))
            if lengths[-1] != lengths[0]:
                raise UserError(
                    f"the network makes {lengths[-1]} of {lengths[0]} voxels: it drops those near the edges",
                    "only networks whose convolutions are padded can be used",
                )

    def _append(
        self,
        inputs: tuple[int, ...],
        channels: int,
        back: Sequence[Backwards],
        finer: Sequence[Fraction],
        length: Sequence[Callable[[int], int]],
    ) -> int:
        self.layers.append(_Layer(inputs, channels, tuple(back), tuple(finer), tuple(length)))
        return len(self.layers) - 1

    def _add(
        self, inputs: tuple[int, ...], channels: int, back: Backwards, finer: Fraction, length: Callable[[int], int]
    ) -> int:
        return self._append(inputs, channels, [back] * self.dims, [finer] * self.dims, [length] * self.dims)


def _same(interval: Interval) -> Interval:
    return interval


def _same_length(length: int) -> int:
    return length


def _window(kernel: int, stride: int, padding: int, dilation: int) -> Backwards:
    return lambda i: (i[0] * stride - padding, i[1] * stride - padding + dilation * (kernel - 1))


def _window_length(kernel: int, stride: int, padding: int, dilation: int) -> Callable[[int], int]:
    return lambda n: (n + padding - dilation * (kernel - 1) - 1) // stride + 1


def _nearest(factor: int) -> Backwards:
    return lambda i: (i[0] // factor, i[1] // factor)


def _linear(factor: int) -> Backwards:
    if factor == 1:
        return _same
    # Voxel i lies at (i + 1/2) / factor - 1/2 of the coarser grid, between two of its voxels.
    return lambda i: ((2 * i[0] + 1 - factor) // (2 * factor), (2 * i[1] + 1 - factor) // (2 * factor) + 1)


def _transposed(kernel: int, stride: int, padding: int, shift: int) -> Backwards:
    # Voxel j is made from the q with j = q · stride - padding + t, 0 <= t < kernel.
    return lambda i: (
        -((kernel - 1 - (i[0] - shift) - padding) // stride),
        (i[1] - shift + padding) // stride,
    )


def _transposed_length(kernel: int, stride: int, padding: int, extra: int) -> Callable[[int], int]:
    return lambda n: (n - 1) * stride - 2 * padding + kernel + extra


def _times(factor: int) -> Callable[[int], int]:
    return lambda n: n * factor
