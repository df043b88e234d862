"""What a superblock writes and the level above reads; and the object of each supervoxel, composed from all levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bigseg.errors import UserError
from bigseg.geometry.grid import LOCAL_ID_BITS
from bigseg.geometry.octree import Octree
from bigseg.kernels.signed_graph import Ids, SignedEdges, among, follow
from bigseg.kernels.superblock import Superblock
from bigseg.layout import MADE_AGAIN, Layout
from bigseg.resume.digest import digest_arrays
from bigseg.volumes.tables import Table, read_range, read_table, write_table

_PARTS = ("map", "edges", "crossing")
_RIM = ("rim-nodes", "rim-edges")
_EDGES = ("u", "v", "value", "count")


def table_paths(layout: Layout, time: int, level: int, index: int, *, with_rim: bool) -> list[Path]:
    """All tables of a superblock."""
    return [_path(layout, time, part, level, index) for part in (*_PARTS, *(_RIM if with_rim else ()))]


def map_path(layout: Layout, time: int, level: int | None = None, index: int | None = None) -> Path:
    """The map from nodes to clusters of a superblock, or of the root."""
    if level is None or index is None:
        return layout.table("partition", "map", time)
    return _path(layout, time, "map", level, index)


def write_superblock(
    layout: Layout,
    time: int,
    level: int,
    index: int,
    nodes: Ids,
    clusters: Ids,
    solved: Superblock,
    visible: Superblock | None,
) -> str:
    """Write what became of the nodes, what is left to the level above, and what its neighbours see of that.

    Args:
        layout: where the tables are.
        time: time point.
        level: level of the superblock.
        index: number of the superblock.
        nodes: (n,) uint64 what was solved.
        clusters: (n,) uint64 the cluster of each.
        solved: what is left.
        visible: its rim; None if no neighbour looks at it.

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
    if visible is not None:
        tables[_path(layout, time, "rim-nodes", level, index)] = {"id": visible.nodes}
        tables[_path(layout, time, "rim-edges", level, index)] = visible.edges.columns()
    for path, table in tables.items():
        write_table(path, table)
    return digest_arrays(*(column for table in tables.values() for column in table.values()))


def read_superblock(layout: Layout, time: int, level: int, index: int) -> Superblock:
    """What a superblock left to the level above.

    Raises:
        UserError: a table is missing or damaged.
    """
    found, edges, crossing = (read_table(_path(layout, time, part, level, index)) for part in _PARTS)
    return _superblock(np.unique(found["cluster"][~found["settled"]]), edges, crossing)


def read_rim(layout: Layout, time: int, level: int, index: int) -> Superblock:
    """What the neighbours of a superblock see of it.

    Raises:
        UserError: a table is missing or damaged.
    """
    nodes, edges, crossing = (read_table(_path(layout, time, part, level, index)) for part in (*_RIM, "crossing"))
    return _superblock(nodes["id"], edges, crossing)


def _superblock(nodes: Ids, edges: Table, crossing: Table) -> Superblock:
    inner, outer = (SignedEdges(*(table[name] for name in _EDGES)) for table in (edges, crossing))
    return Superblock(nodes, inner, outer, crossing["inside"])


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
        UserError: a table is missing, damaged, or does not tell of a supervoxel that it has to tell of.
    """
    names, waiting = supervoxels.copy(), np.ones(len(supervoxels), np.bool_)
    blocks, of_block = np.unique(supervoxels >> np.uint64(LOCAL_ID_BITS), return_inverse=True)
    for level in range(levels):
        ancestors = np.array([tree.ancestor(level, int(block)) for block in blocks])[of_block]
        for index in np.unique(ancestors[waiting]):
            rows = np.flatnonzero(waiting & (ancestors == index))
            table, place = _rows_of(map_path(layout, time, level, int(index)), names[rows])
            names[rows], waiting[rows] = table["cluster"][place], ~table["settled"][place]
    if waiting.any():
        table, place = _rows_of(map_path(layout, time), names[waiting])
        names[waiting] = table["cluster"][place]
    return names


def final_names(layout: Layout, time: int, tree: Octree, levels: int, supervoxels: Ids) -> Ids:
    """As :func:`object_names`, after small objects were merged (step ``segment.objects``)."""
    objects = object_names(layout, time, tree, levels, supervoxels)
    if not len(objects):
        return objects
    limits = int(objects.min()), int(objects.max()) + 1
    renamed = read_range(layout.table("segment", "map", time), "id", *limits)
    return follow(objects, renamed["id"], renamed["cluster"])


def _rows_of(path: Path, names: Ids) -> tuple[Table, NDArray[np.int64]]:
    """The part of a map that tells of some nodes, and the row of each."""
    table = read_range(path, "id", int(names.min()), int(names.max()) + 1)
    place = np.searchsorted(table["id"], names)
    found = place < len(table["id"])
    found[found] = table["id"][place[found]] == names[found]
    if not found.all():
        raise UserError(f"{path}: does not tell of supervoxel {names[~found][0]}", MADE_AGAIN)
    return table, place


def _path(layout: Layout, time: int, part: str, level: int, index: int) -> Path:
    return layout.table("partition", f"level{level}-{part}", time, index)
