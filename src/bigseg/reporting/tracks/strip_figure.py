"""The picture of strips: for each a few time points of a track with its outline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import binary_dilation

from bigseg.reporting.figures import draw_scale_bar, png
from bigseg.reporting.overlay import Palette, grey, outlines
from bigseg.reporting.tracks.strips import FRAMES, PIXELS, Crop, Strip

_INK = "#1f2933"
_SOFT = "#5f6c7b"
_DPI = 160
_CROP = 1.15  # inches
_GAP = 0.05
_ABOVE = 0.3
"""For the words above a strip."""
_BELOW = 0.2
"""For the time points below it."""
_BESIDE = (238, 241, 244)
"""Colour of what lies beside the image."""
_PERCENTILES = (0.5, 99.7)
"""Intensities that become black and white, over all crops of a strip."""


def strips_png(
    strips: Sequence[tuple[Strip, Sequence[Crop]]], times: np.ndarray, palette: Palette, pixel_um: float
) -> bytes:
    """Strips below each other, all crops at one scale.

    Args:
        strips: each with its crops, one for each of its time points.
        times: (m,) time points of the movie.
        palette: has the colours of all that is outlined, by the numbers of tracks.
        pixel_um: size of a pixel of the crops.
    """
    height = _ABOVE + _CROP + _BELOW
    size = (FRAMES * (_CROP + _GAP) + _GAP, len(strips) * height)
    figure = Figure(figsize=size, dpi=_DPI)
    for number, (strip, crops) in enumerate(strips):
        top = size[1] - number * height
        figure.text(_GAP / size[0], (top - 0.07) / size[1], words(strip), ha="left", va="top", fontsize=9, color=_INK)
        for place, (at, picture) in enumerate(zip(strip.at, pictures(crops, palette), strict=True)):
            left = _GAP + place * (_CROP + _GAP)
            bottom = top - _ABOVE - _CROP
            axes = figure.add_axes((left / size[0], bottom / size[1], _CROP / size[0], _CROP / size[1]))
            axes.imshow(picture, interpolation="nearest")
            axes.axis("off")
            figure.text(
                (left + _CROP / 2) / size[0],
                (bottom - 0.03) / size[1],
                f"{times[at]}",
                ha="center",
                va="top",
                fontsize=8,
                color=_SOFT,
            )
            if number == place == 0:
                draw_scale_bar(axes, (0, 0, PIXELS, PIXELS), pixel_um, font_size=7)
    return png(figure, dpi=_DPI)


def words(strip: Strip) -> str:
    """What a strip shows."""
    if not strip.daughters:
        return f"Track {strip.track + 1}"
    return f"Track {strip.track + 1} divides into {' and '.join(str(row + 1) for row in strip.daughters)}"


def pictures(crops: Sequence[Crop], palette: Palette) -> list[np.ndarray]:
    """The crops of a strip as pictures (pixels, pixels, 3) uint8 of equal contrast, with outlines."""
    seen = np.concatenate([crop.image[crop.inside] for crop in crops])
    low, high = np.percentile(seen, _PERCENTILES) if len(seen) else (0.0, 1.0)
    found = []
    for crop in crops:
        picture = grey(crop.image, float(low), float(high))
        edge = outlines(crop.tracks)
        edge = binary_dilation(edge) & (crop.tracks != 0)
        picture[edge] = palette.of(crop.tracks[edge])
        picture[~crop.inside] = _BESIDE
        found.append(picture)
    return found
