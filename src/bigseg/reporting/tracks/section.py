"""The section of the page about tracks: everything that is drawn and said."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from bigseg.layout import Layout
from bigseg.reporting.facts import Score
from bigseg.reporting.overlay import Palette
from bigseg.reporting.planes import Volumes
from bigseg.reporting.tracks import words
from bigseg.reporting.tracks.animation import Animation
from bigseg.reporting.tracks.figures import history_png, lineages_png
from bigseg.reporting.tracks.history import history_of
from bigseg.reporting.tracks.strip_figure import strips_png
from bigseg.reporting.tracks.strips import PIXELS, choose_strips, read_crop, side_um
from bigseg.reporting.tracks.table import read_tracks
from bigseg.reporting.tracks.trees import plant

if TYPE_CHECKING:
    from bigseg.stages.step import Parameters


@dataclass(frozen=True)
class Section:
    """What the page shows; pictures are PNG.

    Attributes:
        lineages: the trees.
        history: objects, events and sizes over time.
        strips: a few tracks; None where there are none, or the image has no xy planes.
        animation: the movie, an animated WebP; None likewise.
        animated: what it shows.
        summary: figures by their names.
        drawn: how many lineages the picture shows.
        scores: scores of the tracks.
    """

    lineages: bytes
    history: bytes
    strips: bytes | None
    animation: bytes | None
    animated: str
    summary: dict[str, str]
    drawn: str
    scores: list[Score]


class TrackPictures:
    """The tracks of a finished movie, and which of them are shown."""

    def __init__(self, layout: Layout, parameters: Parameters) -> None:
        """Read the table; ``parameters`` are those of step ``report.page``.

        Raises:
            UserError: ``tracks.parquet`` is missing or damaged.
        """
        self._layout = layout
        self._tracks = read_tracks(layout, parameters["times"])
        self._trees = plant(self._tracks)
        _, *across = parameters["shape"]
        self._strips = choose_strips(self._tracks) if min(across) > 1 else []
        self._animation = Animation(layout, parameters) if len(self._tracks) and min(across) > 1 else None

    @property
    def shown(self) -> np.ndarray:
        """Numbers of the tracks that need a colour, (n,) uint64."""
        members = [row for strip in self._strips for row in strip.members]
        shown = np.union1d(self._trees.rows, np.array(members, np.int64)).astype(np.uint64) + np.uint64(1)
        return shown if self._animation is None else np.union1d(shown, self._animation.shown)

    @property
    def apart(self) -> np.ndarray:
        """Pairs of numbers of tracks that are to be told apart, (m, 2) uint64: those that touch, and relatives."""
        touching = [] if self._animation is None else [self._animation.touching]
        return np.concatenate([self.families, *touching])

    @property
    def families(self) -> np.ndarray:
        """Pairs of numbers of mother and daughter, and of sisters, among these tracks: (m, 2) uint64."""
        shown = set(self.shown.tolist())
        found = [
            pair
            for mother in self._tracks.mothers[np.isin(self._tracks.mothers + 1, self.shown)].tolist()
            for pair in combinations((mother + 1, *(self._tracks.daughters(mother) + 1).tolist()), 2)
            if shown.issuperset(pair)
        ]
        return np.array(found, np.uint64).reshape(-1, 2)

    def draw(self, volumes: Volumes, palette: Palette, unit: str) -> Section:
        """Draw everything.

        Args:
            volumes: where image and tracks are read.
            palette: has the colours of :attr:`shown`.
            unit: of sizes, ``µm³`` or ``µm²``.
        """
        drawn = words.what_is_drawn(self._tracks, self._trees)
        thickness = volumes.voxel_size_um[0] if unit == "µm²" else 1.0
        return Section(
            lineages_png(f"{self._layout.sample}: {drawn}", self._tracks, self._trees, palette),
            history_png(history_of(self._tracks), unit, thickness),
            self._draw_strips(volumes, palette),
            None if self._animation is None else self._animation.draw(palette),
            "" if self._animation is None else words.what_moves(self._animation, len(self._tracks.times)),
            words.summary(self._tracks),
            drawn,
            words.read_tracking_scores(self._layout),
        )

    def _draw_strips(self, volumes: Volumes, palette: Palette) -> bytes | None:
        if not self._strips:
            return None
        side = side_um(self._tracks, self._strips, volumes)
        crops = [
            (strip, [read_crop(volumes, self._tracks, strip, at, side) for at in strip.at]) for strip in self._strips
        ]
        return strips_png(crops, self._tracks.times, palette, side / PIXELS)
