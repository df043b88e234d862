"""The state of a training on disk: enough to go on as though it had never stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from bigseg.config.training import Training
from bigseg.errors import UserError
from bigseg.networks.checkpoint import WEIGHTS_KEY
from bigseg.resume.files import replacing, write_json

_FREE = ("output", "epochs", "name", "description")
"""What may change when a training goes on."""


@dataclass(frozen=True)
class Epoch:
    """What became of an epoch.

    Attributes:
        epoch: counted from 1.
        learning_rate: that of the epoch.
        loss: mean of its iterations.
        validation: loss and scores, or empty where it was not validated.
        seconds: how long it took, validation included.
    """

    epoch: int
    learning_rate: float
    loss: float
    validation: dict[str, float]
    seconds: float


@dataclass
class Progressed:
    """How far a training is."""

    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    """0 before the first validation."""
    best_score: float = float("inf")
    """Adapted Rand error of the best epoch."""

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)


def folder_of(config: Training) -> Path:
    """Where the state lies: in the model's folder, one further down, so that no tool takes it for the model."""
    return Path(config.output).expanduser() / "training"


def save(
    config: Training,
    progressed: Progressed,
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.ReduceLROnPlateau,
) -> None:
    """Write the state after an epoch; weights are found by ``predict`` as those of any checkpoint."""
    folder = folder_of(config)
    content = {
        WEIGHTS_KEY: network.state_dict(),
        "optimizer_state_dict": optimiser.state_dict(),
        "scheduler_state_dict": scheduler.state_dict(),
        "progressed": json.dumps(asdict(progressed)),
        "config": config.model_dump_json(),
    }
    with replacing(folder / "last_checkpoint.pytorch") as temporary:
        torch.save(content, temporary)
    write_json(folder / "history.json", asdict(progressed))


def load(
    config: Training,
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.ReduceLROnPlateau,
) -> Progressed:
    """Take up the state that :func:`save` wrote; a fresh one if there is none.

    Raises:
        UserError: the checkpoint is damaged, or of a training with other settings.
    """
    path = folder_of(config) / "last_checkpoint.pytorch"
    if not path.exists():
        return Progressed()
    start_anew = f"delete {path} to start anew, or choose another `output`"
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        told = json.loads(content["progressed"])
        # Through the model, because a key that was added since then had what is its default now.
        before = json.loads(Training.model_validate_json(content["config"]).model_dump_json())
    except Exception as error:  # what a damaged file leads to depends on where it is damaged
        raise UserError(f"{path}: is no checkpoint of a training ({type(error).__name__})", start_anew) from error
    now = json.loads(config.model_dump_json())
    # The whole course of a cosine follows from the number of epochs.
    free = [key for key in _FREE if key != "epochs" or config.optimiser.schedule == "plateau"]
    changed = sorted(key for key in {*now, *before} if key not in free and now.get(key) != before.get(key))
    if changed:
        raise UserError(
            f"{path}: was trained with other settings: {', '.join(_difference(k, before, now) for k in changed)}",
            f"undo the change, {start_anew}",
        )
    network.load_state_dict(content[WEIGHTS_KEY])
    optimiser.load_state_dict(content["optimizer_state_dict"])
    scheduler.load_state_dict(content["scheduler_state_dict"])
    history = [Epoch(**row) for row in told["history"]]
    return Progressed(history, told["best_epoch"], told["best_score"])


def _difference(key: str, before: dict[str, Any], now: dict[str, Any]) -> str:
    """The first key below ``key`` that differs, with both values."""
    old, new = before.get(key), now.get(key)
    if isinstance(old, dict) and isinstance(new, dict):
        inner = next(k for k in {**old, **new} if old.get(k) != new.get(k))
        return f"{key}.{inner} was {old.get(inner)!r}, is {new.get(inner)!r}"
    return f"{key} was {old!r}, is {new!r}"
