"""Models of ONNX and TorchScript: how far they look, and what runs them."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
import yaml
from models_checks import load, onnx_file
from network_checks import network, package
from onnx import TensorProto, helper, numpy_helper

from bigseg.errors import UserError
from bigseg.networks.backends import OnnxNetwork, is_out_of_memory
from bigseg.networks.description import ModelSpec
from bigseg.networks.measured import measure_reach
from bigseg.networks.model import load_model
from bigseg.networks.onnx_layers import layers_of


@pytest.mark.parametrize(("mode", "before"), [("nearest", 4), ("linear", 5)])
def test_onnx_reach_by_construction_covers_what_is_measured(tmp_path, mode, before):
    model = load(onnx_file(tmp_path / "net.onnx", mode=mode))
    described = model.description
    assert (described.source, described.divisibility, described.by_construction) == ("onnx", (1, 2, 2), True)
    measured = measure_reach(model.network, (64, 64), 1, (2, 2))
    assert measured.before[0][0] <= max(described.before[1])
    assert measured.after[0][0] <= max(described.after[1])
    assert max(described.before[1]) >= before
    assert layers_of(onnx.load(tmp_path / "net.onnx")).divisibility() == (2, 2)


def test_torchscript_is_measured(tmp_path):
    made = network(name="UNet2D")
    traced = torch.jit.script(_Wrapped(made.final_conv))
    path = tmp_path / "net.pt"
    torch.jit.save(traced, path)
    described = load(path).description
    assert (described.source, described.dims, described.divisibility) == ("torchscript", 2, (1, 2, 2))
    assert not described.by_construction
    assert 2 <= described.halo[1] <= 8


class _Wrapped(torch.nn.Module):
    """Pooling, a convolution and enlarging: TorchScript that torch can compile."""

    def __init__(self, last: torch.nn.Module) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.max_pool2d(self.first(x), 2)
        return torch.sigmoid(self.last(torch.nn.functional.interpolate(y, scale_factor=2.0, mode="nearest")))


class _Normed(torch.nn.Module):
    """An instance norm behind two convolutions: it looks at the whole patch."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.norm = torch.nn.InstanceNorm2d(4)
        self.last = torch.nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.last(torch.relu(self.norm(self.first(x)))))


def test_a_scripted_network_that_looks_at_the_whole_patch_needs_a_halo_that_is_told(tmp_path):
    torch.manual_seed(0)
    scripted = tmp_path / "net.pt"
    torch.jit.save(torch.jit.script(_Normed().eval()), scripted)
    with pytest.raises(UserError) as caught:
        load(scripted)
    assert "`step` and `halo`" in caught.value.remedy
    folder = package(tmp_path / "described", name="UNet2D")
    shutil.copy(scripted, folder / "net.pt")
    settings = yaml.safe_load((folder / "rdf.yaml").read_text())
    settings["weights"] = {"torchscript": {"source": "net.pt", "pytorch_version": "2.0"}}
    for axis in settings["outputs"][0]["axes"][2:]:
        axis["halo"] = 5
    for axis in settings["inputs"][0]["axes"][2:]:
        axis["size"] = {"min": 16, "step": 4}
    (folder / "rdf.yaml").write_text(yaml.safe_dump(settings))
    described = load(folder).description
    assert described.statistics
    assert not described.by_construction
    assert described.before == described.after == ((0,), (5,), (5,))
    assert described.divisibility == (1, 4, 4)


def test_what_another_cpu_measures_is_the_same_model(tmp_path, monkeypatch):
    path = tmp_path / "net.pt"
    torch.jit.save(torch.jit.script(_Wrapped(network(name="UNet2D").final_conv)), path)
    here = load(path).description
    monkeypatch.setattr("bigseg.networks.measured._TOLERANCE", 0.5)
    there = load(path).description
    assert there.before != here.before
    assert there.digest == here.digest
    monkeypatch.setattr("bigseg.networks.model.measure_reach", None)
    assert load_model(ModelSpec(path=str(path)), here).description == here, "measured once"
    torch.jit.save(torch.jit.script(_Wrapped(network(name="UNet2D", seed=1).final_conv)), path)
    assert load_model(ModelSpec(path=str(path)), here).description.digest != here.digest


def test_onnx_runtime_without_memory_is_told_as_torch_tells_it():
    nodes = [helper.make_node("Expand", ["x", "s"], ["e"]), helper.make_node("ReduceMax", ["e"], ["y"], keepdims=1)]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "large",
        [value("x", TensorProto.FLOAT, ["n", 1, 1, 1])],
        [value("y", TensorProto.FLOAT, [1, 1, 1, 1])],
        [numpy_helper.from_array(np.array([1, 2**15, 2**16, 2**16], np.int64), "s")],  # 0.5 PB
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    running = OnnxNetwork(made.SerializeToString(), "large")
    with pytest.raises(torch.OutOfMemoryError):
        running(torch.zeros((1, 1, 1, 1)))
    with pytest.raises(Exception, match=r"(?i)rank") as caught:
        running(torch.zeros((1, 1)))
    assert not is_out_of_memory(caught.value)


def test_onnx_runtime_takes_the_gpu_that_was_chosen(tmp_path, monkeypatch):
    """Without a GPU: which providers ONNX Runtime is asked for."""
    import onnxruntime

    asked = []

    class Session:
        def __init__(self, content: bytes, options: object, providers: list[object]) -> None:
            asked.append(providers)

        def get_inputs(self) -> list[object]:
            return [SimpleNamespace(name="x", shape=["n", 1, "y", "x"])]

    found = OnnxNetwork(onnx_file(tmp_path / "net.onnx").read_bytes(), "net")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    for device in ("cuda:1", "cuda", "cpu"):
        found.place(device, 1)
    gpus = [[p for p in providers if p != "CPUExecutionProvider"] for providers in asked]
    assert gpus == [[("CUDAExecutionProvider", {"device_id": 1})], [("CUDAExecutionProvider", {"device_id": 0})], []]
