"""What the tests of kernels on blocks and graphs share."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from bigseg.geometry.box import Box
from bigseg.geometry.grid import Grid, supervoxel_id_range
from bigseg.kernels.region_graph import EdgeTable


@st.composite
def grids(draw: st.DrawFn, longest: int = 7) -> Grid:
    """Grids of any block shape, with thin axes and one-voxel remainders."""
    shape = draw(st.tuples(*[st.integers(1, longest)] * 3))
    z, y, x = (draw(st.integers(1, n)) for n in shape)
    return Grid(shape, (z, y, x))


def crop_with_halo(grid: Grid, index: int, halo: int) -> tuple[Box, Box]:
    """The box of a block with its halo, and without."""
    box = grid.box(index)
    return box.grow((halo,) * 3, (halo,) * 3, grid.shape), box


def split_by_blocks(whole: np.ndarray, grid: Grid) -> np.ndarray:
    """Each block's part of each label as a supervoxel of its own, with the ids of its block."""
    labels = np.zeros(grid.shape, np.uint64)
    for index in range(grid.number_of_blocks):
        slices = grid.box(index).slices
        first = np.uint64(supervoxel_id_range(index)[0])
        labels[slices] = np.where(whole[slices] > 0, whole[slices].astype(np.uint64) + first, 0)
    return labels


def all_edges(parts: list[EdgeTable]) -> EdgeTable:
    """The edges of all blocks, ascending by (u, v); each pair has one owner."""
    columns = [np.concatenate(column) for column in zip(*(part.columns().values() for part in parts), strict=True)]
    order = np.lexsort((columns[1], columns[0]))
    assert len(set(zip(columns[0].tolist(), columns[1].tolist(), strict=True))) == len(order)
    return EdgeTable(*(column[order] for column in columns))


def random_graph(generator: np.random.Generator, nodes: int, density: float) -> np.ndarray:
    """Pairs (m, 2) uint64 of a random graph, smaller node first, ascending, each once."""
    u, v = np.triu_indices(nodes, 1)
    chosen = np.flatnonzero(generator.random(len(u)) < density)
    return np.stack([u[chosen], v[chosen]], axis=1).astype(np.uint64)


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two clusterings group the nodes alike, whatever the clusters' names."""
    pairs = set(zip(np.asarray(first).ravel().tolist(), np.asarray(second).ravel().tolist(), strict=True))
    return len(pairs) == len(set(np.asarray(first).ravel().tolist())) == len(set(np.asarray(second).ravel().tolist()))
