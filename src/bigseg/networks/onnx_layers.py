"""The layers of an ONNX graph, to work out how far it looks; no weights are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from onnx import numpy_helper

from bigseg.errors import UserError
from bigseg.networks.reach import LayerGraph

_POINTWISE = frozenset(
    [
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Elu",
        "Selu",
        "Celu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Softplus",
        "Gelu",
        "Mish",
        "Erf",
        "Exp",
        "Log",
        "Sqrt",
        "Neg",
        "Abs",
        "Clip",
        "Cast",
        "Identity",
        "Dropout",
        "BatchNormalization",
        "Softmax",
        "LogSoftmax",
        "Pow",
        "Reciprocal",
    ]
)
_JOINS = frozenset(("Add", "Sub", "Mul", "Div", "Sum", "Max", "Min"))
_WHOLE = frozenset(
    [
        "InstanceNormalization",
        "GroupNormalization",
        "LayerNormalization",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "ReduceMean",
    ]
)


class UnknownLayerError(Exception):
    """The graph holds an operation whose reach is not known; the reach must be measured."""


def layers_of(model: Any) -> LayerGraph:
    """The layers of an ONNX model with one input and one output (batch, channel, [z,] y, x).

    Raises:
        UnknownLayerError: an operation is not known here.
        UserError: the network cannot be tiled.
    """
    return _Reader(model).read()


class _Reader:
    """Walks the nodes, which ONNX keeps in an order in which they can be computed."""

    def __init__(self, model: Any) -> None:
        self.graph = model.graph
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        real = [value for value in self.graph.input if value.name not in self.constants]
        if len(real) != 1 or len(self.graph.output) < 1:
            raise UserError(f"the ONNX graph has {len(real)} inputs", "give a model with one input and one output")
        shape = [d.dim_value for d in real[0].type.tensor_type.shape.dim]
        if len(shape) not in (4, 5):
            raise UserError(
                f"the ONNX graph's input has {len(shape)} axes",
                "give a model whose input is (batch, channel, [z,] y, x)",
            )
        self.dims = len(shape) - 2
        self.layers = LayerGraph(self.dims, shape[1] or 1)
        self.nodes: dict[str, int] = {real[0].name: 0}
        self.sizes = {value.name: value for value in self.graph.value_info}

    def read(self) -> LayerGraph:
        for node in self.graph.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self.constants[node.output[0]] = attribute.t
                continue
            inputs = [self.nodes[name] for name in node.input if name in self.nodes]
            if inputs:
                self.nodes[node.output[0]] = self._add(node, inputs)
        out = self.nodes.get(self.graph.output[0].name)
        if out is None:
            raise UnknownLayerError("the output does not depend on the input")
        if out != len(self.layers.layers) - 1:
            self.layers.join([out], channels=self.layers.channels(out))
        return self.layers

    def _add(self, node: Any, inputs: list[int]) -> int:
        kind = node.op_type
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if kind == "Conv":
            kernel = self._array(node.input[1]).shape
            return self._window(inputs[0], attributes, kernel[2:], int(kernel[0]))
        if kind in ("MaxPool", "AveragePool", "LpPool"):
            if attributes.get("ceil_mode"):
                raise UnknownLayerError("pooling with ceil_mode")
            return self._window(inputs[0], attributes, attributes["kernel_shape"], None)
        if kind == "ConvTranspose":
            return self._transposed(node, inputs[0], attributes)
        if kind in ("Resize", "Upsample"):
            return self._resize(node, inputs[0], attributes)
        if kind == "Concat":
            return self.layers.join(inputs, channels=sum(self.layers.channels(i) for i in inputs))
        if kind in _JOINS:
            return self.layers.join(inputs, channels=max(self.layers.channels(i) for i in inputs))
        if kind in _WHOLE:
            return self.layers.whole(self.layers.join(inputs[:1], channels=self.layers.channels(inputs[0])))
        if kind in _POINTWISE:
            return inputs[0]
        raise UnknownLayerError(kind)

    def _window(self, node: int, attributes: dict[str, Any], kernel: Sequence[int], channels: int | None) -> int:
        if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            raise UnknownLayerError("automatic padding")
        pads = list(attributes.get("pads", [0] * (2 * self.dims)))
        return self.layers.window(
            node,
            list(kernel),
            list(attributes.get("strides", [1] * self.dims)),
            pads[: self.dims],
            after=pads[self.dims :],
            dilation=list(attributes.get("dilations", [1] * self.dims)),
            channels=channels,
        )

    def _transposed(self, node: Any, before: int, attributes: dict[str, Any]) -> int:
        kernel = self._array(node.input[1]).shape
        pads = list(attributes.get("pads", [0] * (2 * self.dims)))
        special = "output_shape" in attributes or attributes.get("auto_pad", b"NOTSET") != b"NOTSET"
        if special or pads[: self.dims] != pads[self.dims :] or set(attributes.get("dilations", [1])) != {1}:
            raise UnknownLayerError("a transposed convolution with uneven padding")
        return self.layers.transposed(
            before,
            list(kernel[2:]),
            list(attributes.get("strides", [1] * self.dims)),
            pads[: self.dims],
            channels=int(kernel[1]) * int(attributes.get("group", 1)),
            output_padding=list(attributes.get("output_padding", [0] * self.dims)),
        )

    def _resize(self, node: Any, before: int, attributes: dict[str, Any]) -> int:
        scales = None
        for name in node.input[1:3]:
            if name in self.constants and self._array(name).size == self.dims + 2:
                scales = [float(s) for s in self._array(name)[2:]]
        if scales is None or any(s != int(s) or s < 1 for s in scales):
            raise UnknownLayerError("a resize to a size that is not a whole multiple")
        factor = [int(s) for s in scales]
        mode = attributes.get("mode", b"nearest")
        transform = attributes.get("coordinate_transformation_mode", b"half_pixel")
        if mode == b"linear" and transform in (b"half_pixel", b"pytorch_half_pixel"):
            return self.layers.linear(before, factor)
        exact = transform == b"asymmetric" and attributes.get("nearest_mode", b"floor") == b"floor"
        if mode == b"nearest" and (exact or node.op_type == "Upsample"):
            return self.layers.nearest(before, factor)
        raise UnknownLayerError(f"a resize in mode {mode!r}, {transform!r}")

    def _array(self, name: str) -> Any:
        if name not in self.constants:
            raise UnknownLayerError("weights that are computed")
        return numpy_helper.to_array(self.constants[name])
