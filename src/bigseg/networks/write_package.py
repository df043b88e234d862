"""bigseg's own format: a U-Net as a BioImage.IO 0.5 package, a folder that other tools read too.

``bigseg`` in its ``config`` holds what the format has no place for: what the output channels are, the offsets of
affinities, and what the image counts for in ``supervoxels.crest``. Where the architecture has pytorch-3dunet's
fixed kernels, that package's class is named as its code.

Weights and test tensors have their checksum in their name, and ``rdf.yaml``, which names them, is replaced at once: a
package that is written again is at any time the old one or the new one.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from bigseg.errors import UserError
from bigseg.geometry.box import Triple
from bigseg.networks.architecture import Architecture
from bigseg.networks.description import Operation
from bigseg.networks.processing import Values, apply_steps, resolve
from bigseg.networks.unet import UNet
from bigseg.resume.files import replacing

_VERSION = "0.5.4"

_NAMES = r"(weights|test_input|test_output)(-[0-9a-f]{8})?\.(pt|npy)"
_OURS = re.compile(rf"{_NAMES}|\.({_NAMES}|rdf\.yaml|README\.md)\.[0-9a-f]{{12}}\.tmp")
"""Files of packages, and the temporary ones of :func:`bigseg.resume.files.replacing`."""


@dataclass(frozen=True)
class Card:
    """What a reader wants to know of a model.

    Attributes:
        name: 5 to 128 letters, digits, blanks, ``_``, ``-``, ``(``, ``)``.
        description: one sentence.
        documentation: the model card, Markdown.
        authors: their names.
        license: SPDX id.
        citation: text of what to cite, with ``url``.
        url: where it is to be found.
        tags: for search.
        crest_weight: what ``supervoxels.crest.weight`` is with it, where that is left to it.
    """

    name: str
    description: str
    documentation: str
    authors: Sequence[str] = ("the bigseg authors",)
    license: str = "MIT"
    citation: str = (
        "Wolny et al., Accurate and versatile 3D segmentation of plant tissues at cellular resolution (2020)"
    )
    url: str = "https://doi.org/10.7554/eLife.57613"
    tags: Sequence[str] = ("segmentation", "membrane", "unet")
    crest_weight: float = 0.0


def write_package(
    folder: Path,
    network: UNet,
    card: Card,
    *,
    outputs: Sequence[str],
    test_image: np.ndarray,
    offsets: Sequence[Triple] = (),
    preprocessing: Sequence[Operation] = (Operation(name="zero_mean_unit_variance", args={"eps": 1e-6}),),
    voxel_size_um: tuple[float, float, float] | None = None,
    training: dict[str, Any] | None = None,
) -> Path:
    """Write the package; an existing one stays what it is until the new one is whole.

    Args:
        folder: folder to write to, made if needed.
        network: the network with its weights; put into evaluation mode.
        card: words about it.
        outputs: per output channel ``boundary``, ``foreground``, ``affinity`` or ``ignore``.
        test_image: (c, [z,] y, x) raw image to test with, each axis a multiple of the divisibility.
        offsets: offsets (z, y, x) in voxels of the affinity channels.
        preprocessing: operations, see :class:`bigseg.networks.description.Operation`.
        voxel_size_um: voxel size (z, y, x) of the training data.
        training: anything worth keeping about the training, JSON.

    Returns:
        Path of the description, ``rdf.yaml``.

    Raises:
        UserError: outputs, offsets or test image do not fit the network; the folder cannot be written.
    """
    architecture = network.architecture
    divisibility = architecture.graph().divisibility()
    if len(outputs) != architecture.out_channels or list(outputs).count("affinity") != len(offsets):
        raise UserError("outputs and offsets do not fit the channels of the network", "name every channel")
    if any(n % d for n, d in zip(test_image.shape[1:], divisibility, strict=True)):
        raise UserError(f"a test image of {test_image.shape} is no multiple of {divisibility}", "crop it")
    network.eval()
    weights = io.BytesIO()
    torch.save(network.state_dict(), weights)
    device = next(network.parameters()).device
    prepared = _prepare(test_image, preprocessing)
    with torch.inference_mode():
        expected = network(torch.from_numpy(prepared[None]).to(device)).cpu().numpy()
    files = {
        "weights": _write(folder, "weights", ".pt", weights.getvalue()),
        "input": _write(folder, "test_input", ".npy", _npy(test_image[None])),
        "output": _write(folder, "test_output", ".npy", _npy(expected.astype(np.float32))),
    }
    with replacing(folder / "README.md") as temporary:
        temporary.write_text(card.documentation, encoding="utf-8")
    names = [f"{role}{i}" if list(outputs).count(role) > 1 else role for i, role in enumerate(outputs)]
    space = "zyx"[3 - architecture.dims :]
    content = {
        "format_version": _VERSION,
        "type": "model",
        "name": card.name,
        "description": card.description,
        "authors": [{"name": author} for author in card.authors],
        "cite": [{"text": card.citation, "url": card.url}],
        "license": card.license,
        "tags": list(card.tags),
        "documentation": "README.md",
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": [
            {
                "id": "raw",
                "description": "raw image",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": [f"channel{i}" for i in range(architecture.in_channels)]},
                    *_input_axes(space, divisibility, voxel_size_um),
                ],
                "test_tensor": files["input"],
                "data": {"type": test_image.dtype.name},
                "preprocessing": [_operation(operation, space) for operation in preprocessing],
            }
        ],
        "outputs": [
            {
                "id": "prediction",
                "description": "probabilities",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": names},
                    *_output_axes(space, voxel_size_um),
                ],
                "test_tensor": files["output"],
            }
        ],
        "weights": {
            "pytorch_state_dict": {
                **files["weights"],
                "architecture": _code(architecture),
                "pytorch_version": torch.__version__.split("+")[0],
            }
        },
        "config": {
            "bigseg": {
                "outputs": list(outputs),
                "offsets": [list(o) for o in offsets],
                **({"crest_weight": card.crest_weight} if card.crest_weight else {}),
                "training": training or {},
            }
        },
    }
    path = folder / "rdf.yaml"
    with replacing(path) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    _remove_others(folder, {told["source"] for told in files.values()})
    return path


def _prepare(image: np.ndarray, preprocessing: Sequence[Operation]) -> np.ndarray:
    """The image as the network is given it, (c, [z,] y, x) float32."""
    spatial = image if image.ndim == 4 else image[:, None]
    steps = resolve(preprocessing, [Values.of(channel) for channel in spatial])
    return apply_steps(spatial, steps).astype(np.float32).reshape(image.shape)


def _input_axes(space: str, divisibility: Sequence[int], size: Sequence[float] | None) -> list[dict[str, Any]]:
    steps = zip(space, divisibility, strict=True)
    return [
        {"type": "space", "id": axis, "size": {"min": 2 * step, "step": step}, **_scale(axis, size)}
        for axis, step in steps
    ]


def _output_axes(space: str, size: Sequence[float] | None) -> list[dict[str, Any]]:
    return [
        {"type": "space", "id": axis, "size": {"tensor_id": "raw", "axis_id": axis}, **_scale(axis, size)}
        for axis in space
    ]


def _scale(axis: str, size: Sequence[float] | None) -> dict[str, Any]:
    return {} if size is None else {"unit": "micrometer", "scale": float(size["zyx".index(axis)])}


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _write(folder: Path, stem: str, suffix: str, content: bytes) -> dict[str, str]:
    """Write a file with its checksum in its name; how the format refers to it."""
    checksum = hashlib.sha256(content).hexdigest()
    path = folder / f"{stem}-{checksum[:8]}{suffix}"
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return {"source": path.name, "sha256": checksum}


def _remove_others(folder: Path, kept: set[str]) -> None:
    """Remove the files of packages that were here before, and what writing them may have left unfinished."""
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in kept:
            path.unlink(missing_ok=True)


def _operation(operation: Operation, space: str) -> dict[str, Any]:
    """An operation as the format writes it."""
    kwargs = dict(operation.args)
    if operation.name in ("zero_mean_unit_variance", "scale_range"):
        kwargs["axes"] = (["channel"] if operation.joint else []) + list(space)
    return {"id": operation.name, "kwargs": kwargs} if kwargs else {"id": operation.name}


def _code(architecture: Architecture) -> dict[str, Any]:
    """Which class the weights are for."""
    kwargs = architecture.model_dump(exclude_none=True)
    name = kwargs.pop("name")
    plain = (kwargs["conv_kernel_size"], kwargs["pool_kernel_size"]) == (3, 2)
    if plain:
        del kwargs["conv_kernel_size"], kwargs["pool_kernel_size"]
        if "num_levels" not in kwargs:
            kwargs["num_levels"] = len(architecture.features)
    module = "pytorch3dunet.unet3d.model" if plain else "bigseg.networks.unet"
    return {"import_from": module, "callable": name, "kwargs": kwargs}
