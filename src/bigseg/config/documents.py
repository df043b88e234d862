"""The default config.yaml, its JSON schema and its reference page, all made from the models."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bigseg.config.dependence import CONDITIONS, DEPENDENCE
from bigseg.config.models import Config
from bigseg.config.samples import ROLES, Affinities, Input, Sample
from bigseg.config.training import Training, TrainingVolume

_WIDTH = 110


def default_yaml(samples: dict[str, dict[str, Any]], **changed: Any) -> str:
    """A commented configuration with every key and its default.

    Args:
        samples: the entries of ``samples`` as they shall stand in the file.
        changed: values that differ from the defaults, by section or top-level key.
    """
    lines = ["# Configuration of bigseg. Every key is explained in config/README.md.", ""]
    for name, field in Config.model_fields.items():
        lines += _comment(_description(field), 0)
        if name == "samples":
            lines += ["samples:", *_indent(yaml.safe_dump(samples, sort_keys=False).splitlines(), 2), ""]
            lines += _comment("More keys of an entry, all optional:", 2)
            for key, inner in Sample.model_fields.items():
                if not inner.is_required():
                    lines += _comment(f"{key}: {_description(inner)}", 4)
            lines += _comment(f"Keys of {_listed(ROLES)} besides path:", 2)
            for key, inner in Input.model_fields.items():
                if not inner.is_required():
                    lines += _comment(f"{key}: {_description(inner)}", 4)
            lines += _comment("More keys of affinities:", 2)
            for key, inner in _own_fields(Affinities).items():
                lines += _comment(f"{key}: {_description(inner)}", 4)
        elif (model := _model(field)) is not None:
            lines += _section(name, model, changed.get(name, {}))
        else:
            lines.append(f"{name}: {_value(changed.get(name, field.default))}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def training_yaml() -> str:
    """A commented configuration of a training with every key and its default, to be completed by the user."""
    lines = ["# Configuration of `bigseg train`.", ""]
    volume = {"raw": {"path": "image.h5", "key": "raw"}, "label": {"path": "image.h5", "key": "label"}}
    examples = {
        "output": "models/my_model",
        "train": [{**volume, "end": [100, 250, 250]}],
        "validate_on": [{**volume, "begin": [100, 0, 0]}],
    }
    for name, field in Training.model_fields.items():
        lines += _comment(_description(field), 0)
        if name in examples:
            lines += yaml.safe_dump({name: examples[name]}, sort_keys=False).splitlines()
        elif (model := _model(field)) is not None:
            lines += _section(name, model, {})
        else:
            lines.append(f"{name}: {_value(field.default)}")
        if name == "train":
            lines += _comment("More keys of a volume, all optional:", 2)
            for key, inner in TrainingVolume.model_fields.items():
                if not inner.is_required():
                    lines += _comment(f"{key}: {_description(inner)}", 4)
            lines += _comment("Keys of raw and label besides path:", 2)
            for key, inner in Input.model_fields.items():
                if not inner.is_required():
                    lines += _comment(f"{key}: {_description(inner)}", 4)
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def schema() -> str:
    """The JSON schema of the configuration, for editors."""
    return json.dumps(Config.model_json_schema(), indent=1, sort_keys=True) + "\n"


def reference() -> str:
    """The reference page: a table of keys for every section."""
    parts = [
        "# Configuration",
        "Generated from the models in `src/bigseg/config`; do not edit (`make config` writes it again).",
        "Write a configuration that fits your data with `bigseg init FOLDER --input FILE`. A configuration names only "
        "what differs from the defaults. Unknown keys are refused.",
        "Whatever you change, only what depends on it runs again: the tables name the stages that a key reaches; what "
        "follows them runs again as far as their results change, and the report, which shows all settings, is written "
        "again. What is under `execution` changes no result and starts nothing: a step that is done keeps the batches "
        "that it was done in. To have all steps cut anew, delete `work/<sample>/status`: all jobs start, and skip "
        "their blocks.",
        "Editors that know JSON schemas complete and check the file with this first line: "
        "`# yaml-language-server: $schema=config.schema.json`.",
        "## Top level",
        _table(Config, skip_models=True),
        "## `samples.<name>`",
        _table(Sample, "samples.<name>."),
        f"## {_listed([f'`{role}`' for role in ROLES])} of a sample",
        _table(Input),
        "## More keys of `affinities`",
        _table_of(_own_fields(Affinities)),
    ]
    for name, field in Config.model_fields.items():
        if (model := _model(field)) is not None:
            parts += _reference_section(name, field, model)
    return "\n\n".join(parts) + "\n"


def _section(name: str, model: type[BaseModel], changed: dict[str, Any]) -> list[str]:
    if not model.model_fields:
        return [f"{name}: {{}}"]
    lines = [f"{name}:"]
    for key, field in model.model_fields.items():
        lines += _comment(_description(field), 2)
        inner = _model(field)
        if inner is not None:
            lines += _indent(_section(key, inner, changed.get(key, {})), 2)
        else:
            lines.append(f"  {key}: {_value(changed.get(key, field.default))}")
    return lines


def _reference_section(name: str, field: FieldInfo, model: type[BaseModel]) -> list[str]:
    """Heading, meaning and keys of a section, and of the sections inside it."""
    parts = [f"## `{name}`", _description(field)]
    parts.append(_table(model, f"{name}.", skip_models=True) if model.model_fields else "No keys yet.")
    for key, inner in model.model_fields.items():
        if (nested := _model(inner)) is not None:
            parts += _reference_section(f"{name}.{key}", inner, nested)
    return parts


def _own_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields that a kind of input has and others have not."""
    return {name: field for name, field in model.model_fields.items() if name not in Input.model_fields}


def _table(model: type[BaseModel], prefix: str | None = None, *, skip_models: bool = False) -> str:
    fields = model.model_fields.items()
    return _table_of({name: field for name, field in fields if not (skip_models and _model(field) is not None)}, prefix)


def _table_of(fields: dict[str, FieldInfo], prefix: str | None = None) -> str:
    """A row per key; with ``prefix``, which makes it a key of the whole configuration, also what it reaches."""
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    if prefix is not None:
        rows = ["| key | type | default | meaning | reaches |", "|---|---|---|---|---|"]
    for name, field in fields.items():
        default = "required" if field.is_required() else f"`{_value(field.default)}`"
        row = f"| `{name}` | {_type(field.annotation)} | {default} | {_description(field)} |"
        rows.append(row if prefix is None else f"{row} {_reached(prefix + name)} |")
    return "\n".join(rows)


def _reached(key: str) -> str:
    """The stages that a key reaches, and where it does; of a volume that must be given those of its path."""
    uses = DEPENDENCE[key] if key in DEPENDENCE else DEPENDENCE[f"{key}.path"]
    by_condition: dict[str, list[str]] = {}
    for use in uses:
        by_condition.setdefault(use.where, []).append(f"`{use.stage}`")
    told = [", ".join(stages) + (f" ({CONDITIONS[where]})" if where else "") for where, stages in by_condition.items()]
    return "; ".join(told) or "nothing"


def _type(annotation: Any) -> str:
    """A type in words that users know."""
    if annotation is None or annotation is type(None):
        return "nothing"
    if hasattr(annotation, "__metadata__"):
        return _type(annotation.__origin__)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "see below"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return "entries by name"
    if arguments:
        return " or ".join(_type(a) for a in arguments if a is not type(None))
    return {int: "whole number", float: "number", bool: "true or false", str: "text"}[annotation]


def _model(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _description(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _value(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump()
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _comment(text: str, indent: int) -> list[str]:
    return _indent([f"# {line}" for line in textwrap.wrap(text, _WIDTH - indent)], indent)


def _indent(lines: list[str], spaces: int) -> list[str]:
    return [" " * spaces + line for line in lines]
