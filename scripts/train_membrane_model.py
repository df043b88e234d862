"""Train the membrane network that ships with bigseg, on synthetic stains alone: ``train_membrane_model.py FOLDER``.

FOLDER takes the volumes (about 250 MB) and the training's state; a second call goes on where the first one stopped.
Cells are those of :class:`bigseg.kernels.synthetic.tissue.Tissue` in many sizes and proportions, and crops of real
cell shapes (labels only) from ``../shared/data/membranes/cell_labels.h5`` where that file is; stains are those of
:mod:`bigseg.training.stain`. Everything follows from the seed. No real image is used.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import h5py
import numpy as np
import torch
from scipy import ndimage

from bigseg.config.training import Training
from bigseg.geometry.box import Box, Triple
from bigseg.kernels.synthetic.tissue import Tissue
from bigseg.networks.description import ModelSpec
from bigseg.networks.model import load_model
from bigseg.networks.unet import UNet, build
from bigseg.training.data import LabelledVolume
from bigseg.training.export import export_best
from bigseg.training.loop import architecture_of, preprocessing_of, train
from bigseg.training.stain import Stain, render
from bigseg.training.targets import find_boundaries
from bigseg.training.validate import validate

GEOMETRY = Path(__file__).resolve().parents[2] / "shared" / "data" / "membranes" / "cell_labels.h5"
REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = REPOSITORY / "src" / "bigseg" / "models" / "membrane"
CARD = REPOSITORY / "docs" / "membrane.md"
SHAPE: Triple = (48, 128, 128)
VOLUMES, COMPARED = 160, 8
REAL_SHARE = 0.4
"""Share of the volumes with real cell shapes."""

MOST_BOUNDARY = 0.45
"""Share of boundary voxels from which on nobody could tell the cells apart."""
MOST_BLUR = 0.1
"""Likewise, the largest blur relative to the diameter of the cells."""
MOST_WALL = 0.06
"""The largest extra thickness of a wall's sides, likewise."""


def voronoi_cells(rng: np.random.Generator) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Cells of a synthetic tissue, and the proportions of its voxels."""
    flat = float(np.exp(rng.uniform(0, np.log(4)))) if rng.random() < 0.7 else 1.0
    diameter = float(np.exp(rng.uniform(np.log(max(14.0, 6.0 * flat)), np.log(90.0))))
    stretch = float(np.exp(rng.uniform(-0.5, 0.5)))  # cells longer along y or x
    tissue = Tissue(
        SHAPE,
        voxel_size_um=(flat, max(stretch, 0.25), 1.0),
        cell_diameter_um=diameter,
        seed=int(rng.integers(1 << 31)),
        outline=bool(rng.random() < 0.4),
        jitter=rng.uniform(0.5, 1.0),
        curvature=rng.uniform(0.0, 0.15),
    )
    return tissue.labels(Box((0, 0, 0), SHAPE)), (flat, 1.0, 1.0)


def real_cells(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, tuple[float, float, float]]:
    """A crop of real cells, enlarged or reduced, sparse crops left out."""
    while True:
        scale = float(np.exp(rng.uniform(np.log(0.6), np.log(1.8))))
        flat = float(rng.uniform(1.0, min(2.5, 2 * scale))) if rng.random() < 0.5 else 1.0
        zoom = np.array([scale / flat, scale, scale])
        size = np.minimum(np.ceil(np.array(SHAPE) / zoom).astype(int) + 1, labels.shape)
        begin = [int(rng.integers(n - s + 1)) for n, s in zip(labels.shape, size, strict=True)]
        crop = labels[tuple(slice(b, b + s) for b, s in zip(begin, size, strict=True))]
        if (crop > 0).mean() < 0.4:
            continue
        at = np.meshgrid(*(np.arange(n) / z for n, z in zip(SHAPE, zoom, strict=True)), indexing="ij")
        cut = ndimage.map_coordinates(crop, at, order=0, mode="mirror", prefilter=False)
        if rng.random() < 0.5:
            cut = cut[:, ::-1]
        return np.ascontiguousarray(cut), (flat, 1.0, 1.0)


def diameter(labels: np.ndarray, sampling: tuple[float, float, float]) -> float:
    """Diameter of the ball with the volume of the median cell, in voxels of the finest axis."""
    sizes = np.unique(labels[labels > 0], return_counts=True)[1]
    return float(np.cbrt(np.median(sizes) * np.prod(sampling) * 6 / np.pi))


def make_volume(path: Path, seed: list[int], geometry: np.ndarray | None, *, dense: bool) -> None:
    """Write one volume with its labels, unless it is there; ``dense`` as for :meth:`Stain.draw`."""
    if path.exists():
        return
    rng = np.random.default_rng(seed)
    while True:
        if geometry is not None and rng.random() < REAL_SHARE:
            labels, sampling = real_cells(geometry, rng)
        else:
            labels, sampling = voronoi_cells(rng)
        if find_boundaries(labels).mean() < MOST_BOUNDARY:
            break
    stain = Stain.draw(rng, dense=dense)
    size = diameter(labels, sampling)
    stain = replace(stain, blur=min(stain.blur, MOST_BLUR * size), thickness=min(stain.thickness, MOST_WALL * size))
    image = render(labels, stain, sampling, rng)
    partial = path.with_suffix(".part")
    with h5py.File(partial, "w") as file:
        for name, values in (("raw", image), ("label", labels.astype(np.uint32))):
            data = file.create_dataset(name, data=values, chunks=(24, 64, 64), compression="gzip")
            data.attrs["element_size_um"] = sampling
        file.attrs["stain"] = json.dumps(asdict(stain))
    partial.replace(path)


class Part(NamedTuple):
    """One of the trainings, each of which goes on from the model of the one before.

    Attributes:
        name: of the folder with its model.
        rate: the largest learning rate.
        target: what the network learns to show.
        dense: whether some cells are as bright as walls, see :class:`Stain`.
    """

    name: str
    rate: float
    target: dict[str, float]
    dense: bool = False


PARTS = (
    Part("membrane", 2e-3, {"grow": 1.0}),
    Part("second", 1e-3, {"grow": 1.0}),
    Part("third", 1e-3, {"softness": 1.0}),
    Part("fourth", 1e-3, {"softness": 1.0}, dense=True),
)


AVERAGED = ("second", "third", "fourth")
"""The parts whose mean is the model."""
MEAN = "mean"
"""Of the folder with that model."""


def volume_path(folder: Path, kind: str, i: int, *, dense: bool) -> Path:
    """Where a volume lies."""
    return folder / f"{kind}{'_dense' if dense else ''}{i:03d}.h5"


def configuration(folder: Path, number: int, epochs: int, seed: int, start: Path | None) -> Training:
    """The settings of a part, which goes on from the model ``start``."""
    part = PARTS[number]

    def volumes(kind: str, count: int) -> list[dict[str, object]]:
        paths = [str(volume_path(folder, kind, i, dense=part.dense)) for i in range(count)]
        return [{"raw": {"path": p, "key": "raw"}, "label": {"path": p, "key": "label"}} for p in paths]

    return Training.model_validate(
        {
            "output": str(folder / part.name),
            "train": volumes("learn", VOLUMES),
            "validate_on": volumes("compare", COMPARED),
            "normalise": "percentiles",
            "voxel_size_um": "none",
            "network": {
                "name": "UNet3D",
                "f_maps": [16, 32, 64, 96],
                "layer_order": "bcr",
                "initial_model": str(start) if start else None,
            },
            "target": part.target,
            "loss": {"name": "bce_dice"},
            "optimiser": {"learning_rate": part.rate, "schedule": "cosine"},
            "augment": {
                "elastic": 0.0,  # the cells are as varied as deformation could make them
                "contrast": 0.25,
                "gaussian_noise": 0.1,
                "poisson_noise": 0.1,
            },
            "patch": [32, 96, 96],
            "batch": 2,
            "precision": "bfloat16",
            "epochs": epochs,
            "iterations": 100,
            "seed": seed + 1000 * number,  # other patches than before
            "validation": {"every": 2},
            "crest_weight": 40.0,
            "name": "bigseg membrane",
            "description": "A small U-Net that finds stained membranes, trained on synthetic tissue.",
        }
    )


def average(folder: Path, seed: int, epochs: Sequence[int]) -> dict[str, float]:
    """Write the model whose weights are the mean of those of ``AVERAGED``; its scores on the volumes with dense cells.

    Models that one training leads to from another lie in one basin, and the mean of their weights generalises better
    than each (Wortsman et al. 2022, "Model soups").
    """
    config = configuration(folder, len(PARTS) - 1, epochs[-1], seed, None)
    config = config.model_copy(update={"output": str(folder / MEAN)})
    network = build(architecture_of(config))
    states = []
    for name in AVERAGED:
        trained = load_model(ModelSpec(path=str(folder / name))).network
        assert isinstance(trained, UNet)
        states.append(trained.state_dict())
    mean = {
        key: torch.stack([state[key].double() for state in states]).mean(0).to(value.dtype)
        for key, value in states[0].items()
    }
    network.load_state_dict(mean)
    with ExitStack() as stack:
        steps = preprocessing_of(config)
        compare = [
            stack.enter_context(LabelledVolume(spec, f"validate_on.{i}", steps))
            for i, spec in enumerate(config.validate_on)
        ]
        found = asdict(validate(network, compare, config, torch.device("cpu"), torch.bfloat16))
        export_best(config, network, compare[0], steps, sum(epochs), found)
    return found


def ship(model: Path) -> None:
    """Copy the model to where it ships from, with its card."""
    SHIPPED.mkdir(parents=True, exist_ok=True)
    for old in SHIPPED.iterdir():
        old.unlink()
    for path in (model / "rdf.yaml", *model.glob("*.pt"), *model.glob("*.npy")):
        shutil.copyfile(path, SHIPPED / path.name)
    shutil.copyfile(CARD, SHIPPED / "README.md")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to work; created if need be")
    parser.add_argument(
        "--epochs",
        type=int,
        nargs=len(PARTS),
        default=(14, 5, 20, 10),
        metavar="N",
        help="epochs of 100 iterations of each of the trainings (14 5 20 10)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another number, another model (0)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of the network (1)")
    parser.add_argument("--ship", action="store_true", help="put the model into the package when all epochs are done")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    geometry = None
    if GEOMETRY.exists():
        with h5py.File(GEOMETRY, "r") as file:
            geometry = file["label"][...]
    for dense, (kind, count) in product((False, True), (("learn", VOLUMES), ("compare", COMPARED))):
        for i in range(count):
            stream = [arguments.seed, len(kind), i, *([1] if dense else [])]
            make_volume(volume_path(arguments.folder, kind, i, dense=dense), stream, geometry, dense=dense)
    model: Path | None = None
    outcomes = {}
    for number, epochs in enumerate(arguments.epochs):
        done = train(configuration(arguments.folder, number, epochs, arguments.seed, model), threads=arguments.threads)
        model = Path(done.model)
        outcomes[PARTS[number].name] = {"epoch": done.best_epoch, "adapted_rand_error": done.best_score}
    scores = average(arguments.folder, arguments.seed, arguments.epochs)
    if arguments.ship:
        ship(arguments.folder / MEAN)
    print(json.dumps({"parts": outcomes, "mean": scores}))


if __name__ == "__main__":
    main()
