"""One way to load a model, wherever it comes from."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass
from math import lcm
from pathlib import Path
from typing import Any

import torch

from bigseg.errors import UserError
from bigseg.networks.architecture import Architecture
from bigseg.networks.backends import Network, OnnxNetwork, load_torchscript
from bigseg.networks.checkpoint import load_network, read_state
from bigseg.networks.description import ModelDescription, ModelSpec, Operation, with_z
from bigseg.networks.measured import NotLocalError, find_divisibility, measure_reach
from bigseg.networks.onnx_layers import UnknownLayerError, layers_of
from bigseg.networks.reach import LayerGraph, Reach
from bigseg.networks.shipped import find_shipped, shipped_models

_BYTES_UNKNOWN = 4096.0
"""Memory per voxel supposed for a network whose layers cannot be read."""

_EXTENT = {2: 256, 3: 96}
"""Length of the inputs that such a network is measured with."""

_MEASURED = ("divisibility", "before", "after", "statistics")
"""What trying tells of a network whose layers cannot be read."""

Facts = dict[str, Any]


@dataclass
class Model:
    """A model that can be applied.

    Attributes:
        description: what it is.
        network: (n, channels, [z,] y, x) float32, already pre-processed, to (n, outputs, [z,] y, x), before the
            model's post-processing.
    """

    description: ModelDescription
    network: Network

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """Network and post-processing."""
        return postprocess(self.network(batch), self.description.postprocessing)


def load_model(spec: ModelSpec, known: ModelDescription | None = None) -> Model:
    """Load a model on the CPU.

    Known are a pytorch-3dunet checkpoint with its configuration (the folder of both, or either), a BioImage.IO package
    (folder, ``rdf.yaml``, zip, or an id of the zoo), TorchScript (``.pt``) and ONNX (``.onnx``) files, and the models
    that come with bigseg, by their names.

    Args:
        spec: where it is.
        known: its description, made before: what had to be measured is taken from there. If it is one of another
            model, the digests differ.

    Raises:
        UserError: it is missing, damaged, or cannot be used here.
    """
    path = find_shipped(spec.path) or Path(spec.path).expanduser()
    if not path.exists():
        return _load_from_zoo(spec, path, known)
    if path.is_dir():
        return _load_folder(spec, path, known)
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return load_onnx(_read(path), str(path), {"source": "onnx", "files": (str(path),)}, known)
    if suffix in (".yaml", ".yml"):
        return _load_yaml(spec, path, known)
    if suffix == ".zip" or _is_package(path):
        from bigseg.networks.bioimageio_package import load_package

        return load_package(path, str(path), (str(path),), known)
    if _is_torchscript(path):
        return load_scripted(_read(path), str(path), {"source": "torchscript", "files": (str(path),)}, known)
    return _load_checkpoint(spec, path)


def load_unet(architecture: Architecture, state: dict[str, torch.Tensor], origin: str, facts: Facts) -> Model:
    """One of our own U-Nets with weights; ``facts`` complete the description."""
    network = load_network(architecture, state, origin)
    found = {
        "backend": "torch",
        "in_channels": architecture.in_channels,
        "out_channels": architecture.out_channels,
        "architecture": architecture.model_dump(),
        **graph_facts(architecture.graph()),
        **facts,
    }
    return Model(_describe(found, origin), network)


def load_onnx(content: bytes, origin: str, facts: Facts, known: ModelDescription | None = None) -> Model:
    """An ONNX model; ``facts`` complete the description, ``known`` as in :func:`load_model`."""
    network = OnnxNetwork(content, origin)
    shape = [d.dim_value for d in network.model.graph.input[0].type.tensor_type.shape.dim]
    fixed = tuple(n or None for n in shape[2:])
    try:
        graph = layers_of(network.model)
        found = graph_facts(graph)
    except UnknownLayerError:
        if any(fixed):
            raise UserError(
                f"{origin}: how far it looks is not known, and it takes one size only, so this cannot be measured",
                "export it with dynamic axes",
            ) from None
        found = _known_facts(known) or measured_facts(network, len(shape) - 2, shape[1] or 1, facts)
    except UserError as error:
        raise UserError(f"{origin}: {error.problem}", error.remedy) from error
    channels = [d.dim_value for d in network.model.graph.output[0].type.tensor_type.shape.dim][1]
    length = tuple(n or 8 * max(found["divisibility"]) for n in shape[2:])
    if not channels:
        channels = network(torch.zeros((1, shape[1] or 1, *length))).shape[1]
    described = {
        "backend": "onnx",
        "in_channels": shape[1] or 1,
        "out_channels": channels,
        "fixed_shape": with_z(fixed, None),
        **found,
        **facts,
    }
    return Model(_describe(described, origin, content), network)


def load_scripted(content: bytes, origin: str, facts: Facts, known: ModelDescription | None = None) -> Model:
    """A TorchScript module; dimensions and channels are read from its first convolution unless ``facts`` tell.

    ``known`` is as in :func:`load_model`.
    """
    module = load_torchscript(content, origin)
    weights = [value for value in module.state_dict().values() if value.dim() in (4, 5)]
    if not weights:
        raise UserError(f"{origin}: holds no convolution", "give a convolutional network")
    dims, channels = weights[0].dim() - 2, int(weights[0].shape[1])
    with torch.inference_mode():
        found = _known_facts(known) or measured_facts(module, dims, channels, facts)
    described = {"backend": "torchscript", "in_channels": channels, **found, **facts}
    return Model(_describe(described, origin, content), module)


def graph_facts(graph: LayerGraph) -> Facts:
    """What the layers tell."""
    reach = graph.reach()
    return {
        "dims": graph.dims,
        "divisibility": with_z(graph.divisibility(), 1),
        "before": with_z(reach.before, (0,)),
        "after": with_z(reach.after, (0,)),
        "by_construction": True,
        "statistics": graph.statistics,
        "bytes_per_voxel": graph.bytes_per_voxel(),
    }


def measured_facts(network: Network, dims: int, channels: int, facts: Facts) -> Facts:
    """What trying tells, for a network whose layers cannot be read.

    Where it looks at the whole patch (a norm without statistics of its own, say), ``step`` and ``halo`` of ``facts``
    are taken, if they tell a halo.

    Raises:
        UserError: what it looks at can neither be found nor is told.
    """
    extent = _EXTENT[dims]
    steps = tuple(facts.get("step", (1, 1, 1))[-dims:])
    halo = tuple(facts.get("halo", (0, 0, 0))[-dims:])
    try:
        if max(steps) == 1:  # descriptions often do not tell
            steps = (find_divisibility(network, dims, channels, extent),) * dims
        reach = measure_reach(network, tuple(-(-extent // s) * s for s in steps), channels, steps)
        statistics = False
    except NotLocalError:
        if not any(halo):
            raise
        reach = Reach(((0,),) * dims, ((0,),) * dims)
        statistics = True
    reach = Reach(
        tuple((max(b[0], h),) for b, h in zip(reach.before, halo, strict=True)),
        tuple((max(a[0], h),) for a, h in zip(reach.after, halo, strict=True)),
    )
    small = torch.zeros((1, channels, *(-(-16 // s) * s for s in steps)))
    return {
        "dims": dims,
        "out_channels": int(network(small).shape[1]),
        "divisibility": with_z(steps, 1),
        "before": with_z(reach.before, (0,)),
        "after": with_z(reach.after, (0,)),
        "by_construction": False,
        "statistics": statistics,
        "bytes_per_voxel": _BYTES_UNKNOWN,
    }


def _known_facts(known: ModelDescription | None) -> Facts | None:
    """What :func:`measured_facts` found before."""
    if known is None or known.by_construction:
        return None
    keys = ("dims", "out_channels", "by_construction", "bytes_per_voxel", *_MEASURED)
    return {key: getattr(known, key) for key in keys}


def postprocess(output: torch.Tensor, operations: tuple[Operation, ...]) -> torch.Tensor:
    """A model's own post-processing of a batch (n, c, [z,] y, x)."""
    for operation in operations:
        args = operation.args
        if operation.name == "sigmoid":
            output = torch.sigmoid(output)
        elif operation.name == "softmax":
            output = torch.softmax(output, dim=1)
        elif operation.name == "clip":
            output = torch.clamp(output, args.get("min"), args.get("max"))
        elif operation.name == "binarize":
            output = (output > _channels(args["threshold"], output)).to(output.dtype)
        elif operation.name == "scale_linear":
            output = output * _channels(args.get("gain", 1.0), output) + _channels(args.get("offset", 0.0), output)
        else:  # fixed_zero_mean_unit_variance
            output = (output - _channels(args["mean"], output)) / _channels(args["std"], output)
    return output


def _channels(value: Any, like: torch.Tensor) -> torch.Tensor:
    """One number, or one per channel, to be combined with a batch."""
    numbers = torch.as_tensor(value, dtype=like.dtype, device=like.device).reshape(-1)
    return numbers.reshape(1, -1, *([1] * (like.dim() - 2)))


def _describe(facts: Facts, origin: str, content: bytes = b"") -> ModelDescription:
    """The description, with the digest of the weights and of all that files tell beside the place.

    What was measured is not part of it: another CPU may measure otherwise and would not know the model again. Planning
    alone measures; what it found is a parameter of its own, the tiling.
    """
    known = {key: value for key, value in facts.items() if key in ModelDescription.model_fields}
    steps = zip(known["divisibility"], facts.get("step", (1, 1, 1)), strict=True)
    known["divisibility"] = tuple(lcm(own, told) for own, told in steps)
    for key, told in facts.get("told", {}).items():
        if known[key] != told:
            raise UserError(
                f"{origin}: its description says {key} = {told}, its weights say {known[key]}",
                "correct the description",
            )
    weights = facts.get("weights_digest") or hashlib.sha256(content).hexdigest()
    without_place = {key: value for key, value in known.items() if key != "files"}
    plain = ModelDescription(**{"files": (), "origin": "", "digest": "", **without_place}).model_dump(mode="json")
    if not known["by_construction"]:
        plain = {key: value for key, value in plain.items() if key not in _MEASURED}
    state = hashlib.sha256(json.dumps([weights, plain], sort_keys=True).encode()).hexdigest()
    return ModelDescription(**{"files": (), **known, "origin": origin, "digest": state[:32]})


def _load_folder(spec: ModelSpec, path: Path, known: ModelDescription | None) -> Model:
    if any((path / name).exists() for name in ("rdf.yaml", "bioimageio.yaml")) or list(path.glob("*.bioimageio.yaml")):
        from bigseg.networks.bioimageio_package import load_package

        return load_package(path, str(path), tuple(str(f) for f in sorted(path.iterdir()) if f.is_file()), known)
    found = sorted(p for p in path.iterdir() if p.suffix in (".pytorch", ".pt", ".pth"))
    if len(found) > 1:
        found = [p for p in found if p.stem == "best_checkpoint"]
    if len(found) != 1:
        raise UserError(
            f"{path}: holds neither a BioImage.IO package (rdf.yaml) nor one checkpoint (*.pytorch)",
            "give the path of the model's file",
        )
    return _load_checkpoint(spec, found[0])


def _load_yaml(spec: ModelSpec, path: Path, known: ModelDescription | None) -> Model:
    from bigseg.networks.pytorch3dunet import read_settings

    settings = read_settings(path)
    if settings.get("type") == "model":
        from bigseg.networks.bioimageio_package import load_package

        return load_package(path, str(path), (str(path),), known)
    named = Path(str(settings.get("model_path", "")))
    candidates = [named, path.parent / named, path.parent / named.name]
    found = [p for p in candidates if p.is_file()]
    if not found:
        raise UserError(
            f"{path}: names the weights {str(named)!r}, which are neither there nor beside it",
            "set `model_path` in it, or put the checkpoint beside it",
        )
    return _load_checkpoint(ModelSpec(path=str(found[0]), settings=str(path)), found[0])


def _load_checkpoint(spec: ModelSpec, path: Path) -> Model:
    from bigseg.networks.pytorch3dunet import find_settings, preprocessing_of, read_settings

    settings_path = Path(spec.settings).expanduser() if spec.settings else find_settings(path)
    settings = read_settings(settings_path)
    from bigseg.networks.architecture import read_architecture

    architecture = read_architecture(settings.get("model") or {}, str(settings_path))
    facts = {
        "source": "pytorch-3dunet",
        "files": (str(path), str(settings_path)),
        "preprocessing": preprocessing_of(settings, str(settings_path)),
        "weights_digest": hashlib.sha256(_read(path)).hexdigest(),
    }
    return load_unet(architecture, read_state(path, str(path)), str(path), facts)


def _load_from_zoo(spec: ModelSpec, path: Path, known: ModelDescription | None) -> Model:
    """An id of the BioImage Model Zoo looks like ``affable-shark`` or ``10.5281/zenodo.5764892``, not like a path."""
    is_id = not path.is_absolute() and not path.suffix.lower().endswith(
        (".zip", ".yaml", ".yml", ".onnx", ".pt", ".pth", ".pytorch")
    )
    if not is_id or spec.path.startswith((".", "~")):
        raise UserError(
            f"{spec.path} does not exist",
            f"correct the path of the model, or name one that comes with bigseg: {', '.join(shipped_models())}",
        )
    from bigseg.networks.bioimageio_package import load_package

    return load_package(spec.path, spec.path, (), known)


def _is_torchscript(path: Path) -> bool:
    """TorchScript is a zip with code; a checkpoint is one without."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _is_package(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name in ("rdf.yaml", "bioimageio.yaml") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})", "check its permissions") from error
