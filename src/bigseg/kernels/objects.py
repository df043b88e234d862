"""Measurements of labelled objects that add up over blocks, and other names for objects."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bigseg.geometry.box import Triple
from bigseg.kernels.clusters import look_up


def measure_block(labels: np.ndarray, image: np.ndarray, begin: Triple) -> pd.DataFrame:
    """Sums over the voxels of each object in one block.

    Args:
        labels: (z, y, x) uint64; 0 is no object.
        image: (z, y, x) intensities.
        begin: position of the block in the volume.

    Returns:
        One row per object, ascending by ``object``: voxels, sums of the voxel coordinates (sum_z, sum_y, sum_x), the
        bounding box (min_z … max_x, both ends included) and sum_intensity.
    """
    codes, ids = pd.factorize(labels.reshape(-1))
    count = len(ids)
    weights = np.bincount(codes, minlength=count)
    columns: dict[str, np.ndarray] = {"object": ids.astype(np.uint64), "voxels": weights.astype(np.int64)}
    grid = codes.reshape(labels.shape)
    for axis, name in enumerate("zyx"):
        length = labels.shape[axis]
        # Counting pairs (object, plane) gives the sum and the range of an axis in one pass.
        plane = np.arange(length).reshape([-1 if a == axis else 1 for a in range(3)])
        pairs = np.bincount((grid * length + plane).reshape(-1), minlength=count * length).reshape(count, length)
        position = np.arange(length) + begin[axis]
        occupied = pairs > 0
        columns[f"sum_{name}"] = (pairs * position).sum(axis=1)
        columns[f"min_{name}"] = position[occupied.argmax(axis=1)]
        columns[f"max_{name}"] = position[length - 1 - occupied[:, ::-1].argmax(axis=1)]
    columns["sum_intensity"] = np.bincount(codes, weights=image.reshape(-1).astype(np.float64), minlength=count)
    table = pd.DataFrame(columns)
    return table[table["object"] != 0].sort_values("object", ignore_index=True)


def merge_measurements(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Add up the rows of the same object."""
    rules = {
        name: "min" if name.startswith("min_") else "max" if name.startswith("max_") else "sum"
        for name in parts[0].columns
        if name != "object"
    }
    return pd.concat(parts).groupby("object", sort=True, as_index=False).agg(rules)


def object_table(
    merged: pd.DataFrame, time: int, shape: Triple, voxel_size_um: tuple[float, float, float]
) -> pd.DataFrame:
    """The table for users.

    Returns:
        Columns: time, object, voxels, volume_um3, centroid_z_um … centroid_x_um (from the centre of
        the first voxel, which is where OME-Zarr has its origin), equivalent_diameter_um, mean_intensity, the bounding
        box in voxels (both ends included) and touches_edge (of the volume).
    """
    voxels = merged["voxels"].to_numpy()
    volume = voxels * float(np.prod(voxel_size_um))
    table = pd.DataFrame({"time": np.full(len(merged), time, np.int64), "object": merged["object"].astype(np.uint64)})
    table["voxels"] = voxels
    table["volume_um3"] = volume
    table["equivalent_diameter_um"] = np.cbrt(6 * volume / np.pi)
    for name, size in zip("zyx", voxel_size_um, strict=True):
        table[f"centroid_{name}_um"] = merged[f"sum_{name}"].to_numpy() / voxels * size
    table["mean_intensity"] = merged["sum_intensity"].to_numpy() / voxels
    edge = np.zeros(len(merged), bool)
    for name, length in zip("zyx", shape, strict=True):
        low, high = merged[f"min_{name}"].to_numpy(), merged[f"max_{name}"].to_numpy()
        table[f"min_{name}"], table[f"max_{name}"] = low, high
        if length > 1:  # the only plane of a 2D image is no edge
            edge |= (low == 0) | (high == length - 1)
    table["touches_edge"] = edge
    return table


def rename(labels: np.ndarray, ids: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Replace labels of any size by other ones.

    Args:
        labels: (z, y, x) unsigned labels, 0 is background.
        ids: (n,) the labels that occur, ascending, without 0.
        names: (n,) integers, what each becomes.

    Returns:
        (z, y, x) of the type of ``names``, 0 where ``labels`` is 0.

    Raises:
        KeyError: a label is not among ``ids``.
    """
    codes, found = pd.factorize(labels.reshape(-1))
    values = np.zeros(len(found), names.dtype)
    values[found > 0] = look_up(found[found > 0], ids, names)
    return values[codes].reshape(labels.shape)
