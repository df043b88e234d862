"""Curves of a training: a PNG, and event files where TensorBoard is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bigseg.resume.files import replacing
from bigseg.training.checkpoint import Epoch


def draw_curves(history: Sequence[Epoch], path: Path) -> None:
    """Losses, scores and learning rate over the epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    losses, scores, rate = figure.subplots(1, 3)
    epochs = [row.epoch for row in history]
    checked = [row for row in history if row.validation]
    at = [row.epoch for row in checked]
    losses.plot(epochs, [row.loss for row in history], label="training", color="#4477aa")
    losses.plot(at, [row.validation["loss"] for row in checked], label="validation", color="#ee6677", marker=".")
    losses.set_title("loss")
    losses.legend(frameon=False)
    names = {
        "adapted_rand_error": "adapted Rand error",
        "voi_split": "VOI split (bits)",
        "voi_merge": "VOI merge (bits)",
    }
    for (key, name), colour in zip(names.items(), ("#222222", "#228833", "#ccbb44"), strict=True):
        scores.plot(at, [row.validation[key] for row in checked], label=name, color=colour, marker=".")
    scores.set_ylim(bottom=0)
    scores.set_title("validation")
    scores.legend(frameon=False)
    rate.step(epochs, [row.learning_rate for row in history], where="mid", color="#aa3377")
    rate.set_yscale("log")
    rate.set_title("learning rate")
    for axes in (losses, scores, rate):
        axes.set_xlabel("epoch")
        axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def write_events(history: Sequence[Epoch], folder: Path) -> bool:
    """Write all epochs as TensorBoard events, replacing earlier ones; False where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return False
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        for row in history:
            values = {"loss/training": row.loss, "learning_rate": row.learning_rate}
            values |= {f"validation/{key}": value for key, value in row.validation.items()}
            for key, value in values.items():
                writer.add_scalar(key, value, row.epoch)
    return True
