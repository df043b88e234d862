"""The movie as a moving picture: the plane amid the volume, time point after time point, tracks in colour."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bigseg.layout import Layout
from bigseg.reporting.overlay import Palette, colour_over, grey, touching_pairs
from bigseg.reporting.planes import PlaneReader

if TYPE_CHECKING:
    from bigseg.stages.step import Parameters

MOST_FRAMES = 120
"""Of a longer movie as many time points are shown, evenly spread: all frames are in memory, half a MB each."""
MOST_BYTES = 400_000
"""If it is larger it is made again, coarser."""
_SCALE = {"longest": 400, "shortest": 320, "longest_plane": 512}
_PERCENTILES = (0.5, 99.7)
"""Intensities that become black and white, over all frames: a stain that bleaches is seen to."""
_SAMPLES = 4
"""Of every so many rows and columns one counts for these."""
_OPACITY = 0.35
_ATTEMPTS = ((1.0, 80), (1.0, 60), (0.75, 60), (0.75, 40), (0.5, 40), (0.5, 20), (0.25, 20))
"""Size, and quality of compression, best first; the first that is small enough is taken, else the last."""
_WHOLE_MS, _SHORTEST_MS, _LONGEST_MS = 12_000, 80, 600
"""How long the movie takes if it can, and bounds for a frame."""


class Animation:
    """Looks at all planes for colours and contrast, and reads them again to draw them: none is kept."""

    def __init__(self, layout: Layout, parameters: Parameters) -> None:
        """Gather which tracks are seen; ``parameters`` are those of step ``report.page``."""
        self._reader = PlaneReader(layout, parameters, **_SCALE)
        ((self._cut, *_), *_) = self._reader.canvas.cuts(1)
        self.times = _spread(parameters["times"])
        ids, pairs, intensities = [], [], []
        for time in self.times:
            tracks = self._tracks(time)
            ids.append(np.unique(tracks))
            pairs.append(touching_pairs(tracks))
            intensities.append(self._reader.image(time, self._cut)[::_SAMPLES, ::_SAMPLES].reshape(-1))
        seen = np.unique(np.concatenate(ids)).astype(np.uint64)
        self.shown = seen[seen != 0]
        """(n,) uint64 tracks that need a colour."""
        self.touching = np.unique(np.concatenate(pairs), axis=0).astype(np.uint64)
        """(m, 2) uint64 pairs of these that are to be told apart."""
        low, high = np.percentile(np.concatenate(intensities), _PERCENTILES)
        self._limits = (float(low), float(high))

    @property
    def where(self) -> str:
        """Which plane it is."""
        volumes = self._reader.volumes
        at = f" at {self._cut.describe(volumes.voxel_size_um)}" if volumes.shape[self._cut.axis] > 1 else ""
        return f"the {self._cut.name} plane{at}"

    def draw(self, palette: Palette) -> bytes:
        """The frames as a WebP that repeats; ``palette`` has the colours of :attr:`shown`."""
        return webp(list(self.frames(palette)))

    def frames(self, palette: Palette) -> Iterator[np.ndarray]:
        """Pictures (rows, columns, 3) uint8, one for each of :attr:`times`."""
        for time in self.times:
            raw = grey(self._reader.image(time, self._cut), *self._limits)
            yield _numbered(colour_over(raw, self._tracks(time), palette, _OPACITY), str(time))

    def _tracks(self, time: int) -> np.ndarray:
        tracks = self._reader.tracks(time, self._cut)
        if tracks is None:
            raise ValueError("an animation is of a movie that is tracked")
        return tracks


def webp(frames: Sequence[np.ndarray]) -> bytes:
    """Frames (rows, columns, 3) uint8 as an animated WebP of no more than :data:`MOST_BYTES`, if that can be."""
    each = int(np.clip(_WHOLE_MS / len(frames), _SHORTEST_MS, _LONGEST_MS))
    written = b""
    for scale, quality in _ATTEMPTS:
        first, *others = (_scaled(frame, scale) for frame in frames)
        content = io.BytesIO()
        first.save(
            content,
            "WEBP",
            save_all=True,
            append_images=others,
            duration=[each] * len(others) + [2 * each],  # a pause before it begins again
            loop=0,
            quality=quality,
            method=2,
        )
        written = content.getvalue()
        if len(written) <= MOST_BYTES:
            break
    return written


def _scaled(frame: np.ndarray, scale: float) -> Image.Image:
    picture = Image.fromarray(frame)
    rows, columns = (max(1, round(length * scale)) for length in frame.shape[:2])
    return picture if scale == 1 else picture.resize((columns, rows), Image.Resampling.BOX)


def _spread(times: Sequence[int]) -> list[int]:
    """All time points, or as many of them as are shown."""
    at = np.round(np.linspace(0, len(times) - 1, min(len(times), MOST_FRAMES))).astype(int)
    return [times[position] for position in at]


def _numbered(picture: np.ndarray, words: str) -> np.ndarray:
    """The picture with words in its corner."""
    drawn = Image.fromarray(picture)
    pen = ImageDraw.Draw(drawn)
    font = ImageFont.load_default(max(10, min(picture.shape[:2]) // 16))
    left, top, right, bottom = pen.textbbox((6, 4), words, font=font)
    pen.rectangle((left - 3, top - 3, right + 3, bottom + 3), fill=(0, 0, 0))
    pen.text((6, 4), words, font=font, fill=(255, 255, 255))
    return np.asarray(drawn)
