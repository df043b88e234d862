"""The loop of a training: Adam, learning rate lowered when validation stagnates, lowest Rand error wins.

So PlantSeg trains (Wolny 2023, section 2.2.1). The cosine schedule is our addition, for trainings whose length is known
beforehand.

Everything random follows from the seed and the number of the epoch, so that a training that was stopped and one that
was not come to the same weights, on the CPU bit for bit.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from bigseg.config.training import Training, TrainingVolume
from bigseg.errors import UserError, concerning
from bigseg.networks.architecture import Architecture, make_architecture
from bigseg.networks.description import ModelSpec, Operation
from bigseg.networks.model import load_model
from bigseg.networks.normalisation import normalisation
from bigseg.networks.predictor import choose_device, memory_layout
from bigseg.networks.unet import UNet, build
from bigseg.progress import Progress
from bigseg.resume.files import write_json
from bigseg.training.checkpoint import Epoch, Progressed, folder_of, load, save
from bigseg.training.curves import draw_curves, write_events
from bigseg.training.data import LabelledVolume, Patch, PatchSampler
from bigseg.training.export import export_best
from bigseg.training.losses import loss
from bigseg.training.targets import roles_of
from bigseg.training.validate import validate

OUTCOME = "outcome.json"
"""Name of the file that is there when all epochs are done."""

_AHEAD = 2
"""Batches that are made ready while one is learnt from."""


@dataclass(frozen=True)
class Outcome:
    """What a training led to.

    Attributes:
        model: folder of the model.
        epochs: epochs done.
        best_epoch: the one whose weights the model has.
        best_score: its adapted Rand error.
        seconds: time of this call.
    """

    model: str
    epochs: int
    best_epoch: int
    best_score: float
    seconds: float


def train(config: Training, *, device: str = "auto", threads: int = 1) -> Outcome:
    """Train, or go on with a training, until ``config.epochs``.

    Args:
        config: the training.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: of torch on the CPU.

    Raises:
        UserError: volumes, network and settings do not fit together; a GPU is demanded that is not there; the loss is
            no longer a number.
    """
    start = time.monotonic()
    with concerning("--device", "give --device auto"):
        chosen = choose_device(device)
    architecture = architecture_of(config)
    check_patch(config, architecture)
    with ExitStack() as stack:
        learn, compare = (
            [stack.enter_context(LabelledVolume(spec, f"{role}.{i}", preprocessing_of(config))) for i, spec in specs]
            for role, specs in _numbered(config)
        )
        trainer = _Trainer(config, architecture, learn, compare, chosen, threads)
        progressed = trainer.run()
    told = {"best_epoch": progressed.best_epoch, "best_score": progressed.best_score, "epochs": progressed.epoch}
    write_json(folder_of(config) / OUTCOME, told)
    return Outcome(
        config.output, progressed.epoch, progressed.best_epoch, progressed.best_score, time.monotonic() - start
    )


def architecture_of(config: Training) -> Architecture:
    """The network's architecture; channels follow from volumes and target.

    Raises:
        UserError: the keys do not fit each other.
    """
    keys = config.network.model_dump(exclude={"initial_model"}, exclude_none=True)
    channels = {"in_channels": len(config.train[0].channels), "out_channels": len(roles_of(config.target))}
    return make_architecture({**keys, **channels}, "network")


def check_patch(config: Training, architecture: Architecture) -> None:
    """Refuse a patch that the network cannot take.

    Raises:
        UserError: it is no multiple of what the network halves.
    """
    steps = architecture.graph().divisibility()
    per_axis = (1, *steps) if architecture.dims == 2 else steps
    legal = [-(-n // d) * d for n, d in zip(config.patch, per_axis, strict=True)]
    if legal != config.patch:
        raise UserError(
            f"patch: {config.patch} is no multiple of the network's divisibility {list(per_axis)}", f"set it to {legal}"
        )


def preprocessing_of(config: Training) -> tuple[Operation, ...]:
    """How images are normalised, as the model will tell it."""
    return normalisation(config.normalise, config.percentiles)


class _Trainer:
    """One training at work."""

    def __init__(
        self,
        config: Training,
        architecture: Architecture,
        learn: Sequence[LabelledVolume],
        compare: Sequence[LabelledVolume],
        device: torch.device,
        threads: int,
    ) -> None:
        self.config, self.learn, self.compare, self.device = config, learn, compare, device
        torch.set_num_threads(threads)
        torch.manual_seed(config.seed)
        self.layout = memory_layout(architecture.dims, device)
        self.network: UNet = _initial(config, architecture).to(device)
        self.network.to(memory_format=self.layout)  # type: ignore[call-overload]
        settings = config.optimiser
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimiser, "min", factor=settings.factor, patience=settings.patience
        )
        self.precision = _precision(config.precision, device)
        self.sampler = PatchSampler(learn, config, architecture.dims)
        self.workers = max(1, threads)
        self.folder: Path = folder_of(config)

    def run(self) -> Progressed:
        """All epochs that are left."""
        progressed = load(self.config, self.network, self.optimiser, self.scheduler)
        left = self.config.epochs - progressed.epoch
        if left <= 0:
            return progressed
        voxels = self.config.batch * math.prod(self.config.patch)
        with (
            Progress(left * self.config.iterations, "train", unit="iteration") as progress,
            ThreadPoolExecutor(self.workers) as pool,
        ):
            for epoch in range(progressed.epoch + 1, self.config.epochs + 1):
                started = time.monotonic()
                mean = self._learn(epoch, pool, progress, voxels)
                rate = float(self.optimiser.param_groups[0]["lr"])
                found = self._compare(epoch, progressed)
                progressed.history.append(Epoch(epoch, rate, mean, found, round(time.monotonic() - started, 3)))
                save(self.config, progressed, self.network, self.optimiser, self.scheduler)
                draw_curves(progressed.history, self.folder / "curves.png")
        write_events(progressed.history, self.folder)
        return progressed

    def _learn(self, epoch: int, pool: ThreadPoolExecutor, progress: Progress, voxels: int) -> float:
        """The iterations of an epoch; their mean loss."""
        # From the seed and the epoch, so that dropout too goes on as though nothing had stopped.
        torch.manual_seed((self.config.seed << 20) + epoch)
        self.network.train()
        total = 0.0
        for iteration, batch in enumerate(self._batches(epoch, pool)):
            image, values, known = (torch.from_numpy(a).to(self.device) for a in batch)
            image = image.to(memory_format=self.layout)
            if self.config.optimiser.schedule == "cosine":
                rate = cosine_rate(self.config, (epoch - 1) * self.config.iterations + iteration)
                self.optimiser.param_groups[0]["lr"] = rate
            self.optimiser.zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                logits = self.network.logits(image)
            value = loss(self.config.loss.name, logits, values, known, self.config.loss.dice_weight)
            number = float(value.detach())
            if not math.isfinite(number):
                raise UserError(
                    f"the loss of epoch {epoch} is {number}: the training diverged",
                    "lower optimiser.learning_rate, or check the images for extreme values; the last whole epoch is "
                    f"kept in {self.folder}",
                )
            value.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            total += number
            progress.done(voxels)
        return total / self.config.iterations

    def _batches(self, epoch: int, pool: ThreadPoolExecutor) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Images, values and knowns of every iteration; patches are made ready in other threads meanwhile."""
        waiting: deque[list[Future[Patch]]] = deque()
        for iteration in range(self.config.iterations):
            while len(waiting) <= _AHEAD and iteration + len(waiting) < self.config.iterations:
                at = iteration + len(waiting)
                waiting.append([pool.submit(self.sampler.draw, epoch, at, n) for n in range(self.config.batch)])
            patches = [future.result() for future in waiting.popleft()]
            images = np.stack([patch.image for patch in patches])
            values = np.stack([patch.targets.values for patch in patches])
            known = np.stack([patch.targets.known for patch in patches])
            if self.network.architecture.dims == 2:
                images, values, known = images[:, :, 0], values[:, :, 0], known[:, :, 0]
            yield images, values, known

    def _compare(self, epoch: int, progressed: Progressed) -> dict[str, float]:
        """Validate, if it is time, or at the end; keep the model if none was better.

        The end moves when epochs are added, so a validation that is there for it alone must not change the rate.
        """
        regular = epoch % self.config.validation.every == 0
        if not regular and epoch != self.config.epochs:
            return {}
        verdict = validate(self.network, self.compare, self.config, self.device, self.precision)
        if regular and self.config.optimiser.schedule == "plateau":
            self.scheduler.step(verdict.loss)
        found = asdict(verdict)
        # Among equals the first: where all are perfect, or all are one object, the later ones tell nothing new.
        if verdict.adapted_rand_error < progressed.best_score:
            progressed.best_epoch, progressed.best_score = epoch, verdict.adapted_rand_error
            export_best(self.config, self.network, self.compare[0], preprocessing_of(self.config), epoch, found)
        return found


def cosine_rate(config: Training, iteration: int) -> float:
    """Learning rate of an iteration, counted from 0: rises over a hundredth of all, then falls to 0 along a cosine."""
    total = config.epochs * config.iterations
    rise = max(1, total // 100)
    if iteration < rise:
        return config.optimiser.learning_rate * (iteration + 1) / rise
    share = (iteration - rise) / max(1, total - rise)
    return config.optimiser.learning_rate * (1 + math.cos(math.pi * share)) / 2


def _numbered(config: Training) -> Iterator[tuple[str, list[tuple[int, TrainingVolume]]]]:
    yield "train", list(enumerate(config.train))
    yield "validate_on", list(enumerate(config.validate_on))


def _initial(config: Training, architecture: Architecture) -> UNet:
    """The network with random weights, or with those of another model."""
    network = build(architecture)
    if config.network.initial_model is None:
        return network
    with concerning("network.initial_model"):
        other = load_model(ModelSpec(path=config.network.initial_model)).network
    if not isinstance(other, UNet) or _written_out(other.architecture) != _written_out(architecture):
        raise UserError(
            f"network.initial_model: {config.network.initial_model} is no network of this architecture",
            "give `network` the keys that it was trained with, and `target` its output channels",
        )
    network.load_state_dict(other.state_dict())
    return network


def _written_out(architecture: Architecture) -> Architecture:
    """The same network with its feature maps listed, since there are several ways to say the same."""
    return architecture.model_copy(update={"f_maps": list(architecture.features), "num_levels": None})


def _precision(wanted: str, device: torch.device) -> torch.dtype:
    if wanted == "auto":
        good = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if good else torch.float32
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32
