"""The pictures of a sample's planes: raw, boundary map, objects, and the truth where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bigseg.reporting import overlay
from bigseg.reporting.figures import Orthogonal, OverviewRow
from bigseg.reporting.planes import Cut, PlaneReader, choose_times

TRUTH_COLOUR = (255, 150, 0)
RESULT_COLOUR = (0, 160, 255)
_PERCENTILES = (0.5, 99.7)
"""Intensities that become black and white, over all shown planes of a time point."""

_NO_IDS, _NO_PAIRS = np.empty(0, np.uint64), np.empty((0, 2), np.uint64)

Panels = dict[str, np.ndarray]
"""Pictures (rows, columns, 3) uint8 by heading."""


@dataclass(frozen=True)
class Shown:
    """One plane of one time point."""

    time: int
    cut: Cut
    panels: Panels


class Pictures:
    """Draw planes one by one; no more than one plane of each array is in memory.

    Planes are read twice: first to choose contrast and colours, which all pictures share, then to be drawn. Colours are
    those of objects, or of tracks where the sample is a movie that has them.
    """

    def __init__(
        self,
        reader: PlaneReader,
        times: Sequence[int],
        planes: int,
        also: np.ndarray = _NO_IDS,
        apart: np.ndarray = _NO_PAIRS,
    ) -> None:
        """Look at all planes that will be shown.

        Args:
            reader: reads them.
            times: time points of the sample.
            planes: positions along each axis.
            also: (n,) uint64 tracks that need a colour though they may be in none of the planes.
            apart: (m, 2) uint64 pairs of these that must be told apart like those that touch.
        """
        self._reader = reader
        self.times = choose_times(times)
        self.cuts = reader.canvas.cuts(planes)
        self._limits: dict[int, tuple[float, float]] = {}
        ids, pairs = [also], [apart]
        for time in self.times:
            intensities = []
            for cut in self._all_cuts:
                intensities.append(reader.image(time, cut)[::2, ::2].reshape(-1))
                _, labels = self._coloured(time, cut)
                ids.append(np.unique(labels))
                pairs.append(overlay.touching_pairs(labels))
            low, high = np.percentile(np.concatenate(intensities), _PERCENTILES)
            self._limits[time] = (float(low), float(high))
        found = np.unique(np.concatenate(ids))
        self.palette = overlay.choose_colours(found[found != 0], np.concatenate(pairs))

    def draw(self) -> Iterator[Shown]:
        """All planes, ordered by time point, axis and position."""
        for time in self.times:
            for cut in self._all_cuts:
                yield Shown(time, cut, self._panels(time, cut))

    def overview(self) -> list[OverviewRow]:
        """The middle planes of the first and the last time point."""
        rows = []
        for time in dict.fromkeys((self.times[0], self.times[-1])):
            middle = {cuts[len(cuts) // 2].name: cuts[len(cuts) // 2] for cuts in self.cuts}
            panels = {name: self._panels(time, cut) for name, cut in middle.items()}
            headings = next(iter(panels.values()))
            columns = {
                heading: Orthogonal({name: found[heading] for name, found in panels.items()}, self._point(middle))
                for heading in headings
            }
            rows.append(OverviewRow(f"time point {time}" if len(self.times) > 1 else "", columns))
        return rows

    @property
    def _all_cuts(self) -> list[Cut]:
        return [cut for cuts in self.cuts for cut in cuts]

    def _point(self, middle: dict[str, Cut]) -> tuple[float, float, float]:
        """The pixel (z, y, x) where the middle planes cross; the centre along axes that are not cut."""
        canvas = self._reader.canvas
        point = [canvas.pixels(axis) / 2 for axis in range(3)]
        for cut in middle.values():
            point[cut.axis] = canvas.pixel_of(cut.axis, cut.position)
        return (point[0], point[1], point[2])

    def _panels(self, time: int, cut: Cut) -> Panels:
        raw = overlay.grey(self._reader.image(time, cut), *self._limits[time])
        heading, coloured = self._coloured(time, cut)
        panels = {"raw": raw}
        if (boundary := self._reader.boundary(time, cut)) is not None:
            panels["boundary map"] = overlay.heat(boundary)
        panels[heading] = overlay.colour_over(raw, coloured, self.palette)
        if (truth := self._reader.truth(time, cut)) is not None:
            both = overlay.outline_over(raw, truth, TRUTH_COLOUR, broad=True)
            panels["truth (orange), result (blue)"] = overlay.outline_over(
                both, self._reader.labels(time, cut), RESULT_COLOUR
            )
        return panels

    def _coloured(self, time: int, cut: Cut) -> tuple[str, np.ndarray]:
        """What is painted in colour, with its heading."""
        tracks = self._reader.tracks(time, cut)
        return ("objects", self._reader.labels(time, cut)) if tracks is None else ("tracks", tracks)
