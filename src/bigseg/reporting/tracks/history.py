"""How many objects and events there are at each time point, and how large the objects are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bigseg.reporting.tracks.table import Rows, Tracks

QUARTILES = (25, 50, 75)


@dataclass(frozen=True, eq=False)
class History:
    """Figures of each time point, (m,) each.

    What changes between two time points is counted at the later one, where it shows first.

    Attributes:
        times: the time points.
        objects: objects that are part of a track.
        divisions: tracks that have divided since the time point before.
        begun: tracks that are new, by no division; none at the first time point.
        ended: tracks that were there at the time point before and have ended, by no division.
        volumes: (3, m) lower quartile, median and upper quartile of the volumes in µm³; NaN without objects.
    """

    times: Rows
    objects: Rows
    divisions: Rows
    begun: Rows
    ended: Rows
    volumes: np.ndarray


def history_of(tracks: Tracks) -> History:
    """Count."""
    count = len(tracks.times)
    at = np.searchsorted(tracks.times, tracks.points["time"])
    order = np.argsort(at, kind="stable")
    objects = np.bincount(at, minlength=count)
    groups = np.split(tracks.points["volume_um3"][order], np.cumsum(objects)[:-1])
    nothing = [np.nan] * len(QUARTILES)
    volumes = np.array([np.percentile(group, QUARTILES) if len(group) else nothing for group in groups]).T
    return History(
        tracks.times,
        objects,
        np.bincount(tracks.last[tracks.mothers] + 1, minlength=count),
        np.bincount(tracks.first[tracks.begins_inside], minlength=count),
        np.bincount(tracks.last[tracks.ends_inside] + 1, minlength=count),
        volumes,
    )
