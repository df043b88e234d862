"""Training: going on after a stop, what comes out, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pipeline_checks import labels as run_labels
from pipeline_checks import run, scores, settings
from training_checks import tiny, tiny_training, volume, write_tissue, write_volume

from bigseg.config.training import Training
from bigseg.errors import UserError
from bigseg.networks.description import ModelSpec
from bigseg.networks.model import load_model
from bigseg.training import loop
from bigseg.training.checkpoint import folder_of
from bigseg.training.loop import train
from bigseg.training.validate import Verdict


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tissue(tmp_path_factory.mktemp("tissue") / "a.h5")


def weights(config: Training) -> dict[str, torch.Tensor]:
    path = folder_of(config) / "last_checkpoint.pytorch"
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["model_state_dict"]
    return found


def package_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights that a package names; it must hold no others."""
    named = yaml.safe_load((folder / "rdf.yaml").read_text())["weights"]["pytorch_state_dict"]["source"]
    assert [path.name for path in folder.glob("*.pt")] == [named]
    found: dict[str, torch.Tensor] = torch.load(folder / named, weights_only=True)
    return found


def test_a_stopped_training_goes_on_as_though_it_had_not(tmp_path: Path, tissue: Path) -> None:
    network = {"name": "UNet3D", "f_maps": [4, 8], "layer_order": "bcrd"}  # dropout draws random numbers too
    optimiser = {"learning_rate": 2.0, "patience": 0}  # so that the rate changes within these epochs
    whole = tiny_training(tmp_path / "whole", tissue, epochs=4, network=network, optimiser=optimiser)
    train(whole, device="cpu")
    for epochs in (2, 4):
        parts = tiny_training(tmp_path / "parts", tissue, epochs=epochs, network=network, optimiser=optimiser)
        train(parts, device="cpu")
    one, other = weights(whole), weights(parts)
    assert all(torch.equal(one[key], other[key]) for key in one)
    histories = [json.loads((folder_of(c) / "history.json").read_text()) for c in (whole, parts)]
    for history in histories:
        for row in history["history"]:
            del row["seconds"]
    assert histories[0] == histories[1]
    assert len({row["learning_rate"] for row in histories[0]["history"]}) > 1
    best = [package_weights(Path(c.output)) for c in (whole, parts)]
    assert all(torch.equal(best[0][key], best[1][key]) for key in best[0])


def test_the_validation_at_an_end_that_was_moved_does_not_change_the_weights(
    tmp_path: Path, tissue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "validate", lambda *_: Verdict(1.0, 0.5, 1.0, 1.0))  # never better: the rate must fall
    optimiser = {"learning_rate": 1e-2, "patience": 0}
    changes: dict[str, Any] = {"optimiser": optimiser, "validation": {"every": 2}, "iterations": 1}
    whole = tiny_training(tmp_path / "whole", tissue, epochs=6, **changes)
    train(whole, device="cpu")
    for epochs in (3, 6):
        parts = tiny_training(tmp_path / "parts", tissue, epochs=epochs, **changes)
        train(parts, device="cpu")
    histories = [json.loads((folder_of(c) / "history.json").read_text())["history"] for c in (whole, parts)]
    assert [bool(row["validation"]) for row in histories[0]] == [False, True] * 3
    assert [bool(row["validation"]) for row in histories[1]] == [False, True, True, True, False, True]
    rates = [[row["learning_rate"] for row in history] for history in histories]
    assert rates[0] == rates[1]
    assert rates[0] == pytest.approx([1e-2] * 4 + [5e-3] * 2)
    one, other = weights(whole), weights(parts)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_cosine_schedule_goes_on_too_and_ends_near_zero(
    tmp_path: Path, tissue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimiser = {"learning_rate": 1e-2, "schedule": "cosine"}
    whole = tiny_training(tmp_path / "whole", tissue, epochs=3, optimiser=optimiser, precision="bfloat16")
    train(whole, device="cpu")
    parts = tiny_training(tmp_path / "parts", tissue, epochs=3, optimiser=optimiser, precision="bfloat16")

    save = loop.save

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(parts, device="cpu")
    monkeypatch.setattr(loop, "save", save)
    train(parts, device="cpu")
    one, other = weights(whole), weights(parts)
    assert all(torch.equal(one[key], other[key]) for key in one)
    rates = [loop.cosine_rate(whole, i) for i in range(9)]
    assert rates[0] == pytest.approx(1e-2)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.05 * rates[0]
    # Its rates would have been others, had more epochs been asked for.
    longer = tiny_training(tmp_path / "parts", tissue, epochs=4, optimiser=optimiser, precision="bfloat16")
    with pytest.raises(UserError, match="epochs was 3, is 4"):
        train(longer, device="cpu")


def test_a_long_cosine_rises_first(tissue: Path) -> None:
    config = tiny_training(Path("unused"), tissue, epochs=10, iterations=100, optimiser={"schedule": "cosine"})
    rates = [loop.cosine_rate(config, i) for i in range(1000)]
    assert rates[:11] == sorted(rates[:11])
    assert rates.index(max(rates)) in (9, 10)
    assert max(rates) == config.optimiser.learning_rate


def test_axes_are_exchanged_only_if_voxels_are_cubes(tmp_path: Path, tissue: Path) -> None:
    train(tiny_training(tmp_path, tissue, epochs=1, augment={"transpose": True}), device="cpu")
    flat = volume(tissue)
    flat["raw"] = {**flat["raw"], "voxel_size_um": [1.0, 0.5, 0.5]}
    config = tiny_training(tmp_path / "flat", tissue, augment={"transpose": True}, train=[flat])
    with pytest.raises(UserError, match=r"augment\.transpose: voxels of train\.0 are no cubes"):
        train(config, device="cpu")
    plane = {"network": {"name": "UNet2D"}, "patch": [1, 16, 16]}
    with pytest.raises(ValueError, match=r"augment\.transpose"):
        tiny_training(tmp_path, tissue, augment={"transpose": True}, **plane)


def test_a_finished_training_does_nothing_more(tmp_path: Path, tissue: Path) -> None:
    config = tiny_training(tmp_path, tissue, epochs=1)
    first = train(config, device="cpu")
    before = weights(config)
    again = train(config, device="cpu")
    assert (again.epochs, again.best_epoch, again.best_score) == (first.epochs, first.best_epoch, first.best_score)
    assert all(torch.equal(before[key], value) for key, value in weights(config).items())


def test_other_settings_do_not_go_on(tmp_path: Path, tissue: Path) -> None:
    train(tiny_training(tmp_path, tissue, epochs=1), device="cpu")
    changed = tiny_training(tmp_path, tissue, epochs=2, optimiser={"learning_rate": 0.02})
    with pytest.raises(UserError, match=r"optimiser\.learning_rate was 0\.01, is 0\.02"):
        train(changed, device="cpu")


def test_another_seed_is_another_training(tmp_path: Path, tissue: Path) -> None:
    configs = [tiny_training(tmp_path / str(seed), tissue, epochs=1, seed=seed) for seed in (0, 1)]
    for config in configs:
        train(config, device="cpu")
    one, other = map(weights, configs)
    assert not torch.equal(one["final_conv.weight"], other["final_conv.weight"])


def test_train_then_predict(tmp_path: Path, tissue: Path) -> None:
    config = tiny_training(
        tmp_path, tissue, epochs=3, iterations=25, batch=2, normalise="percentiles", network={"f_maps": [8, 16]}
    )
    done = train(config, device="cpu")
    history = json.loads((folder_of(config) / "history.json").read_text())
    losses = [row["loss"] for row in history["history"]]
    assert losses[-1] < 0.75 * losses[0]
    found = [row["validation"]["adapted_rand_error"] for row in history["history"]]
    assert done.best_score == min(found)
    assert found[done.best_epoch - 1] == done.best_score
    assert (folder_of(config) / "curves.png").read_bytes().startswith(b"\x89PNG")

    model = load_model(ModelSpec(path=config.output))
    assert model.description.outputs == ("boundary",)
    assert model.description.voxel_size_um == (0.5, 0.5, 0.5)
    assert [o.name for o in model.description.preprocessing] == ["scale_range"]
    made = settings(
        tmp_path,
        volume(tissue)["raw"] | {},
        predict={"method": "network", "model": config.output},
        supervoxels={"minimum_size": 20},
        segment={"minimum_object_size": 20},
    )
    made["samples"]["a"] = {"input": volume(tissue)["raw"], "truth": volume(tissue)["label"]}
    run(made)
    assert len(np.unique(run_labels(made))) > 5
    # What the validation found is what the run finds: the same normalisation, network and segmentation.
    assert scores(made)["adapted_rand_error"] == pytest.approx(done.best_score, abs=0.01)


@pytest.mark.parametrize(
    ("name", "patch", "target", "outputs"),
    [
        ("UNet2D", [1, 32, 32], {"kind": "foreground_boundary"}, ("foreground", "boundary")),
        ("ResidualUNet3D", [8, 16, 16], {"kind": "affinity", "ignore_label": 5}, ("affinity",) * 3),
        ("UNet3D", [8, 16, 16], {"kind": "boundary_affinity"}, ("boundary",) + ("affinity",) * 3),
    ],
)
def test_other_networks_and_targets(
    tmp_path: Path, tissue: Path, name: str, patch: list[int], target: dict[str, Any], outputs: tuple[str, ...]
) -> None:
    network = {"name": name, "f_maps": [4, 8], "layer_order": "gcr", "num_groups": 2}
    config = tiny_training(tmp_path, tissue, epochs=1, network=network, patch=patch, target=target)
    train(config, device="cpu")
    description = load_model(ModelSpec(path=config.output)).description
    assert description.outputs == outputs
    assert description.offsets == (((-1, 0, 0), (0, -1, 0), (0, 0, -1)) if "affinity" in outputs else ())


def test_start_from_another_model(tmp_path: Path, tissue: Path) -> None:
    first = tiny_training(tmp_path / "a", tissue, epochs=1)
    train(first, device="cpu")
    network = {"name": "UNet3D", "f_maps": [4, 8], "layer_order": "bcr", "initial_model": first.output}
    still = tiny_training(
        tmp_path / "b", tissue, epochs=1, network=network, optimiser={"learning_rate": 1e-12, "weight_decay": 0.0}
    )
    train(still, device="cpu")
    key = "final_conv.weight"
    best = package_weights(Path(first.output))
    assert torch.allclose(weights(still)[key], best[key])
    other = tiny_training(tmp_path / "c", tissue, network={**network, "f_maps": [4, 12]})
    with pytest.raises(UserError, match="no network of this architecture"):
        train(other, device="cpu")
    missing = tiny_training(tmp_path / "d", tissue, network={**network, "initial_model": "./nowhere"})
    with pytest.raises(UserError, match=r"^network\.initial_model: ./nowhere does not exist"):
        train(missing, device="cpu")


def test_losses_that_are_no_numbers_end_the_training(tmp_path: Path, tissue: Path) -> None:
    config = tiny_training(tmp_path, tissue, optimiser={"learning_rate": 1e30}, iterations=20)
    with pytest.raises(UserError, match="diverged"):
        train(config, device="cpu")


def test_bad_volumes(tmp_path: Path, tissue: Path) -> None:
    labels = np.ones((16, 48, 48), np.uint32)
    image = np.random.default_rng(0).random(labels.shape).astype(np.float32)
    other = write_volume(tmp_path / "small.h5", image[:8], labels)
    floats = write_volume(tmp_path / "floats.h5", image, image)
    image = image.copy()
    image[0, 0, 0] = np.nan
    nan = write_volume(tmp_path / "nan.h5", image, labels)
    constant = write_volume(tmp_path / "constant.h5", np.ones(labels.shape, np.uint8), labels)
    cases: list[tuple[dict[str, Any], str]] = [
        (volume(other), r"train\.0: the image has shape \[8, 48, 48\], its labels \[16, 48, 48\]"),
        (volume(floats), "holds float32, not integers"),
        (volume(nan), "NaN"),
        (volume(constant), "constant"),
        (volume(tissue, channels=[1]), r"train\.0\.channels: 1 is not there"),
        (volume(tissue, time=2), r"train\.0\.time: 2 is not there"),
        (volume(tissue, end=[17, 48, 48]), "is no part of a volume"),
        (volume(tmp_path / "missing.h5"), "missing.h5"),
    ]
    for spec, message in cases:
        channels = spec.get("channels", [0])
        config = Training.model_validate(
            {**tiny(tmp_path, tissue), "train": [spec], "validate_on": [volume(tissue, channels=channels)]}
        )
        with pytest.raises(UserError, match=message):
            train(config, device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_bad_settings(tmp_path: Path, tissue: Path) -> None:
    with pytest.raises(UserError, match=r"patch: \[8, 16, 15\].*\n.*\[8, 16, 16\]"):
        train(tiny_training(tmp_path, tissue, patch=[8, 16, 15]), device="cpu")
    with pytest.raises(UserError, match="layer_order"):
        train(tiny_training(tmp_path, tissue, network={"layer_order": "xx"}), device="cpu")
    with pytest.raises(UserError, match=r"^--device: cuda is demanded") as caught:
        train(tiny_training(tmp_path, tissue), device="cuda")
    assert "--device auto" in caught.value.remedy
    assert "execution" not in caught.value.remedy


def test_a_damaged_checkpoint(tmp_path: Path, tissue: Path) -> None:
    config = tiny_training(tmp_path, tissue, epochs=1)
    train(config, device="cpu")
    path = folder_of(config) / "last_checkpoint.pytorch"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="no checkpoint of a training"):
        train(tiny_training(tmp_path, tissue, epochs=2), device="cpu")


def test_a_checkpoint_from_before_a_key_was_added(tmp_path: Path, tissue: Path) -> None:
    """What such a training did is what the key's default says."""
    config = tiny_training(tmp_path, tissue, epochs=1)
    train(config, device="cpu")
    path = folder_of(config) / "last_checkpoint.pytorch"
    content = torch.load(path, weights_only=True)
    before = json.loads(content["config"])
    del before["target"]["softness"]
    torch.save({**content, "config": json.dumps(before)}, path)
    assert train(tiny_training(tmp_path, tissue, epochs=2), device="cpu").epochs == 2
    with pytest.raises(UserError, match=r"target\.softness was 0\.0, is 1\.0"):
        train(tiny_training(tmp_path, tissue, epochs=3, target={"softness": 1.0}), device="cpu")
