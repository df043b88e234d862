"""The outcome of a sweep: best first, as a table, JSON, CSV and a picture."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from bigseg.kernels.scores import Scores
from bigseg.sweeping.choices import KEYS, Choice, nested

MEASURES = {
    "adapted_rand_error": 1,
    "voi": 1,
    "voi_split": 1,
    "voi_merge": 1,
    "sbd": -1,
    "ap50": -1,
    "map": -1,
    "precision": -1,
    "recall": -1,
}
"""What can be ranked by: 1 where less is better, -1 where more is."""

_SHOWN = ("adapted_rand_error", "voi_split", "voi_merge", "sbd", "ap50", "map", "n_result")
_ROWS = 20
_LINES = 12


@dataclass(frozen=True)
class Scored:
    """A choice with its scores."""

    choice: Choice
    scores: Scores

    def measure(self, by: str) -> float:
        """One of ``MEASURES``."""
        scores: Mapping[str, Any] = self.scores
        return float(self.scores["voi_split"] + self.scores["voi_merge"] if by == "voi" else scores[by])

    def changes(self, configured: Mapping[str, Any]) -> int:
        """Parameters that differ from what is configured."""
        return sum(configured.get(key) != value for key, value in self.choice.parameters.items())

    def distance(self, configured: Mapping[str, Any]) -> float:
        """How far numbers are from those that are configured, so that the edge of a plateau is not preferred."""
        pairs = ((configured.get(key), value) for key, value in self.choice.parameters.items())
        return sum(abs(a - b) for a, b in pairs if isinstance(a, (int, float)) and isinstance(b, (int, float)))

    def sections(self) -> dict[str, Any]:
        """The parameters by section of the configuration."""
        return nested(self.choice.parameters)

    def as_json(self) -> dict[str, Any]:
        """Parameters and scores."""
        return {**self.sections(), "scores": dict(self.scores)}


def ranked(choices: Sequence[Choice], scores: Sequence[Scores], by: str, configured: Mapping[str, Any]) -> list[Scored]:
    """Best first; of equal ones the lower VOI, then what changes the configuration least."""
    found = [Scored(choice, score) for choice, score in zip(choices, scores, strict=True)]

    def rank(one: Scored) -> tuple[float, float, int, float]:
        return MEASURES[by] * one.measure(by), one.measure("voi"), one.changes(configured), one.distance(configured)

    return sorted(found, key=rank)


def table(found: Sequence[Scored], by: str, configured: Mapping[str, Any]) -> str:
    """The best configurations and what to write into ``config.yaml``.

    Args:
        found: ranked.
        by: what they are ranked by.
        configured: parameters of the configuration, which are marked.
    """
    keys, columns = _varying(found), [by, *(name for name in _SHOWN if name != by)]
    rows = [["", *(_name(key) for key in keys), *columns]]
    for place, one in enumerate(found):
        mark = "best" if place == 0 else "" if one.changes(configured) else "now"
        if place < _ROWS or mark:
            cells = [_text(one.choice.parameters.get(key, "")) for key in keys]
            values: dict[str, Any] = {**one.scores, by: one.measure(by)}
            rows.append([mark, *cells, *(_text(values[name], digits=4) for name in columns)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if len(found) > len(rows) - 1:
        lines.append(f"… and {len(found) - len(rows) + 1:,} more; --csv FILE writes all")
    lines += _notes(found, configured)
    lines += ["", "In config.yaml the best is", "", yaml.safe_dump(found[0].sections(), sort_keys=False).rstrip()]
    return "\n".join(lines)


def as_csv(found: Sequence[Scored], by: str) -> str:
    """One row for each, best first."""
    keys = [key for key in KEYS if any(key in one.choice.parameters for one in found)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*keys, *found[0].scores, *(["voi"] if by == "voi" else [])])
    for one in found:
        extra = [one.measure("voi")] if by == "voi" else []
        writer.writerow([*(one.choice.parameters.get(key, "") for key in keys), *one.scores.values(), *extra])
    return text.getvalue()


def as_png(found: Sequence[Scored], by: str) -> bytes:
    """The score over beta, one line for each combination of the other parameters, the best few of them."""
    from matplotlib.figure import Figure

    others = [key for key in _varying(found) if key != "partition.beta"]
    lines: dict[str, list[tuple[float, float]]] = {}
    for one in found:  # best first, so the best lines come first
        parameters = one.choice.parameters
        name = ", ".join(f"{_name(key)} {parameters[key]}" for key in others if key in parameters)
        lines.setdefault(name, []).append((one.choice.config.partition.beta, one.measure(by)))
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for name, points in list(lines.items())[:_LINES]:
        betas, values = zip(*sorted(points), strict=True)
        axes.plot(betas, values, marker="o", markersize=4, linewidth=1.5, label=name)
    best = found[0]
    axes.plot(
        best.choice.config.partition.beta, best.measure(by), "o", markersize=14, fillstyle="none", color="#1f2933"
    )
    axes.set_xlabel("partition.beta")
    axes.set_ylabel(f"{by} ({'less' if MEASURES[by] > 0 else 'more'} is better)")
    shown = f", the best {_LINES} of {len(lines)} lines" if len(lines) > _LINES else ""
    axes.set_title(f"{len(found)} configurations{shown}; best {by} {best.measure(by):.4f}", fontsize=11)
    axes.grid(alpha=0.3)
    if others:
        axes.legend(fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _name(key: str) -> str:
    """The key within its section."""
    return key.rpartition(".")[2]


def _varying(found: Sequence[Scored]) -> list[str]:
    """Parameters that are not the same in all."""
    return [key for key in KEYS if len({repr(one.choice.parameters.get(key)) for one in found}) > 1]


def _notes(found: Sequence[Scored], configured: Mapping[str, Any]) -> list[str]:
    """What the user should know of the best one."""
    notes, best = [], found[0].choice.parameters
    betas = {one.choice.parameters["partition.beta"] for one in found if "partition.beta" in one.choice.parameters}
    if len(betas) > 2 and best.get("partition.beta") in (min(betas), max(betas)):
        where = "lower" if best["partition.beta"] == min(betas) else "higher"
        notes.append(f"The best beta is the last that was tried: try {where} ones.")
    if not found[0].changes(configured):
        notes.append("The best is what is configured now.")
    return ["", *notes] if notes else []


def _text(value: Any, digits: int | None = None) -> str:
    if isinstance(value, float):
        if math.isnan(value):
            return "-"
        return f"{value:.{digits}f}" if digits is not None else f"{value:g}"
    return str(value)
