"""The part of the report about block faces: a picture and what it says."""

from __future__ import annotations

from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from bigseg.kernels.seam_summary import AxisExcess, Errors, SeamSummary
from bigseg.layout import Layout
from bigseg.reporting.figures import png
from bigseg.volumes.figures import read_figures

_COLOURS = {"z": "#2f6f9f", "y": "#3f8f5f", "x": "#8a5fae"}
_FACE = "#c2410c"
_SOFT = "#5f6c7b"


def read_seams(layout: Layout) -> SeamSummary:
    """The figures that stage ``seams`` wrote.

    Raises:
        UserError: ``seams.json`` is missing or damaged.
    """
    return cast(SeamSummary, read_figures(layout.seams, SeamSummary.__required_keys__))


def seams_png(summary: SeamSummary) -> bytes:
    """Surface on planes by their distance from block faces, for each axis, and errors likewise if there is a truth."""
    errors = summary["errors"]
    panels = 1 if errors is None else 2
    figure = Figure(figsize=(5.6 * panels, 3.6), dpi=160, layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _draw_surface(axes[0], summary["axes"])
    if errors is not None:
        _draw_errors(axes[1], errors)
    return png(figure, dpi=160)


def _draw_surface(axes: Axes, found: list[AxisExcess]) -> None:
    """Density of surface, relative to what is expected of a block face."""
    _prepare(axes, "Planes: voxels from the nearest block face", "Surface, relative to that beside faces")
    axes.axvspan(-0.5, 0.5, color=_FACE, alpha=0.12, linewidth=0)
    axes.axhline(1, color=_SOFT, linewidth=0.8, linestyle=(0, (4, 3)))
    highest = 1.5
    for number, axis in enumerate(found):
        positions = np.array(axis["positions"], float)
        surface = np.divide(axis["surface"], positions, out=np.full(len(positions), np.nan), where=positions > 0)
        offsets = np.array(axis["offsets"])
        at_face = float(surface[offsets == 0][0])
        ratio, error = axis["ratio"], axis["ratio_error"]
        others = surface[(offsets != 0) & (positions > 0)]
        beside = at_face / ratio if ratio else float(others.mean()) if len(others) else 0.0
        if not beside > 0:
            continue
        colour = _COLOURS[axis["axis"]]
        relative = surface / beside
        highest = max(highest, 1.08 * float(np.nanmax(relative)))
        label = f"{axis['axis']}: {_faces(axis['faces'])}"
        if ratio is not None:
            label += f", {ratio:.2f}" + ("" if error is None else f" ± {error:.2f}")
        axes.plot(offsets, relative, color=colour, linewidth=1.3, marker="o", markersize=2.5, label=label)
        shift = 0.16 * (number - (len(found) - 1) / 2)  # beside each other, where the error bars would hide each other
        axes.errorbar(
            shift,
            at_face / beside,
            yerr=None if error is None else 2 * error,
            color=colour,
            marker="o",
            markersize=6,
            markeredgecolor="white",
            capsize=3,
            zorder=3,
        )
    axes.set_ylim(0, highest)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda offset, _: "face" if offset == 0 else f"{offset:+.0f}"))
    _add_legend(axes)


def _draw_errors(axes: Axes, errors: Errors) -> None:
    """Share of voxels in error."""
    _prepare(axes, "Voxels: distance from the nearest block face", "Voxels in error")
    voxels, wrong = np.array(errors["voxels"], float), np.array(errors["errors"], float)
    share = np.divide(wrong, voxels, out=np.full(len(voxels), np.nan), where=voxels > 0)
    distances = np.arange(1, len(voxels))
    axes.bar(distances, share[:-1], color=_FACE, alpha=0.75, width=0.8)
    if errors["near"] is not None:
        label = f"near a face: {errors['near']:.2%}"
        axes.plot([0.5, len(voxels) - 0.5], [errors["near"]] * 2, color=_FACE, linewidth=1.4, label=label)
    if errors["far"] is not None:
        axes.axhline(errors["far"], color="#2f6f9f", linewidth=1.6, label=f"farther away: {errors['far']:.2%}")
    highest = np.nanmax(share) if (voxels > 0).any() else 0
    axes.set_ylim(0, max(1.08 * float(highest), 0.01))
    axes.set_xlim(0.4, len(voxels) - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    _add_legend(axes)


def _prepare(axes: Axes, across: str, up: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(across)
    axes.set_ylabel(up)


def _add_legend(axes: Axes) -> None:
    """Above the panel, where it hides nothing."""
    entries = len(axes.get_legend_handles_labels()[0])
    if entries:
        axes.legend(
            frameon=False, fontsize=9, ncol=entries, loc="lower center", bbox_to_anchor=(0.5, 1), columnspacing=1.2
        )


def _faces(number: int) -> str:
    return f"{number:,} face{'' if number == 1 else 's'}"
