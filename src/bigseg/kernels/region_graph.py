"""The region adjacency graph of supervoxels, block by block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import bioimage_cpp as bic
import numpy as np

from bigseg.geometry.box import Triple
from bigseg.geometry.grid import LOCAL_ID_BITS
from bigseg.kernels.faces import contacts_inside


@dataclass(frozen=True)
class EdgeTable:
    """Edges between supervoxels with statistics of the boundary map on their contact.

    Attributes:
        u: (n,) uint64 smaller id of each pair.
        v: (n,) uint64 larger id.
        count: (n,) float64 number of voxel faces in contact.
        mean: (n,) float64 mean boundary probability in [0, 1].
        m2: (n,) float64 sum of squared deviations from the mean.
        minimum: (n,) float64.
        maximum: (n,) float64.
        outside: (n,) float64 sum of the boundary map, 0 … 255 on each voxel face in contact, without the contacts
            inside a supervoxel that a block face cut in two (see :mod:`bigseg.kernels.faces`). A whole number of
            halves, so that sums are exact in any order.
    """

    u: np.ndarray
    v: np.ndarray
    count: np.ndarray
    mean: np.ndarray
    m2: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    outside: np.ndarray

    def __len__(self) -> int:
        """Number of edges."""
        return len(self.u)

    @property
    def probability(self) -> np.ndarray:
        """(n,) float64 boundary probability of each edge: the mean, with 0 for contacts inside a supervoxel.

        The probability of a merged edge is the mean over its parts, weighted with their counts.
        """
        return np.asarray(self.outside / (255 * self.count))

    def take(self, rows: np.ndarray) -> EdgeTable:
        """The edges of a mask."""
        return EdgeTable(*(column[rows] for column in self.columns().values()))

    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name."""
        return {column.name: getattr(self, column.name) for column in fields(self)}


def block_edges(labels: np.ndarray, boundary: np.ndarray, continues: np.ndarray, inner_shape: Triple) -> EdgeTable:
    """Edges that a block owns: those whose contact's lower voxel lies in its inner box.

    Args:
        labels: (z, y, x) uint64 supervoxels of the inner box, which starts at 0, and one voxel more along each axis
            where the volume goes on; 0 is no supervoxel.
        boundary: same shape, uint8 boundary map; the value on a contact is the mean of its two voxels.
        continues: same shape, uint8, where supervoxels go on beyond a face (:func:`bigseg.kernels.faces.continuing`).
        inner_shape: shape of the inner box.

    Returns:
        The edges, ascending by (u, v).
    """
    used = labels[tuple(slice(0, n + 1) for n in inner_shape)]
    edges, stats = bic.graph.distributed.block_edge_map_stats(
        np.ascontiguousarray(used),
        np.ascontiguousarray(boundary[: used.shape[0], : used.shape[1], : used.shape[2]]),
        [0, 0, 0],
        list(inner_shape),
        number_of_threads=1,
    )
    real = edges[:, 0] != 0  # u < v, so the background can only be u
    table = _table(edges[real], stats[real])
    u, v, inside = contacts_inside(labels, boundary, continues, inner_shape)
    table.outside[_rows(table, u, v)] -= inside
    return table


def between_blocks(edges: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rows of a table of edges whose ends, columns ``u`` and ``v`` (uint64), are supervoxels of two blocks."""
    across = (edges["u"] ^ edges["v"]) >> np.uint64(LOCAL_ID_BITS) > 0
    return {name: column[across] for name, column in edges.items()}


def _table(edges: np.ndarray, stats: np.ndarray) -> EdgeTable:
    count, mean, m2, low, high = stats.T
    total = np.rint(2 * count * mean) / 2  # what it was before it became a mean
    return EdgeTable(edges[:, 0], edges[:, 1], count, mean / 255, m2 / 255**2, low / 255, high / 255, total)


def _rows(table: EdgeTable, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Positions of pairs, all of which are in the table."""
    names = np.unique(np.concatenate([table.u, table.v]))
    keys = np.searchsorted(names, table.u) * len(names) + np.searchsorted(names, table.v)
    return np.searchsorted(keys, np.searchsorted(names, u) * len(names) + np.searchsorted(names, v))
