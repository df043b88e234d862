"""Where models come from, and how those that cannot be used are refused."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
import yaml
from network_checks import MODELS, architecture, network, package
from onnx import TensorProto, helper, numpy_helper

from bigseg.errors import UserError
from bigseg.networks.backends import OnnxNetwork, is_out_of_memory
from bigseg.networks.description import ModelSpec, Operation
from bigseg.networks.measured import measure_reach
from bigseg.networks.model import Model, load_model
from bigseg.networks.onnx_layers import layers_of
from bigseg.networks.processing import Values, apply_steps, resolve


def load(path: Path, settings: Path | None = None) -> Model:
    return load_model(ModelSpec(path=str(path), settings=str(settings) if settings else None))


def checkpoint(folder: Path, **keys: object) -> Path:
    """A pytorch-3dunet checkpoint with its configuration."""
    made = network(**keys)
    folder.mkdir(exist_ok=True)
    torch.save({"model_state_dict": made.state_dict(), "num_iterations": 7}, folder / "best_checkpoint.pytorch")
    settings = {"model_path": "ELSEWHERE/best_checkpoint.pytorch", "model": made.architecture.model_dump()}
    (folder / "config.yml").write_text(yaml.safe_dump(settings))
    return folder


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


# pytorch-3dunet


def test_a_checkpoint_is_found_by_folder_file_or_configuration(tmp_path):
    folder = checkpoint(tmp_path / "model", out_channels=2)
    found = [load(folder), load(folder / "best_checkpoint.pytorch"), load(folder / "config.yml")]
    assert len({model.description.digest for model in found}) == 1
    described = found[0].description
    assert (described.source, described.dims, described.out_channels) == ("pytorch-3dunet", 3, 2)
    assert [o.name for o in described.preprocessing] == ["zero_mean_unit_variance"]
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert load(moved).description.digest == described.digest
    shutil.rmtree(moved)
    assert load(checkpoint(moved, out_channels=2, seed=1)).description.digest != described.digest


def test_the_mouse_embryo_model_loads():
    folder = MODELS / "mouse_embryo_nuclei"
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    described = load(folder).description
    assert described.halo == (56, 56, 56)
    assert described.statistics
    assert described.out_channels == 2


def test_a_checkpoint_without_configuration_is_told(tmp_path):
    folder = checkpoint(tmp_path / "model")
    (folder / "config.yml").unlink()
    with pytest.raises(UserError, match="holds weights only") as caught:
        load(folder)
    assert "model_settings" in caught.value.remedy


# BioImage.IO


def test_what_we_write_is_a_valid_package_and_loads_as_folder_and_zip(tmp_path):
    from bioimageio.spec import InvalidDescr, load_description

    folder = package(tmp_path / "model", outputs=("foreground", "boundary"))
    checked = load_description(folder / "rdf.yaml", perform_io_checks=True)
    assert not isinstance(checked, InvalidDescr), checked.validation_summary.format()
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    found = [load(folder), load(folder / "rdf.yaml"), load(tmp_path / "model.zip")]
    assert len({model.description.digest for model in found}) == 1
    described = found[0].description
    assert described.outputs == ("foreground", "boundary")
    raw, expected = (np.load(next(folder.glob(f"test_{kind}*.npy"))) for kind in ("input", "output"))
    steps = resolve(described.preprocessing, [Values.of(raw)])
    with torch.inference_mode():
        given = torch.from_numpy(apply_steps(raw[0], steps)[None])
        assert np.allclose(found[2](given).numpy(), expected, atol=1e-6)


def test_unet2d_nuclei_broad_reproduces_its_test_output():
    folder = MODELS / "unet2d_nuclei_broad"
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    model = load(folder)
    raw, expected = (np.load(folder / f"test_{kind}.npy") for kind in ("input", "output"))
    steps = resolve(model.description.preprocessing, [Values.of(raw)])
    given = torch.from_numpy(apply_steps(raw.reshape(1, 1, 512, 512), steps)[0][None])
    assert np.abs(model(given).numpy() - expected).max() < 1e-4
    assert model.description.fixed_shape == (None, 512, 512)
    assert model.description.divisibility == (1, 8, 8)
    assert model.description.by_construction


def test_a_package_of_the_older_format_gives_what_its_network_gives(tmp_path):
    """RDF 0.4: axes as letters, a smallest shape and a step, processing with its own axes."""
    network_file = onnx_file(tmp_path / "weights.onnx")
    raw = np.random.default_rng(1).normal(3, 2, (1, 1, 32, 32)).astype(np.float32)
    expected = load(network_file)(torch.from_numpy((raw - raw.mean()) / raw.std())).numpy()
    for name, values in (("test_input", raw), ("test_output", expected)):
        np.save(tmp_path / f"{name}.npy", values)
    (tmp_path / "README.md").write_text("# Old\n")
    steps = {"min": [1, 1, 32, 32], "step": [0, 0, 4, 4]}
    same = {"reference_tensor": "raw", "scale": [1.0] * 4, "offset": [0.0] * 4}
    normalise = {"name": "zero_mean_unit_variance", "kwargs": {"axes": "cyx", "mode": "per_sample", "eps": 1e-6}}
    clip = {"name": "clip", "kwargs": {"min": 0.0, "max": 1.0}}
    tensor = {"axes": "bcyx", "data_type": "float32"}
    settings = {
        "format_version": "0.4.10",
        "type": "model",
        "name": "old network",
        "description": "A network described as they were in 2023.",
        "authors": [{"name": "somebody"}],
        "cite": [{"text": "a paper", "url": "https://example.com"}],
        "license": "MIT",
        "documentation": "README.md",
        "timestamp": "2023-01-01T00:00:00",
        "inputs": [{"name": "raw", **tensor, "shape": steps, "preprocessing": [normalise]}],
        "outputs": [{"name": "out", **tensor, "shape": same, "halo": [0, 0, 4, 4], "postprocessing": [clip]}],
        "test_inputs": ["test_input.npy"],
        "test_outputs": ["test_output.npy"],
        "weights": {"onnx": {"source": "weights.onnx", "opset_version": 17}},
    }
    (tmp_path / "rdf.yaml").write_text(yaml.safe_dump(settings))
    model = load(tmp_path)
    described = model.description
    assert (described.source, described.dims, described.divisibility) == ("bioimageio", 2, (1, 4, 4))
    assert described.minimum_shape == (1, 32, 32)
    assert [operation.name for operation in described.postprocessing] == ["clip"]
    given = apply_steps(raw, resolve(described.preprocessing, [Values.of(raw)]))[0]
    assert np.abs(model(torch.from_numpy(given[None])).numpy() - expected).max() < 1e-5


def test_an_id_of_the_zoo_is_asked_for_and_offline_is_told(monkeypatch):
    import bioimageio.spec

    asked = []

    def unreachable(source, **_):
        asked.append(source)
        raise OSError("no route to host")

    monkeypatch.setattr(bioimageio.spec, "load_description", unreachable)
    with pytest.raises(UserError, match="no route to host") as caught:
        load(Path("affable-shark"))
    assert asked == ["affable-shark"]
    assert "online" in caught.value.remedy


def test_a_damaged_package_is_told(tmp_path):
    folder = package(tmp_path / "model")
    (file,) = folder.glob("weights-*.pt")
    file.write_bytes(file.read_bytes()[:-8] + b"\0" * 8)
    with pytest.raises(UserError, match="damaged"):
        load(folder)
    file.unlink()
    with pytest.raises(UserError, match="the file is missing"):
        load(folder)


def test_a_package_that_is_written_again_is_the_old_one_or_the_new_one_whenever_it_is_killed(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    folder = tmp_path / "model"
    digests = [load(package(tmp_path / f"whole{seed}", seed=seed)).description.digest for seed in (0, 1)]
    replace, unlink = Path.replace, Path.unlink

    def killed_after(limit: int) -> None:
        done = 0

        def counted(original):
            def step(self, *arguments, **named):
                nonlocal done
                if done == limit:
                    raise Killed
                done += not self.name.endswith(".tmp") or original is replace
                return original(self, *arguments, **named)

            return step

        monkeypatch.setattr(Path, "replace", counted(replace))
        monkeypatch.setattr(Path, "unlink", counted(unlink))

    found = []
    for limit in range(30):
        shutil.rmtree(folder, ignore_errors=True)
        package(folder, seed=0)
        killed_after(limit)
        try:
            package(folder, seed=1)
        except Killed:
            monkeypatch.undo()
            found.append(digests.index(load(folder).description.digest))
            package(folder, seed=1)
            assert not [path for path in folder.iterdir() if path.suffix == ".tmp"]
        else:
            monkeypatch.undo()
            break
    assert load(folder).description.digest == digests[1]
    assert sorted(path.name.split("-")[0] for path in folder.iterdir()) == [
        "README.md",
        "rdf.yaml",
        "test_input",
        "test_output",
        "weights",
    ]
    assert found == sorted(found)
    assert set(found) == {0, 1}


def test_code_of_a_package_is_not_run(tmp_path):
    folder = package(tmp_path / "model")
    text = (folder / "rdf.yaml").read_text().replace("callable: UNet3D", "callable: Evil")
    (folder / "rdf.yaml").write_text(text.replace("pytorch3dunet.unet3d.model", "evil"))
    with pytest.raises(UserError, match="which is not run"):
        load(folder)


def test_a_broken_description_is_told(tmp_path):
    folder = package(tmp_path / "model")
    settings = yaml.safe_load((folder / "rdf.yaml").read_text())
    del settings["inputs"]
    (folder / "rdf.yaml").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="no valid BioImage"):
        load(folder)


# ONNX and TorchScript


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


@pytest.mark.parametrize("name", ["net.onnx", "net.pt", "net.pytorch", "net.zip", "net.yaml"])
def test_rubbish_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"this is no model")
    (tmp_path / "config.yml").write_text(yaml.safe_dump({"model": architecture().model_dump()}))
    with pytest.raises(UserError) as caught:
        load(tmp_path / name)
    assert caught.value.remedy


def test_a_missing_model_is_told(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load(tmp_path / "nothing.onnx")
    with pytest.raises(UserError, match="does not exist"):
        load(tmp_path / "nothing")


# Pre-processing


def test_operations_are_numpys_on_the_whole_image():
    image = np.random.default_rng(0).integers(0, 4000, (1, 6, 20, 20)).astype(np.uint16)
    plain = image.astype(np.float64)
    cases = [
        ([Operation(name="zero_mean_unit_variance", args={"eps": 1e-6})], (plain - plain.mean()) / plain.std()),
        (
            [
                Operation(name="scale_linear", args={"gain": 2.0, "offset": -5.0}),
                Operation(name="clip", args={"min": 0.0, "max": 3000.0}),
                Operation(name="scale_range", args={"min_percentile": 3.0, "max_percentile": 99.0, "eps": 0.0}),
            ],
            None,
        ),
    ]
    clipped = np.clip(2 * plain - 5, 0, 3000)
    low, high = np.percentile(clipped, [3, 99])
    for operations, expected in cases:
        wanted = (clipped - low) / (high - low) if expected is None else expected
        steps = json.loads(json.dumps(resolve(operations, [Values.of(image)])))
        assert np.allclose(apply_steps(image, steps), wanted, atol=1e-5)


def test_a_constant_image_is_told():
    with pytest.raises(UserError, match="constant"):
        resolve([Operation(name="zero_mean_unit_variance")], [Values.of(np.ones((1, 2, 2, 2)))])
