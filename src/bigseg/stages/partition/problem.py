"""From the tables of stage ``graph`` to the problem of a superblock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bigseg.errors import UserError
from bigseg.geometry.grid import supervoxel_id_range
from bigseg.kernels.costs import linear_weights, log_odds_costs
from bigseg.kernels.signed_graph import Ids, SignedEdges, concatenate
from bigseg.kernels.superblock import Superblock, leaf
from bigseg.layout import MADE_AGAIN, Layout
from bigseg.stages.partition.settings import objective
from bigseg.stages.step import Parameters
from bigseg.volumes.tables import Table, read_table

_CONTACTS = ("u", "v", "count", "outside")


@dataclass(frozen=True)
class GraphTables:
    """What stage ``graph`` counted in some blocks: all that any method makes its edges of.

    Attributes:
        nodes: (n,) uint64 supervoxels, ascending.
        contacts: columns u, v, count and outside of :class:`bigseg.kernels.region_graph.EdgeTable`.
    """

    nodes: Ids
    contacts: Table


def read_problem(
    layout: Layout,
    time: int,
    parameters: Parameters,
    blocks: Sequence[int],
    owners: Sequence[int],
    lifted: Sequence[int] = (),
) -> Superblock:
    """The graph of some blocks, in which nothing has merged.

    Args:
        layout: where the tables are.
        time: time point.
        parameters: of a step of the partition.
        blocks: whose supervoxels are the nodes, ascending.
        owners: blocks whose tables hold the edges of these supervoxels.
        lifted: blocks whose tables of step ``partition.lifted`` hold the lifted edges of these supervoxels.

    Raises:
        UserError: a table is missing, damaged, or holds what cannot be.
    """
    linked = read_lifted(layout, time, lifted, blocks)
    return to_problem(read_graph(layout, time, blocks, owners), parameters, linked)


def read_graph(layout: Layout, time: int, blocks: Sequence[int], owners: Sequence[int]) -> GraphTables:
    """The tables of some blocks, read and checked; arguments and errors are those of :func:`read_problem`.

    Of a block whose supervoxels are not wanted, only the contacts on its faces are read.
    """
    nodes = [read_nodes(layout, time, block) for block in blocks]
    whole = set(blocks)
    tables = [_read_contacts(layout, time, block, "edges" if block in whole else "across") for block in owners]
    contacts = {name: np.concatenate([table[name] for table in tables]) for name in _CONTACTS}
    return GraphTables(np.concatenate(nodes), contacts)


def read_lifted(
    layout: Layout, time: int, owners: Sequence[int], blocks: Sequence[int] | None = None
) -> Iterator[SignedEdges]:
    """The lifted edges that blocks own.

    Args:
        layout: where the tables are.
        time: time point.
        owners: the blocks that own them.
        blocks: whose supervoxels are the nodes; of the others only edges between blocks are read. All if left out.

    Raises:
        UserError: a table is missing, damaged, or holds values that are no numbers.
    """
    whole = set(owners if blocks is None else blocks)
    for block in owners:
        path = layout.table("partition", "lifted" if block in whole else "lifted_across", time, block)
        edges = SignedEdges(**read_table(path))
        if not np.isfinite(edges.value).all():
            raise UserError(f"{path}: block {block} holds costs that are no numbers", MADE_AGAIN)
        yield edges


def to_problem(graph: GraphTables, parameters: Parameters, lifted: Iterable[SignedEdges] = ()) -> Superblock:
    """The signed graph that a method makes of the tables, with lifted edges if there are any."""
    return leaf(graph.nodes, concatenate([signed_edges(graph.contacts, parameters), *lifted]))


def read_nodes(layout: Layout, time: int, block: int) -> np.ndarray:
    """Ids (n,) uint64 of the supervoxels of a block, ascending.

    Raises:
        UserError: the table is missing or damaged.
    """
    path = layout.table("graph", "nodes", time, block)
    ids = read_table(path, ["id"])["id"]
    first = np.uint64(supervoxel_id_range(block)[0])
    if not np.array_equal(ids, first + np.arange(1, len(ids) + 1, dtype=np.uint64)):
        raise UserError(f"{path}: holds ids that are not those of block {block}", MADE_AGAIN)
    return ids


def signed_edges(contacts: Table, parameters: Parameters) -> SignedEdges:
    """What a method makes of contacts.

    Args:
        contacts: see :class:`GraphTables`.
        parameters: of a step of the partition.
    """
    u, v, count, outside = (contacts[name] for name in _CONTACTS)
    what = objective(parameters)
    if what.linkage == "mean":
        return SignedEdges(u, v, -outside, 255 * count)
    probability = outside / (255 * count)
    if what.linkage == "multicut":
        costs = log_odds_costs(probability, parameters["beta"], count, parameters["size_weight"])
        return SignedEdges(u, v, costs, np.ones(len(u)))
    return SignedEdges(u, v, linear_weights(probability, parameters["beta"]), np.ones(len(u)))


def _read_contacts(layout: Layout, time: int, block: int, name: str) -> Table:
    path = layout.table("graph", name, time, block)
    table = read_table(path, _CONTACTS)
    _check_edges(path, block, *(table[name] for name in _CONTACTS))
    return table


def _check_edges(path: Path, block: int, u: np.ndarray, v: np.ndarray, count: np.ndarray, outside: np.ndarray) -> None:
    """Refuse what stage ``graph`` cannot have written; a wrong partition would not show it."""
    first, past = (np.uint64(limit) for limit in supervoxel_id_range(block))
    mine = ((u >= first) & (u < past)) | ((v >= first) & (v < past))
    wrong = {
        "statistics that are no numbers": ~(np.isfinite(count) & np.isfinite(outside)),
        "edges without contact": ~(count > 0),
        "boundary probabilities outside 0 … 1": (outside < 0) | (outside > 255 * count),
        "edges of other blocks": ~mine,
        "edges of a supervoxel with itself": u == v,
    }
    for what, rows in wrong.items():
        if rows.any():
            raise UserError(f"{path}: block {block} holds {what} ({int(rows.sum())} of {len(u)} edges)", MADE_AGAIN)
