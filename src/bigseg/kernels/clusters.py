"""Names of clusters and composition of tables that map ids to clusters."""

from __future__ import annotations

import numpy as np

from bigseg.geometry.grid import LOCAL_ID_BITS

_LOCAL = np.uint64((1 << LOCAL_ID_BITS) - 1)
"""The bits of a supervoxel's id that count within its block."""


def name_clusters(ids: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Give each cluster the smallest id among its nodes, a name that does not depend on the solver's numbering.

    Args:
        ids: (n,) uint64 node ids, ascending.
        clusters: (n,) integer cluster of each node.

    Returns:
        (n,) uint64 name of each node's cluster.
    """
    _, first, inverse = np.unique(clusters, return_index=True, return_inverse=True)
    return ids[first][inverse]


def look_up(ids: np.ndarray, table_ids: np.ndarray, table_values: np.ndarray) -> np.ndarray:
    """Values of ``ids`` in a table.

    Args:
        ids: (n,) uint64.
        table_ids: (m,) uint64, ascending.
        table_values: (m,) uint64.

    Returns:
        (n,) uint64.

    Raises:
        KeyError: an id is not in the table.
    """
    place = np.searchsorted(table_ids, ids)
    found = place < len(table_ids)
    found[found] = table_ids[place[found]] == ids[found]
    if not found.all():
        raise KeyError(int(ids[~found][0]))
    return table_values[place]


def paint(labels: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Replace the supervoxels of one block by their objects.

    Args:
        labels: (z, y, x) uint64 supervoxels of a block; their lower ``LOCAL_ID_BITS`` are 1 … n, 0 is no supervoxel.
        names: (n,) uint64 object of supervoxel 1 … n.

    Returns:
        (z, y, x) uint64 objects.
    """
    lookup = np.concatenate([np.zeros(1, np.uint64), names])
    return lookup[(labels & _LOCAL).astype(np.uint32)]
