"""Where models come from, and how those that cannot be used are refused."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from models_checks import load, onnx_file
from network_checks import MODELS, architecture, network, package

from bigseg.errors import UserError
from bigseg.networks.description import Operation
from bigseg.networks.processing import Values, apply_steps, resolve


def checkpoint(folder: Path, **keys: object) -> Path:
    """A pytorch-3dunet checkpoint with its configuration."""
    made = network(**keys)
    folder.mkdir(exist_ok=True)
    torch.save({"model_state_dict": made.state_dict(), "num_iterations": 7}, folder / "best_checkpoint.pytorch")
    settings = {"model_path": "ELSEWHERE/best_checkpoint.pytorch", "model": made.architecture.model_dump()}
    (folder / "config.yml").write_text(yaml.safe_dump(settings))
    return folder


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
