"""What tests of models share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bigseg.networks.description import ModelSpec
from bigseg.networks.model import Model, load_model


def load(path: Path, settings: Path | None = None) -> Model:
    return load_model(ModelSpec(path=str(path), settings=str(settings) if settings else None))


def onnx_file(path: Path, size: int | str = "size", mode: str = "nearest") -> Path:
    """Convolution, pooling, enlarging and a skip connection, 2D."""
    rng = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)

    transform = {"nearest": "asymmetric", "linear": "half_pixel"}[mode]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1] * 4, kernel_shape=[3, 3]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["c", "w1"], ["d"], pads=[1] * 4, kernel_shape=[3, 3]),
        helper.make_node(
            "Resize",
            ["d", "", "s"],
            ["e"],
            mode=mode,
            coordinate_transformation_mode=transform,
            nearest_mode="floor",
        ),
        helper.make_node("Concat", ["b", "e"], ["f"], axis=1),
        helper.make_node("Conv", ["f", "w2"], ["g"], kernel_shape=[1, 1]),
        helper.make_node("Sigmoid", ["g"], ["y"]),
    ]
    shape = ["n", 1, size, size]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [
            weights("w0", 3, 1, 3, 3),
            weights("w1", 3, 3, 3, 3),
            weights("w2", 1, 6, 1, 1),
            numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "s"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, path)
    return path
