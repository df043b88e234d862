"""Stage ``partition``: which supervoxels make up an object.

A level of the hierarchy reads nodes and edges, and writes the map from its nodes to its clusters together with the
nodes and edges between the clusters, which are the next level's input. Here the root, which solves all that is left,
is the only level and reads the supervoxels themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigseg.errors import UserError
from bigseg.resume.digest import digest_arrays
from bigseg.stages.step import Need, Outcome, Parameters, WholeStep

if TYPE_CHECKING:
    import numpy as np

    from bigseg.config import Config
    from bigseg.kernels.region_graph import EdgeTable
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record


class PartitionRoot(WholeStep):
    """Solve the graph of a time point at once."""

    stage, step, version = "partition", "root", 3

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The method and the parameters that it uses, no others: an unused one must not run it again."""
        settings = config.partition
        parameters: Parameters = {
            "blocks": plan.grid.number_of_blocks,
            "method": settings.method,
            "beta": settings.beta,
        }
        if settings.method == "gasp":
            parameters["linkage"] = settings.linkage
        if settings.method == "multicut":
            parameters["size_weight"] = settings.size_weight
        return parameters

    def needs(self, piece: int) -> list[Need]:
        """The whole graph of the time point."""
        return [Need("graph.blocks", range(self.parameters["blocks"]), self.parameters["blocks"])]

    def intact(self, piece: int, record: Record) -> bool:
        """Whether all tables are still there."""
        return all(self.layout.table("partition", name, self.time).exists() for name in ("map", "nodes", "edges"))

    def process(self, piece: int) -> Outcome:
        """Read the graph, solve it, write the map from supervoxels to objects and the graph of objects."""
        import numpy as np

        from bigseg.kernels.clusters import name_clusters
        from bigseg.kernels.region_graph import contract
        from bigseg.volumes.tables import write_table

        ids, sizes, edges = self._read_graph()
        objects = name_clusters(ids, self._solve(ids, edges)) if len(ids) else ids
        between = contract(edges, objects, ids)
        names, inverse = np.unique(objects, return_inverse=True)
        tables = {
            "map": {"id": ids, "cluster": objects},
            "nodes": {"id": names, "size": np.bincount(inverse, sizes, len(names)).astype(np.uint64)},
            "edges": between.columns(),
        }
        for name, columns in tables.items():
            write_table(self.layout.table("partition", name, self.time), columns)
        return Outcome(
            digest_arrays(*(column for columns in tables.values() for column in columns.values())),
            {"supervoxels": len(ids), "edges": len(edges), "objects": len(names)},
        )

    def _read_graph(self) -> tuple[np.ndarray, np.ndarray, EdgeTable]:
        import numpy as np

        from bigseg.kernels.region_graph import EdgeTable, merge_edges
        from bigseg.volumes.tables import read_table

        nodes, parts = [], []
        for block in range(self.parameters["blocks"]):
            path = self.layout.table("graph", "edges", self.time, block)
            part = EdgeTable(**read_table(path))
            if not all(np.isfinite(column).all() for column in part.columns().values()):
                raise UserError(f"{path}: holds statistics that are no numbers", "delete the file and run again")
            parts.append(part)
            nodes.append(read_table(self.layout.table("graph", "nodes", self.time, block)))
        ids = np.concatenate([table["id"] for table in nodes])
        sizes = np.concatenate([table["size"] for table in nodes])
        return ids, sizes, merge_edges(parts)

    def _solve(self, ids: np.ndarray, edges: EdgeTable) -> np.ndarray:
        import numpy as np

        from bigseg.kernels.agglomerate import LINKAGES, contract_average, contract_linkage
        from bigseg.kernels.costs import linear_weights, log_odds_costs
        from bigseg.kernels.mutex import contract_mutex
        from bigseg.kernels.solvers import gasp, multicut

        p, count = self.parameters, len(ids)
        pairs = np.stack([np.searchsorted(ids, edges.u), np.searchsorted(ids, edges.v)], axis=1).astype(np.uint64)
        if p["method"] == "multicut":
            costs = log_odds_costs(edges.probability, p["beta"], edges.count, p["size_weight"])
            return multicut(count, pairs, costs)
        if p.get("linkage") == "mean":
            # Sums instead of means: they are exact, so equal probabilities give equal weights.
            return contract_average(count, pairs, -edges.outside, 255 * edges.count, offset=1 - p["beta"]).clusters
        weights = linear_weights(edges.probability, p["beta"])
        if p["method"] == "mutex_watershed":
            return contract_mutex(count, pairs, weights).clusters
        if p["linkage"] in LINKAGES:
            return contract_linkage(count, pairs, weights, linkage=p["linkage"]).clusters
        return gasp(count, pairs, weights, edges.count, p["linkage"])
