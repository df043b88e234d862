"""BioImage.IO packages: read with ``bioimageio.spec``, and written as bigseg's own format.

Code that a package brings along is never run: a state dict is used only where the architecture is one of ours by name
and the weights fit; else the package's ONNX or TorchScript weights are.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import logging
from pathlib import Path
from typing import Any

from bigseg.errors import UserError
from bigseg.networks.architecture import NAMES, make_architecture
from bigseg.networks.checkpoint import read_state
from bigseg.networks.description import ModelDescription, Operation, with_z
from bigseg.networks.model import Facts, Model, load_onnx, load_scripted, load_unet
from bigseg.networks.processing import check_operations
from bigseg.networks.shipped import shipped_models

_UNITS = {"micrometer": 1.0, "nanometer": 1e-3, "millimeter": 1e3}
_NO_EFFECT = ("ensure_dtype",)


def load_package(
    source: Path | str, origin: str, files: tuple[str, ...], known: ModelDescription | None = None
) -> Model:
    """The model of a package.

    Args:
        source: folder, description, zip, or id of the zoo (needs the network the first time).
        origin: what messages call it.
        files: the files that changes are noticed in.
        known: as in :func:`bigseg.networks.model.load_model`.

    Raises:
        UserError: the package is damaged, or holds no weights that can be used here.
    """
    description = _read_description(source, origin)
    facts = {"source": "bioimageio", "files": files, **_facts(description, origin)}
    weights, refused = description.weights, []
    if weights.pytorch_state_dict is not None:
        architecture = weights.pytorch_state_dict.architecture
        name = str(architecture.callable)
        if name in NAMES:
            content = _weights(weights.pytorch_state_dict, origin)
            if content is not None:
                kwargs = {"name": name, **{k: v for k, v in dict(architecture.kwargs).items() if k != "name"}}
                made = make_architecture(kwargs, f"{origin}, architecture")
                digest = hashlib.sha256(content).hexdigest()
                state = read_state(io.BytesIO(content), origin)
                return load_unet(made, state, origin, {**facts, "weights_digest": digest})
            refused.append("pytorch_state_dict: the file is missing")
        else:
            refused.append(f"pytorch_state_dict: {name!r} is code of the package, which is not run")
    for kind, load in (("onnx", load_onnx), ("torchscript", load_scripted)):
        entry = getattr(weights, kind)
        content = _weights(entry, origin) if entry is not None else None
        if content is not None:
            return load(content, origin, facts, known)
        if entry is not None:
            refused.append(f"{kind}: the file is missing")
    raise UserError(
        f"{origin}: holds no weights that can be used here ({'; '.join(refused) or 'none at all'})",
        "give a package with ONNX, TorchScript, or the weights of a pytorch-3dunet network",
    )


def _read_description(source: Path | str, origin: str) -> Any:
    logging.getLogger("bioimageio.spec").setLevel(logging.ERROR)
    from bioimageio.spec import InvalidDescr, load_description
    from bioimageio.spec.model.v0_5 import ModelDescr
    from loguru import logger

    logger.disable("bioimageio.spec")
    where = source
    if isinstance(source, Path) and source.is_dir():
        names = [*(source / n for n in ("rdf.yaml", "bioimageio.yaml")), *source.glob("*.bioimageio.yaml")]
        where = next(path for path in names if path.exists())
    try:
        found = load_description(where, format_version="latest", perform_io_checks=False)
    except Exception as error:  # whatever the network or a damaged archive leads to
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        remedy = "check the path"
        close = difflib.get_close_matches(str(source), shipped_models(), n=1)
        if close:
            remedy = f"did you mean {close[0]!r}, which comes with bigseg?"
        elif not isinstance(source, Path):
            remedy += f", name a model that comes with bigseg ({', '.join(shipped_models())}), or go online"
        raise UserError(f"{origin}: cannot be read as a BioImage.IO package ({reason})", remedy) from error
    if isinstance(found, InvalidDescr):
        first = next(iter(found.validation_summary.errors), None)
        detail = f"{'.'.join(map(str, first.loc))}: {first.msg}" if first else "invalid"
        raise UserError(f"{origin}: is no valid BioImage.IO description ({detail})", "correct it, or get it again")
    if not isinstance(found, ModelDescr):
        raise UserError(f"{origin}: describes no model but a {found.type}", "give a model")
    return found


def _weights(entry: Any, origin: str) -> bytes | None:
    """The weights, checked against their checksum; None if a package does not bring them."""
    try:
        return bytes(entry.get_reader().read())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(
            f"{origin}: {entry.source} is damaged: its checksum is not the one in the description",
            "get the package again",
        ) from error
    except Exception as error:  # the network, in whatever way it fails
        raise UserError(f"{origin}: {entry.source} cannot be fetched ({error})", "check the connection") from error


def _facts(description: Any, origin: str) -> Facts:
    """What the description tells of input, output and processing."""
    if len(description.inputs) != 1 or len(description.outputs) != 1:
        raise UserError(
            f"{origin}: has {len(description.inputs)} inputs and {len(description.outputs)} outputs",
            "give a model with one image as input and one as output",
        )
    image, result = description.inputs[0], description.outputs[0]
    _check_axes(image, origin)
    _check_axes(result, origin)
    space = [axis for axis in image.axes if axis.type == "space"]
    fixed, minimum, step = [], [], []
    for axis in space:
        size = axis.size
        fixed.append(size if isinstance(size, int) else None)
        minimum.append(int(getattr(size, "min", 1)))
        step.append(int(getattr(size, "step", 1)))
    halo = tuple(int(getattr(a, "halo", 0)) for a in result.axes if a.type == "space")
    channels = next((len(a.channel_names) for a in image.axes if a.type == "channel"), 1)
    names = next(([str(n) for n in a.channel_names] for a in result.axes if a.type == "channel"), ["output"])
    extra = dict(getattr(description.config, "model_extra", None) or {}).get("bigseg")
    own = extra if isinstance(extra, dict) else {}
    before = _operations(image.preprocessing, [str(a.id) for a in image.axes], origin)
    after = _operations(result.postprocessing, [str(a.id) for a in result.axes], origin)
    check_operations(before, f"{origin}, preprocessing", statistics=True)
    check_operations(after, f"{origin}, postprocessing", statistics=False)
    return {
        "told": {"dims": len(space), "in_channels": channels, "out_channels": len(names)},
        "fixed_shape": with_z(tuple(fixed), None),
        "minimum_shape": with_z(tuple(minimum), 1),
        "voxel_size_um": _voxel_size(space),
        "halo": with_z(halo, 0),
        "step": with_z(tuple(step), 1),
        "preprocessing": before,
        "postprocessing": after,
        "outputs": tuple(own["outputs"]) if own.get("outputs") else None,
        "offsets": tuple(tuple(o) for o in own.get("offsets", ())),
        "crest_weight": own.get("crest_weight", 0.0),
    }


def _check_axes(tensor: Any, origin: str) -> None:
    found = [str(axis.id)[0] for axis in tensor.axes]
    if found not in (list("bcyx"), list("bczyx")):
        raise UserError(
            f"{origin}: its tensor {tensor.id} has axes {found}", "give a model with axes batch, channel, [z,] y, x"
        )


def _voxel_size(space: list[Any]) -> tuple[float, float, float] | None:
    """In µm where all axes tell; planes of a 2D model have no distance."""
    found = [axis.scale * _UNITS[axis.unit] if axis.unit in _UNITS else None for axis in space]
    if len(found) != 3 or any(s is None for s in found):
        return None
    z, y, x = (float(s) for s in found if s is not None)
    return (z, y, x)


def _operations(steps: Any, axes: list[str], origin: str) -> tuple[Operation, ...]:
    found = []
    for step in steps:
        name = str(step.id)
        if name in _NO_EFFECT:
            continue
        kwargs = step.kwargs.model_dump(mode="json") if getattr(step, "kwargs", None) is not None else {}
        if kwargs.pop("reference_tensor", None) not in (None, "raw", "input", "input0"):
            raise UserError(f"{origin}: {name} refers to another tensor", "export the model without it")
        over = kwargs.pop("axes", None)
        axis = kwargs.pop("axis", None)
        if axis is not None and str(axis) != "channel":
            raise UserError(f"{origin}: {name} goes along {axis}", "only operations along the channels are supported")
        args = {key: value for key, value in kwargs.items() if value is not None}
        found.append(Operation(name=name, args=args, joint=over is None or "channel" in [str(a) for a in over]))
    return tuple(found)
