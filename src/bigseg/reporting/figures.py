"""Figures as PNG bytes, drawn by Matplotlib without a display or global state."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox, TransformedBbox
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar  # type: ignore[import-untyped]

_PANEL_DPI = 100
_INK = "#1f2933"
_SHADE = {"facecolor": "black", "alpha": 0.5, "linewidth": 0}
"""Behind white letters, which must be readable on any picture."""
_NARROW = 50
"""Planes of fewer pixels across have no room for letters."""
_ROOM_FOR_BAR = 80
_LOG_FROM = 30
"""Sizes that differ by more than this factor are counted in bins of equal ratio."""
_GAP = 8
"""Pixels between planes laid beside each other."""


@dataclass(frozen=True)
class Orthogonal:
    """Up to three planes through one point, as Fiji lays them out: xy, yz turned to its right, xz below.

    Attributes:
        planes: pictures (rows, columns, 3) uint8 by name (``xy``, ``xz``, ``yz``).
        point: pixel (z, y, x) at which the planes cross.
    """

    planes: dict[str, np.ndarray]
    point: tuple[float, float, float]


@dataclass(frozen=True)
class OverviewRow:
    """One time point of the overview.

    Attributes:
        title: written to the left; empty for a single time point.
        columns: what is shown, by heading; all with the same planes.
    """

    title: str
    columns: dict[str, Orthogonal]


def panel_png(picture: np.ndarray, pixel_um: float, *, bar: bool) -> bytes:
    """A picture (rows, columns, 3) uint8 as it is, with a scale bar if asked for and if there is room."""
    rows, columns = picture.shape[:2]
    figure = Figure(figsize=(columns / _PANEL_DPI, rows / _PANEL_DPI), dpi=_PANEL_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    _show(axes, picture)
    if bar and min(rows, columns) >= _ROOM_FOR_BAR:
        draw_scale_bar(axes, (0, 0, columns, rows), pixel_um, font_size=max(9.0, columns / 45))
    return png(figure, dpi=_PANEL_DPI)


def overview_png(title: str, rows: Sequence[OverviewRow], pixel_um: float) -> bytes:
    """Planes through the middle of the volume: a row per time point, a column per kind of picture."""
    first = next(iter(rows[0].columns.values()))
    canvas = _composed(first)
    proportion = canvas.shape[0] / canvas.shape[1]
    width = 4.2 if proportion <= 1.5 else 6.3 / proportion
    gap, header, left = 0.08, 0.68, 0.35 if any(row.title for row in rows) else 0.08  # inches
    size = (left + len(rows[0].columns) * (width + gap), header + len(rows) * (width * proportion + gap))
    figure = Figure(figsize=size, dpi=160)
    figure.text(left / size[0], 1 - 0.1 / size[1], title, ha="left", va="top", fontsize=12, color=_INK)
    for r, row in enumerate(rows):
        for c, (heading, planes) in enumerate(row.columns.items()):
            box = (
                (left + c * (width + gap)) / size[0],
                1 - (header + (r + 1) * width * proportion + r * gap) / size[1],
                width / size[0],
                width * proportion / size[1],
            )
            axes = figure.add_axes(box)
            _show(axes, _composed(planes))
            _draw_orthogonal(axes, planes, pixel_um, bar=r == 0 and c == 0)
            if r == 0:
                axes.set_title(heading, fontsize=11, color=_INK, pad=5, loc="left")
            if c == 0 and row.title:
                axes.annotate(
                    row.title,
                    (0, 0.5),
                    (-5, 0),
                    "axes fraction",
                    "offset points",
                    rotation=90,
                    ha="right",
                    va="center",
                    fontsize=11,
                    color=_INK,
                )
    return png(figure, dpi=160)


def sizes_png(sizes: np.ndarray, at_edge: np.ndarray, unit: str) -> bytes:
    """Histogram of the sizes of objects.

    Args:
        sizes: (n,) volumes or areas.
        at_edge: (n,) bool, objects that the edge of the volume cuts off.
        unit: of ``sizes``, ``µm³`` or ``µm²``.
    """
    what = "Volume" if unit == "µm³" else "Area"
    figure = Figure(figsize=(6.4, 3.6), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(f"{what} ({unit})")
    axes.set_ylabel("Objects")
    if not len(sizes):
        axes.text(
            0.5, 0.5, "no objects", ha="center", va="center", transform=axes.transAxes, fontsize=13, color="#7b8794"
        )
        axes.set(xticks=[], yticks=[])
        return png(figure, dpi=160)
    bins = _bins(sizes)
    groups = [(~at_edge, "whole", "#2f6f9f"), (at_edge, "cut off by the edge of the image", "#b8cfe0")]
    filled = [(sizes[own], f"{label} ({int(own.sum()):,})", colour) for own, label, colour in groups if own.any()]
    axes.hist(
        [values for values, _, _ in filled],
        bins=list(bins),
        stacked=True,
        label=[label for _, label, _ in filled],
        color=[colour for _, _, colour in filled],
        edgecolor="white",
        linewidth=0.6,
    )
    median = float(np.median(sizes))
    axes.axvline(median, color="#c2410c", linewidth=1.4, label=f"median of all: {median:.3g} {unit}")
    if _ratio(sizes) > _LOG_FROM:
        axes.set_xscale("log")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=9)
    return png(figure, dpi=160)


def scale_bar_um(width_um: float) -> float:
    """A round length, 1, 2 or 5 times a power of ten, of at most a quarter of a width."""
    limit = width_um / 4
    power = 10.0 ** math.floor(math.log10(limit))
    return next(step * power for step in (5, 2, 1) if step * power <= limit)


def length_text(length_um: float) -> str:
    """A length in the unit that suits it: nm, µm or mm."""
    for factor, unit in ((1e-3, "mm"), (1.0, "µm")):
        if length_um * factor >= 0.9999:
            return f"{length_um * factor:g} {unit}"
    return f"{length_um * 1e3:g} nm"


def _composed(orthogonal: Orthogonal) -> np.ndarray:
    """The planes on one white picture."""
    places = _places(orthogonal.planes)
    height = max(y + rows for _, y, _, rows in places.values())
    width = max(x + columns for x, _, columns, _ in places.values())
    canvas = np.full((height, width, 3), 255, np.uint8)
    for name, (x, y, columns, rows) in places.items():
        canvas[y : y + rows, x : x + columns] = _turned(name, orthogonal.planes[name])
    return canvas


def _places(planes: dict[str, np.ndarray]) -> dict[str, tuple[int, int, int, int]]:
    """Where each plane lies: (x, y, columns, rows)."""
    found: dict[str, tuple[int, int, int, int]] = {}
    right = down = 0
    for name in ("xy", "yz", "xz"):
        if name in planes:
            rows, columns = _turned(name, planes[name]).shape[:2]
            found[name] = (right if name == "yz" else 0, down if name == "xz" else 0, columns, rows)
            right = max(right, columns + _GAP)
            down = max(down, rows + _GAP)
    return found


def _turned(name: str, plane: np.ndarray) -> np.ndarray:
    """The plane as it lies in the layout: y runs down in yz, as in xy beside it."""
    return plane.transpose(1, 0, 2) if name == "yz" else plane


def _draw_orthogonal(axes: Axes, orthogonal: Orthogonal, pixel_um: float, *, bar: bool) -> None:
    """Names of the planes, lines where they cut each other, a scale bar."""
    z, y, x = orthogonal.point
    across_and_down = {"xy": (x, y), "yz": (z, y), "xz": (x, z)}
    places = _places(orthogonal.planes)
    for name, (left, top, columns, rows) in places.items():
        if len(places) > 1:
            across, down = across_and_down[name]
            # a line along a narrow plane would hide most of it
            if columns >= _NARROW:
                _draw_line(axes, [left + across] * 2, [top, top + rows - 1])
            if rows >= _NARROW:
                _draw_line(axes, [left, left + columns - 1], [top + down] * 2)
        if len(places) > 1 and min(rows, columns) >= _NARROW:
            shade = {**_SHADE, "pad": 1.5}
            axes.annotate(
                name, (left, top), (4, -4), textcoords="offset points", color="white", fontsize=8, va="top", bbox=shade
            )
    if bar:
        draw_scale_bar(axes, places.get("xy") or next(iter(places.values())), pixel_um, font_size=9)


def _show(axes: Axes, picture: np.ndarray) -> None:
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.set_autoscale_on(False)
    axes.axis("off")


def _draw_line(axes: Axes, across: Sequence[float], down: Sequence[float]) -> None:
    axes.plot(across, down, color="white", linewidth=0.7, linestyle=(0, (4, 4)), alpha=0.8)


def draw_scale_bar(axes: Axes, place: tuple[int, int, int, int], pixel_um: float, font_size: float) -> None:
    """Add a white bar with its length, at the lower right of a plane at (x, y, columns, rows)."""
    left, top, columns, rows = place
    length = scale_bar_um(columns * pixel_um)
    bar = AnchoredSizeBar(
        axes.transData,
        length / pixel_um,
        length_text(length),
        "lower right",
        pad=0.3,
        borderpad=0.4,
        sep=3,
        color="white",
        label_top=True,
        size_vertical=columns / 130,
        fontproperties=FontProperties(size=font_size),
        bbox_to_anchor=TransformedBbox(Bbox.from_bounds(left, top, columns, rows), axes.transData),
    )
    bar.patch.set(**_SHADE)
    axes.add_artist(bar)


def _ratio(sizes: np.ndarray) -> float:
    return float(sizes.max() / sizes.min())


def _bins(sizes: np.ndarray) -> np.ndarray:
    """Edges of bins of equal width, or of equal ratio where sizes differ widely."""
    count = int(np.clip(round(2 * len(sizes) ** (1 / 3)), 8, 60))
    low, high = float(sizes.min()), float(sizes.max())
    if _ratio(sizes) > _LOG_FROM:
        return np.geomspace(low, high, count + 1)
    if low == high:
        return np.array([0.5 * low, 1.5 * low])
    return np.linspace(low, high, count + 1)


def png(figure: Figure, dpi: int) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
