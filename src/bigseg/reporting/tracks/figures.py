"""Pictures of lineages and of figures over time, as PNG bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bigseg.reporting.figures import png
from bigseg.reporting.overlay import Palette
from bigseg.reporting.tracks.history import History
from bigseg.reporting.tracks.table import Tracks
from bigseg.reporting.tracks.trees import Trees

_INK = "#1f2933"
_SOFT = "#5f6c7b"
_ALARM = "#c2410c"
_DPI = 160
_LINE_INCHES = 0.145
"""From one track to the next below it."""
_SMALL = 6.5
"""Points of the numbers of tracks."""
_RIM = {"markeredgecolor": _INK, "markeredgewidth": 0.8}
_ABOVE = {"ha": "center", "va": "bottom"}
_BEHIND = {"ha": "left", "va": "center"}
_NARROWEST = 0.025
"""Share of the movie that a track must last to have its number above it."""


def lineages_png(title: str, tracks: Tracks, trees: Trees, palette: Palette) -> bytes:
    """Lineages: time runs to the right, a line is a track in the colour of its object, a fork is a division.

    Args:
        title: of the picture.
        tracks: all tracks.
        trees: which of them are drawn, and where.
        palette: has the colours of the drawn ones, by their numbers.
    """
    depth = float(trees.line.max(initial=0.0)) + 1
    figure = Figure(figsize=(9.0, 1.5 + max(depth, 5) * _LINE_INCHES), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title(title, fontsize=10, color=_INK, loc="left")
    axes.set_xlabel("Time point")
    axes.set_yticks([])
    edges = time_edges(tracks.times)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(max(depth, 5) - 0.4, -0.9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not len(trees.rows):
        _say_nothing(axes, "no tracks")
        return png(figure, dpi=_DPI)
    axes.grid(axis="x", color="#e6eaee", linewidth=0.6)
    axes.set_axisbelow(True)
    _draw_lines(axes, tracks, trees, palette, edges)
    _draw_ends(figure, axes, tracks, trees, edges)
    _write_numbers(axes, tracks, trees, edges)
    return png(figure, dpi=_DPI)


def time_edges(times: np.ndarray) -> np.ndarray:
    """Where what belongs to each time point begins and ends on an axis of time: (m + 1,), midway between them."""
    if len(times) < 2:
        return np.array([times[0] - 0.5, times[0] + 0.5])
    middles = (times[1:] + times[:-1]) / 2
    return np.concatenate([[times[0] - 0.5], middles, [times[-1] + 0.5]])


def fork_segments(tracks: Tracks, trees: Trees, edges: np.ndarray) -> list[list[tuple[float, float]]]:
    """The upright lines from daughter to daughter, of divisions whose daughters are drawn."""
    line = dict(zip(trees.rows.tolist(), trees.line.tolist(), strict=True))
    found = []
    for row in trees.rows.tolist():
        lines = [line[d] for d in tracks.daughters(row).tolist() if d in line]
        if lines:
            at = float(edges[tracks.last[row] + 1])
            found.append([(at, min(lines)), (at, max(lines))])
    return found


def _draw_lines(axes: Axes, tracks: Tracks, trees: Trees, palette: Palette, edges: np.ndarray) -> None:
    """Lines with a thin dark rim, so that bright colours show on white."""
    left, right = edges[tracks.first[trees.rows]], edges[tracks.last[trees.rows] + 1]
    lines = [[(x0, y), (x1, y)] for x0, x1, y in zip(left, right, trees.line, strict=True)]
    colours = palette.of(trees.rows + 1) / 255
    forks = fork_segments(tracks, trees, edges)
    axes.add_collection(LineCollection(forks, colors=_INK, linewidths=1.1, capstyle="round", zorder=2))
    axes.add_collection(LineCollection(lines, colors=_INK, linewidths=3.8, capstyle="butt", zorder=3))
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=2.6, capstyle="butt", zorder=4))


def _draw_ends(figure: Figure, axes: Axes, tracks: Tracks, trees: Trees, edges: np.ndarray) -> None:
    """Marks where tracks begin or end inside the movie, and what the marks mean."""
    rows, handles = trees.rows, []
    marks = (
        (tracks.begins_inside[rows], edges[tracks.first[rows]], "begins inside the movie", "o", "white"),
        (tracks.ends_inside[rows], edges[tracks.last[rows] + 1], "ends inside the movie", "X", "#ff5a36"),
    )
    for own, at, meaning, marker, colour in marks:
        style: dict[str, Any] = {"marker": marker, "markersize": 6, "color": colour, **_RIM}
        if own.any():
            axes.plot(at[own], trees.line[own], linestyle="none", zorder=5, clip_on=False, **style)
            handles.append(Line2D([], [], linestyle="none", label=meaning, **style))
    if handles:
        figure.legend(handles=handles, loc="outside lower left", ncols=2, frameon=False, fontsize=8)


def _write_numbers(axes: Axes, tracks: Tracks, trees: Trees, edges: np.ndarray) -> None:
    """The number of each track: of leaves behind their ends, of others above their middles where there is room."""
    drawn = set(tracks.parent[trees.rows].tolist())
    for row, line, hidden in zip(trees.rows.tolist(), trees.line.tolist(), trees.hidden.tolist(), strict=True):
        left, right = edges[tracks.first[row]], edges[tracks.last[row] + 1]
        if row in drawn:
            if (right - left) / (edges[-1] - edges[0]) < _NARROWEST:
                continue
            at, shift, place = (left + right) / 2, (0.0, 2.2), _ABOVE
        else:
            at, shift, place = right, (6.0, 0.0), _BEHIND
        text = f"{row + 1}" + (f", then {hidden:,} more" if hidden else "")
        style: dict[str, Any] = {"fontsize": _SMALL, "color": _SOFT, "annotation_clip": False, **place}
        axes.annotate(text, (float(at), line), shift, textcoords="offset points", **style)


def history_png(history: History, unit: str, voxel_um: float) -> bytes:
    """Objects, events and sizes over time, one below the other.

    Args:
        history: the figures.
        unit: of sizes, ``µm³`` or ``µm²``.
        voxel_um: thickness by which volumes are divided to give areas; 1 for volumes.
    """
    figure = Figure(figsize=(7.2, 6.4), dpi=_DPI, layout="constrained")
    above, middle, below = figure.subplots(3, 1, sharex=True)
    for axes in (above, middle, below):
        axes.spines[["top", "right"]].set_visible(False)
    edges = time_edges(history.times)
    below.set_xlim(edges[0], edges[-1])
    below.set_xlabel("Time point")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))

    mark = {"marker": "o", "markersize": 3} if len(history.times) <= 100 else {}
    above.plot(history.times, history.objects, color="#2f6f9f", linewidth=1.6, **mark)
    above.set_ylim(0, 1.08 * max(1, int(history.objects.max(initial=0))))
    above.set_ylabel("Objects")

    _draw_events(middle, history, edges)

    low, median, high = history.volumes / voxel_um
    below.fill_between(history.times, low, high, color="#b8cfe0", linewidth=0, label="middle half of the objects")
    below.plot(history.times, median, color="#2f6f9f", linewidth=1.6, label="median", **mark)
    below.set_ylabel(f"{'Volume' if unit == 'µm³' else 'Area'} ({unit})")
    if np.isfinite(high).any():
        below.set_ylim(0, 1.3 * float(np.nanmax(high)))
        below.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    else:
        _say_nothing(below, "no objects")
    for axes in (above, middle):
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return png(figure, dpi=_DPI)


def _draw_events(axes: Axes, history: History, edges: np.ndarray) -> None:
    """Divisions, beginnings and, downwards, ends, as bars that fill their time point."""
    up = history.divisions + history.begun
    for values, colour, meaning, counted in (
        (up, "#8fbc8f", "begin", history.begun),
        (history.divisions, "#3f6fd8", "divide", history.divisions),
        (-history.ended, _ALARM, "end", history.ended),
    ):
        axes.stairs(values, edges, fill=True, color=colour, label=f"{meaning} ({int(counted.sum()):,})")
    axes.axhline(0, color=_INK, linewidth=0.8)
    highest = max(1, int(up.max(initial=0)))
    axes.set_ylim(-1.1 * int(history.ended.max(initial=0)), 1.35 * highest)
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.set_ylabel("Tracks that …")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper left")


def _say_nothing(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, fontsize=13, color="#7b8794")
