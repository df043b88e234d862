"""What a superblock writes and the level above reads; and the object of each supervoxel, composed from all levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bigseg.geometry.grid import LOCAL_ID_BITS
from bigseg.geometry.octree import Octree
from bigseg.kernels.clusters import look_up
from bigseg.kernels.octree import Superblock
from bigseg.kernels.signed_graph import Ids, SignedEdges, among, follow
from bigseg.layout import Layout
from bigseg.resume.digest import digest_arrays
from bigseg.volumes.tables import Table, read_range, read_table, write_table

_PARTS = ("map", "edges", "crossing")
_EDGES = ("u", "v", "value", "count")


def table_paths(layout: Layout, time: int, level: int, index: int) -> list[Path]:
    """All tables of a superblock."""
    return [_path(layout, time, part, level, index) for part in _PARTS]


def map_path(layout: Layout, time: int, level: int | None = None, index: int | None = None) -> Path:
    """The map from nodes to clusters of a superblock, or of the root."""
    if level is None or index is None:
        return layout.table("partition", "map", time)
    return _path(layout, time, "map", level, index)


def write_superblock(
    layout: Layout, time: int, level: int, index: int, nodes: Ids, clusters: Ids, solved: Superblock
) -> str:
    """Write what became of the nodes, and what is left to the level above.

    Returns:
        Digest of all tables.
    """
    tables: dict[Path, Table] = {
        map_path(layout, time, level, index): {
            "id": nodes,
            "cluster": clusters,
            "settled": ~among(clusters, solved.nodes),
        },
        _path(layout, time, "edges", level, index): solved.edges.columns(),
        _path(layout, time, "crossing", level, index): {**solved.crossing.columns(), "inside": solved.inside},
    }
    for path, table in tables.items():
        write_table(path, table)
    return digest_arrays(*(column for table in tables.values() for column in table.values()))


def read_superblock(layout: Layout, time: int, level: int, index: int) -> Superblock:
    """What a superblock left to the level above.

    Raises:
        UserError: a table is missing or damaged.
    """
    found, edges, crossing = (read_table(_path(layout, time, part, level, index)) for part in _PARTS)
    return Superblock(
        np.unique(found["cluster"][~found["settled"]]),
        SignedEdges(*(edges[name] for name in _EDGES)),
        SignedEdges(*(crossing[name] for name in _EDGES)),
        crossing["inside"],
    )


def object_names(layout: Layout, time: int, tree: Octree, levels: int, supervoxels: Ids) -> Ids:
    """The object of each supervoxel, before small objects are merged; only tables on the paths to the root are read.

    Args:
        layout: where the tables are.
        time: time point.
        tree: the octree.
        levels: levels below the root.
        supervoxels: (n,) uint64.

    Returns:
        (n,) uint64 name of each one's object, which is its smallest supervoxel.

    Raises:
        UserError: a table is missing or damaged.
        KeyError: a supervoxel is in no table.
    """
    if not len(supervoxels):
        return supervoxels
    names = supervoxels.copy()
    blocks, of_block = np.unique(supervoxels >> np.uint64(LOCAL_ID_BITS), return_inverse=True)
    for level in range(levels):
        ancestors = np.array([tree.ancestor(level, int(block)) for block in blocks])[of_block]
        for index in np.unique(ancestors):
            rows = ancestors == index
            names[rows] = _renamed(map_path(layout, time, level, int(index)), names[rows], complete=level == 0)
    return _renamed(map_path(layout, time), names, complete=levels == 0)


def _renamed(path: Path, names: Ids, *, complete: bool) -> Ids:
    """Names after a map; those that are not in it stay, unless it is ``complete``."""
    table = read_range(path, "id", int(names.min()), int(names.max()) + 1)
    if complete:
        return look_up(names, table["id"], table["cluster"])
    return follow(names, table["id"], table["cluster"])


def _path(layout: Layout, time: int, part: str, level: int, index: int) -> Path:
    return layout.table("partition", f"level{level}-{part}", time, index)
