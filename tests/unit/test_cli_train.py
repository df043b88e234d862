from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from training_checks import tiny, write_tissue

from bigseg.config.load import validate_settings
from bigseg.config.training import Training
from bigseg.errors import UserError


def bigseg(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bigseg", *arguments], capture_output=True, text=True, check=False)


def test_template_is_a_valid_configuration() -> None:
    done = bigseg("train", "--template")
    assert done.returncode == 0
    config = Training.model_validate(yaml.safe_load(done.stdout))
    plain = Training.model_validate(
        {
            "output": "x",
            "train": [v.model_dump() for v in config.train],
            "validate_on": config.model_dump()["validate_on"],
        }
    )
    assert config.model_copy(update={"output": "x"}) == plain


def test_train_from_the_command_line(tmp_path: Path) -> None:
    settings = tiny(tmp_path, write_tissue(tmp_path / "a.h5"), epochs=1)
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(settings))
    done = bigseg("train", "--config", str(path), "--device", "cpu", "--threads", "1", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["epochs"] == told["best_epoch"] == 1
    assert (Path(told["model"]) / "rdf.yaml").exists()
    assert "train: 3/3 iterations" in done.stderr


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"optimizer": {}}, "optimizer: unknown key; did you mean 'optimiser'?"),
        ({"loss": {"name": "mse"}}, "loss.name: 'mse' is not allowed"),
        ({"patch": [8, 16]}, "patch: [8, 16] is not allowed"),
        ({"train": []}, "train: [] is not allowed"),
        (
            {"train": [{"raw": {"path": "a"}, "labels": {"path": "a"}}]},
            "train.0.labels: unknown key; did you mean 'label'",
        ),
        ({"network": {"name": "UNet2D"}}, "patch: [8, 16, 16] must be a plane for UNet2D"),
        ({"target": {"offsets": [[0, 0, 0]]}}, "target.offsets: [[0, 0, 0]] must differ"),
        ({"percentiles": [90.0, 10.0]}, "percentiles: [90.0, 10.0] must ascend"),
        ({"augment": {"poisson_photons": [9.0, 1.0]}}, "augment.poisson_photons: [9.0, 1.0] must ascend"),
    ],
)
def test_wrong_keys_are_named(changed: dict[str, Any], message: str) -> None:
    settings = {**tiny(Path("x"), Path("a.h5")), **changed}
    with pytest.raises(UserError) as error:
        validate_settings(Training, settings, "train.yaml", "help")
    assert message in str(error.value)


def test_a_log_tells_what_the_terminal_tells(tmp_path: Path) -> None:
    settings = {**tiny(tmp_path, write_tissue(tmp_path / "a.h5")), "patch": [8, 16, 15]}
    path, log = tmp_path / "train.yaml", tmp_path / "logs" / "train.log"
    path.write_text(yaml.safe_dump(settings))
    done = bigseg("train", "--config", str(path), "--device", "cpu", "--log", str(log))
    assert done.returncode == 2
    for text in (done.stderr, log.read_text()):
        assert "patch: [8, 16, 15] is no multiple" in text
        assert "Traceback" not in text


def test_command_line_mistakes() -> None:
    for arguments, message in (
        ((), "--config: is missing"),
        (("--config", "nowhere.yaml"), "nowhere.yaml: cannot be read"),
        (("--config", "x", "--device", "tpu"), "'tpu' is unknown"),
    ):
        done = bigseg("train", *arguments)
        assert done.returncode == 2
        assert message in done.stderr
