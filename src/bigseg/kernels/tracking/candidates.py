"""The events that may happen between two time points, and what they cost.

All costs are numbers without unit. Lengths are divided by a scale D that is taken from the pair alone, half of the
median distance of a detection to its nearest neighbour (times the number of time points from one to the other, if some
are missing between them), so the same coefficients serve nuclei and tissues of any size, and nothing at another time
point matters. An object that disappears and another one that appears cost 1 each, so events are compared with these.

With d the distance (after the drift), v the volumes, IoU the intersection over union of the voxels:

- a link costs ``distance · (d / D)² + overlap · (1 − IoU) + volume · |log(v_source / v_target)|``;
- a division costs ``division + distance · (|midpoint of the daughters, weighted with volume, − mother| / D)² +
  overlap · (1 − IoU of the mother and both daughters) + volume · |log((v_1 + v_2) / v_mother)| +
  asymmetry · |log(v_1 / v_2)|``: the daughters lie around the mother, fill what she filled, and resemble each other;
- ``appearance`` and ``disappearance``, less near the border of the volume, through which objects come and go.

An event that can never be part of a solution of least cost is left out: a link that costs at least as much as both ends
alone, a division that costs at least as much as a link to one daughter and the appearance of the other. The rest of the
solution stays as it is when one is replaced by the other, whatever the rest is, so this loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bigseg.kernels.tracking.model import Detections, Overlaps, Pair


@dataclass(frozen=True)
class LinkCosts:
    """Coefficients of the costs (see the module); all are numbers without unit unless said."""

    distance: float = 1.0
    """Cost of a link over the distance D."""
    overlap: float = 0.5
    """Cost of a link between objects that share no voxel."""
    volume: float = 1.0
    """Cost of a volume that changes by the factor e."""
    division: float = 0.3
    """Cost of any division, however good."""
    asymmetry: float = 0.3
    """Cost of a division one of whose daughters is e times as large as the other."""
    appearance: float = 1.0
    """Cost of an object that was not there before."""
    disappearance: float = 1.0
    """Cost of an object that is not there any more."""
    border: float = 0.3
    """Factor on appearance and disappearance at the border of the volume; from 2 D inside it is 1."""
    neighbours: int = 6
    """Nearest detections, before and after, that are candidates by distance; those that overlap always are."""
    max_distance: float | Literal["auto"] = "auto"
    """Longest link in µm; ``auto`` is 4 D."""


def candidates(
    before: Detections,
    after: Detections,
    overlaps: Overlaps,
    costs: LinkCosts,
    drift_um: NDArray[np.float64] | tuple[float, float, float] = (0.0, 0.0, 0.0),
    gap: int = 1,
) -> Pair:
    """Make the candidate events of two consecutive time points.

    Args:
        before: detections of the earlier time point.
        after: detections of the later time point.
        overlaps: what they share, with ids of ``before`` and ``after``; counted after correction of the drift.
        costs: coefficients.
        drift_um: (3,) motion of the whole from the earlier to the later time point in µm, or (n, 3) of each detection
            of ``before``; it is added to the positions of ``before``.
        gap: 1, or more if time points are missing between the two: D is multiplied with it.

    Returns:
        The events. They depend on nothing but the arguments, and not on the order of ``overlaps``.

    Raises:
        KeyError: an overlap names an object that is no detection.
        ValueError: ids do not ascend, a volume is not positive, or gap < 1.
    """
    raise NotImplementedError
