"""Change values in a configuration file and nothing else: comments, order and spelling stay as the user wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from bigseg.errors import UserError


def with_values(text: str, values: Mapping[str, Mapping[str, Any]]) -> str:
    """A YAML text in which some keys of some sections have other values.

    Args:
        text: the file.
        values: new values by section and key.

    Raises:
        UserError: the text is laid out so that the values cannot be changed by themselves.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        expected = yaml.safe_load(text)
        if not isinstance(root, yaml.MappingNode):
            raise ValueError("no mapping")
        sections = {key.value: node for key, node in root.value}
        changes: list[tuple[int, int, str]] = []
        expected = merged(expected, values)
        for name, content in values.items():
            if name in sections:
                changes += _changes(sections[name], content)
            else:
                start = "" if text.endswith("\n") else "\n"
                lines = [f"  {key}: {_scalar(value)}\n" for key, value in content.items()]
                changes.append((len(text), len(text), f"{start}\n{name}:\n{''.join(lines)}"))
        for first, past, new in sorted(changes, reverse=True):
            text = text[:first] + new + text[past:]
        if yaml.safe_load(text) != expected:
            raise ValueError("another value would change")
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise UserError(
            "the configuration is laid out so that its values cannot be changed by themselves",
            f"write into it: {yaml.safe_dump(dict(values)).strip()}",
        ) from error
    return text


def _changes(section: yaml.Node, content: Mapping[str, Any]) -> list[tuple[int, int, str]]:
    """(first character, past the last one, new text) for each key of a section."""
    if not isinstance(section, yaml.MappingNode):
        raise ValueError("a section is no mapping")
    found = {key.value: node for key, node in section.value}
    changes: list[tuple[int, int, str]] = []
    for key, value in content.items():
        if key in found and isinstance(value, Mapping):
            changes += _changes(found[key], value)
        elif key in found:
            changes.append((found[key].start_mark.index, found[key].end_mark.index, _scalar(value)))
    new = [f"{key}: {_scalar(value)}" for key, value in content.items() if key not in found]
    if new and section.flow_style:
        place = section.start_mark.index + 1
        changes.append((place, place, ", ".join(new) + (", " if found else "")))
    elif new:
        place, indent = section.start_mark.index, " " * section.start_mark.column
        changes.append((place, place, "".join(f"{line}\n{indent}" for line in new)))
    return changes


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Sections of which some keys are replaced by those of another mapping."""
    found = dict(one)
    for key, value in other.items():
        found[key] = merged(found.get(key) or {}, value) if isinstance(value, Mapping) else value
    return found


def _scalar(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()
