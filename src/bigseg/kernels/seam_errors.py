"""Errors near block faces and far from them, from pairs of labels counted by distance.

A voxel is **in error** unless its object and its true object are each other's best match: its object shares with no
true object more voxels than with this one, and its true object with no other object of the result. Of several that
share as many the smallest label counts. Voxels of no object (result 0) inside a true object are in error; voxels with
truth 0 are left out.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bigseg.kernels.seams import FARTHER


def matches(pairs: pd.DataFrame) -> pd.DataFrame:
    """Objects and true objects that are each other's best match.

    Args:
        pairs: columns result, truth and count, as of :class:`SeamTables`.

    Returns:
        Columns result and truth, (n,) uint64 each, ascending; each label at most once, 0 never.
    """
    objects = pairs[(pairs["result"] != 0) & (pairs["truth"] != 0)]
    table = objects.groupby(["result", "truth"], sort=True, as_index=False)["count"].sum()
    best = [
        pd.DataFrame(table).sort_values(["count", other], ascending=[False, True]).drop_duplicates(own)
        for own, other in (("result", "truth"), ("truth", "result"))
    ]
    pairs_of_best = (found[["result", "truth"]] for found in best)
    mutual: pd.DataFrame = next(pairs_of_best).merge(next(pairs_of_best), on=["result", "truth"])
    return mutual.sort_values("result", ignore_index=True)


def count_errors(pairs: pd.DataFrame, distance: int) -> tuple[np.ndarray, np.ndarray]:
    """Voxels with a truth and voxels in error by their distance from the nearest block face.

    Args:
        pairs: of one time point, as of :class:`SeamTables`.
        distance: that the counts were made with.

    Returns:
        (distance + 1,) int64 each, for distances 1, 2, … and, at last, for voxels farther away.
    """
    known = pairs[pairs["truth"] != 0].merge(matches(pairs), on=["result", "truth"], how="left", indicator="found")
    place = np.where(known["distance"] == FARTHER, distance, known["distance"] - 1)
    count = known["count"].to_numpy()
    wrong = (known["found"] == "left_only").to_numpy()
    voxels, errors = np.zeros(distance + 1, np.int64), np.zeros(distance + 1, np.int64)
    np.add.at(voxels, place, count)
    np.add.at(errors, place[wrong], count[wrong])
    return voxels, errors
