"""From YAML to a valid :class:`~bigseg.config.models.Config`, with errors that a user can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from bigseg.config.models import Config
from bigseg.config.training import Training
from bigseg.errors import UserError

Model = TypeVar("Model", bound=BaseModel)

_SHOULD_BE = "Input should be "
"""How pydantic begins most of what it says of a value."""


def read_settings(path: Path) -> Mapping[str, Any]:
    """Read a configuration file without validating it.

    Raises:
        UserError: the file is missing, not YAML, or holds no settings.
    """
    try:
        with path.open(encoding="utf-8") as file:  # messages name it
            data = yaml.safe_load(file)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})", "write one with `bigseg init`") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not YAML: {error}", "correct the file at that place") from error
    if not isinstance(data, Mapping):
        raise UserError(f"{path}: holds no settings", "write a configuration with `bigseg init`")
    return data


def load_config(path: Path) -> Config:
    """Read and validate a configuration file.

    Raises:
        UserError: the file is missing, not YAML, or not a valid configuration.
    """
    return validate_config(read_settings(path), str(path))


def load_training(path: Path) -> Training:
    """Read and validate the configuration of a training.

    Raises:
        UserError: as :func:`load_config`.
    """
    help_text = "`bigseg train --template` prints every key with its meaning"
    return validate_settings(Training, read_settings(path), str(path), help_text)


def validate_config(data: Mapping[str, Any], origin: str) -> Config:
    """Validate settings that were read from ``origin`` (a name for messages).

    Raises:
        UserError: one message that lists each wrong key with its path, its value and what is allowed.
    """
    return validate_settings(Config, data, origin, "config/README.md lists every key with its meaning")


def validate_settings(model: type[Model], data: Mapping[str, Any], origin: str, help_text: str) -> Model:
    """Validate settings against any configuration model.

    Args:
        model: the model.
        data: the settings.
        origin: what messages call them.
        help_text: where the keys are explained.

    Raises:
        UserError: as :func:`validate_config`.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = _together(_explain(item, model) for item in error.errors())
        raise UserError(f"{origin}: " + "\n  ".join(lines), f"correct the key; {help_text}") from error


def _together(lines: Iterable[str]) -> list[str]:
    """One line for what is said several times of a value, once for each kind of value that it might be."""
    found: dict[str, list[str]] = {}
    for line in lines:
        said, kind, what = line.partition(_SHOULD_BE)
        found.setdefault(said + kind, []).append(what)
    return [start + ", or ".join(dict.fromkeys(ends)) for start, ends in found.items()]


def _explain(item: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One line for one pydantic error: path, value, what is allowed."""
    location = [str(part) for part in item["loc"]]
    unknown = item["type"] == "extra_forbidden"
    kept = [_is_key(location, i) or (unknown and i == len(location) - 1) for i in range(len(location))]
    path = ".".join(part for part, keep in zip(location, kept, strict=True) if keep)
    message = item["msg"].removeprefix("Value error, ")
    if unknown:
        known = _known_keys(location[:-1], model)
        close = difflib.get_close_matches(location[-1], known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"{path}: unknown key{hint} (known here: {', '.join(known) or 'none'})"
    if item["type"] == "missing":
        return f"{path}: is missing"
    if not path:
        return str(message)
    if item["type"] == "value_error" and isinstance(
        item["input"], Mapping
    ):  # a rule over several keys, whose message names the key and its value
        return f"{path}.{message}"
    return f"{path}: {item['input']!r} is not allowed: {message}"


def _is_key(location: list[str], at: int) -> bool:
    """Whether a part of pydantic's path is a key or position, as users know it, and not a member of a union."""
    part = location[at]
    return _is_sample(location, at) or not (
        "[" in part or part.startswith("constrained-") or part in ("literal", "str", "int", "float")
    )


def _is_sample(location: list[str], at: int) -> bool:
    """Whether a part of a path is the name of a sample."""
    return at == 1 and location[0] == "samples"


def _known_keys(location: list[str], root: type[BaseModel]) -> list[str]:
    """The keys of the model at ``location`` below ``root``."""
    model: Any = root
    for at, part in enumerate(location):
        if _is_sample(location, at):
            continue  # its model was found already
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = _model_of(model.model_fields[part].annotation)
    return sorted(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _model_of(annotation: Any) -> Any:
    """The model inside an annotation such as ``Input | None`` or ``dict[str, Sample]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (found := _model_of(argument)) is not None:
            return found
    return None
