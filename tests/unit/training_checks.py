"""What tests of training share: a small synthetic tissue on disk, and a tiny training on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from bigseg.config.training import Training
from bigseg.geometry.box import Box
from bigseg.kernels.synthetic.tissue import Tissue


def write_tissue(path: Path, seed: int = 0, shape: tuple[int, int, int] = (16, 48, 48)) -> Path:
    """Image and labels in one HDF5 file."""
    tissue = Tissue(shape, voxel_size_um=(0.5, 0.5, 0.5), cell_diameter_um=7.0, seed=seed, outline=False, photons=100)
    image, labels = tissue.render(Box((0, 0, 0), shape))
    return write_volume(path, image, labels.astype(np.uint32))


def write_volume(path: Path, image: np.ndarray, labels: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in (("raw", image), ("label", labels)):
            file.create_dataset(name, data=values).attrs["element_size_um"] = [0.5, 0.5, 0.5]
    return path


def volume(path: Path, **more: Any) -> dict[str, Any]:
    return {"raw": {"path": str(path), "key": "raw"}, "label": {"path": str(path), "key": "label"}, **more}


def tiny(folder: Path, path: Path, **changed: Any) -> dict[str, Any]:
    """Settings of a training that takes a second."""
    return {
        "output": str(folder / "model"),
        "train": [volume(path)],
        "validate_on": [volume(path)],
        "network": {"name": "UNet3D", "f_maps": [4, 8], "layer_order": "bcr"},
        "optimiser": {"learning_rate": 1e-2},
        "validation": {"minimum_object_size": 20, "supervoxels": {"minimum_size": 20}},
        "patch": [8, 16, 16],
        "epochs": 2,
        "iterations": 3,
        **changed,
    }


def tiny_training(folder: Path, path: Path, **changed: Any) -> Training:
    return Training.model_validate(tiny(folder, path, **changed))
