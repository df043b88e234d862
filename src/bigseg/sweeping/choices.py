"""From lists of values to the sets of parameters that a sweep tries."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml

from bigseg.config import Config, validate_config
from bigseg.config.edit import merged
from bigseg.config.model import Settings
from bigseg.config.stages import Partition, Segment
from bigseg.errors import UserError
from bigseg.planning.sample import SamplePlan
from bigseg.resume.digest import digest_json
from bigseg.stages import find_step, steps_of
from bigseg.stages.partition.settings import method_parameters

Values = Mapping[str, Sequence[Any]]
"""Values to try by dotted key, e.g. ``partition.beta``."""

DEFAULT_BETA = "0.1:0.9:0.05"


def _keys(path: str, model: type[Settings]) -> Iterator[str]:
    """Every key of a section and of the sections in it."""
    for name, field in model.model_fields.items():
        if isinstance(field.default, Settings):
            yield from _keys(f"{path}.{name}", type(field.default))
        else:
            yield f"{path}.{name}"


KEYS = tuple(
    key
    for section, model in (("partition", Partition), ("segment", Segment))
    for key in _keys(section, model)
    if key != "partition.levels"
)
"""What can be tried: what a result depends on from the partition to the labels."""

_MOST_VALUES = 10_000

_HINTS = {"partition.linkage": ": --method gasp", "partition.size_weight": ": --method multicut"}


@dataclass(frozen=True)
class Choice:
    """One set of parameters.

    Attributes:
        config: the configuration with these parameters.
        parameters: those that make a difference, by dotted key in the order of ``KEYS``.
    """

    config: Config
    parameters: Mapping[str, Any]


def parse_values(text: str, name: str) -> list[Any]:
    """Values as a user lists them: ``0.3,0.4``, ``gasp,multicut``, or a range ``first:last:step`` with both ends.

    Args:
        text: the list.
        name: of the option or key, for messages.

    Raises:
        UserError: an item is empty, or a range is none.
    """
    values: list[Any] = []
    for item in text.split(","):
        if not item.strip():
            raise UserError(f"{name}: {text!r} holds an empty value", "write for example 0.3,0.4 or 0.3:0.7:0.05")
        values += _range(item, name) if ":" in item else [yaml.safe_load(item)]
    return values


def read_grid(path: Path) -> list[Values]:
    """The grids of a YAML file: one mapping, or a list of them, with the keys of the configuration.

    Each value is a list, a single value, or a range as on the command line.

    Raises:
        UserError: the file is missing, not YAML, or names what cannot be tried.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--grid: {path} cannot be read ({error.strerror})", "give the path of a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--grid: {path} is not YAML: {error}", "correct the file at that place") from error
    grids = content if isinstance(content, list) else [content]
    if not grids or not all(isinstance(grid, dict) and grid for grid in grids):
        raise UserError(f"--grid: {path} holds no parameters", "write for example partition: {beta: [0.3, 0.4]}")
    return [dict(_grid_values(grid, path)) for grid in grids]


def make_choices(
    settings: Mapping[str, Any], plans: Sequence[SamplePlan], grids: Sequence[Values], origin: str
) -> list[Choice]:
    """Every combination of the values of each grid that differs in what its method uses.

    Args:
        settings: the configuration as it was read; what a grid does not name is taken from here.
        plans: the samples.
        grids: values to try.
        origin: name of the configuration for messages.

    Raises:
        UserError: a value is not allowed, or is used by none of the methods.
    """
    found: dict[str, Choice] = {}
    for grid in grids:
        tried: list[tuple[dict[str, Any], Config, str]] = []
        outcomes: dict[str, set[str]] = {}
        for combination in itertools.product(*grid.values()):
            values = dict(zip(grid, combination, strict=True))
            config = _changed(settings, values, origin)
            resolved = digest_json([_resolved(config, plan) for plan in plans])
            tried.append((values, config, resolved))
            for key in grid:
                outcomes.setdefault(_others(values, key), set()).add(resolved)
        different = {key for values, _, _ in tried for key in grid if len(outcomes[_others(values, key)]) > 1}
        for key, listed in grid.items():
            if len(listed) > 1 and key not in different:
                methods = grid.get("partition.method", [validate_config(settings, origin).partition.method])
                raise UserError(
                    f"{key}: {_listed(listed)} make no difference to the method {_listed(methods)}",
                    f"leave it out, or try a method that uses it{_HINTS.get(key, '')}",
                )
        for values, config, resolved in tried:
            matter = {key for key in grid if len(outcomes[_others(values, key)]) > 1}
            found.setdefault(resolved, Choice(config, _parameters(config, plans, matter)))
    return list(found.values())


def _resolved(config: Config, plan: SamplePlan) -> dict[str, Any]:
    """All that the objects of a sample depend on, but for its graph.

    Raises:
        UserError: the volume needs levels, and the method cannot be solved in blocks.
    """
    names = steps_of(config, plan)
    return {
        name: find_step(name).resolve(config, plan)
        for name in names
        if name.startswith("partition.") or name == "segment.objects"
    }


def _parameters(config: Config, plans: Sequence[SamplePlan], matter: set[str]) -> dict[str, Any]:
    """The values of the keys that matter: those that the method uses, of the inner sections only what is tried."""
    used = {key for plan in plans for key in method_parameters(config, plan)}
    found = {}
    for key in KEYS:
        section, *names = key.split(".")
        if key in matter or section != "partition" or (len(names) == 1 and names[0] in used):
            found[key] = value_of(config, key)
    return found


def value_of(config: Config, key: str) -> Any:
    """The value of a dotted key."""
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _others(values: Mapping[str, Any], key: str) -> str:
    """What stays when one key is varied."""
    return digest_json([key, {name: value for name, value in values.items() if name != key}])


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key as sections in sections."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        inner = found
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return found


def _changed(settings: Mapping[str, Any], values: Mapping[str, Any], origin: str) -> Config:
    """The configuration with some values changed.

    Raises:
        UserError: a value is not allowed.
    """
    return validate_config(merged(settings, nested(values)), f"{origin} with what `bigseg sweep` was to try")


def _grid_values(grid: Mapping[str, Any], path: Path, section: str = "") -> Iterator[tuple[str, list[Any]]]:
    for name, values in grid.items():
        key = f"{section}{name}"
        if isinstance(values, dict) and any(known.startswith(f"{key}.") for known in KEYS):
            yield from _grid_values(values, path, f"{key}.")
            continue
        if key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UserError(f"--grid: {path}: {key}: cannot be tried{hint}", f"keys are {', '.join(KEYS)}")
        listed = values if isinstance(values, list) else [values]
        if not listed:
            raise UserError(f"--grid: {path}: {key}: has no values", "list at least one")
        yield key, [v for item in listed for v in (parse_values(item, key) if isinstance(item, str) else [item])]


def _range(text: str, name: str) -> list[float | int]:
    """The numbers ``first:last:step``, both ends included, in decimal so that 0.3 is 0.3."""
    example = "write first:last:step, for example 0.3:0.7:0.05"
    try:
        first, last, step = (Decimal(part.strip()) for part in text.split(":"))
    except (ValueError, InvalidOperation) as error:
        raise UserError(f"{name}: {text!r} is no range of numbers", example) from error
    if not all(number.is_finite() for number in (first, last, step)) or step <= 0 or last < first:
        raise UserError(f"{name}: {text!r} is no ascending range with a step above 0", example)
    number = int((last - first) / step) + 1
    if number > _MOST_VALUES:
        raise UserError(f"{name}: {text!r} has {number:,} values", f"at most {_MOST_VALUES:,} can be tried")
    whole = all(part == part.to_integral_value() for part in (first, step))
    return [int(value) if whole else float(value) for value in (first + i * step for i in range(number))]


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))
