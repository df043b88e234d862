"""The lifted edges of a block, from tables alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bigseg.config.samples import evidence_roles
from bigseg.geometry.box import triple
from bigseg.geometry.grid import LOCAL_ID_BITS, supervoxel_id_range
from bigseg.geometry.octree import Octree
from bigseg.resume.digest import digest_arrays
from bigseg.stages.step import BlockStep, Need, Outcome, Parameters, check_copy, grid_parameters

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from bigseg.config import Config
    from bigseg.geometry.box import Box
    from bigseg.kernels.evidence import LongRange
    from bigseg.kernels.lifted import Numbers
    from bigseg.kernels.signed_graph import Ids, SignedEdges
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record


class PartitionLifted(BlockStep):
    """Pairs of supervoxels that nuclei, classes or affinities join or separate (:mod:`bigseg.kernels.lifted`).

    A pair is in the table of the block of its smaller id; the other lies in the same block or in one around it. Edges
    incident to the supervoxels of a block are thus in its table and in those of the 26 blocks around it.
    """

    stage, step, version = "partition", "lifted", 1
    passing = ("partition/*/lifted-*", "partition/*/lifted_across-*")

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """What the method uses of the maps that are given; a map whose weights are 0 is left out."""
        settings = config.partition
        roles, lifted = evidence_roles(plan.sample, settings.method), settings.lifted
        parameters: Parameters = {**grid_parameters(plan), "method": settings.method}
        if settings.method == "mutex_watershed":
            return {**parameters, "beta": settings.beta}
        parameters["size_weight"] = settings.size_weight
        if "nuclei" in roles and (lifted.nuclei_attraction or lifted.nuclei_repulsion):
            parameters["nuclei"] = {"same": lifted.nuclei_attraction, "different": -lifted.nuclei_repulsion}
        if "semantic" in roles and lifted.semantic_repulsion:
            parameters["semantic"] = {"same": 0.0, "different": -lifted.semantic_repulsion}
        if "nuclei" in parameters or "semantic" in parameters:
            parameters |= {"distance": lifted.distance, "minimum_overlap": lifted.minimum_overlap}
        if plan.sample.affinities is not None and lifted.affinities_weight:
            parameters["affinities"] = {"weight": lifted.affinities_weight, "offsets": plan.sample.affinities.offsets}
            parameters["beta"] = settings.beta
        return parameters

    def needs_within(self, box: Box) -> list[Need]:
        """Contacts of the block and the blocks around it; evidence of those that may hold the larger id of a pair."""
        tree, places, total = Octree(self.grid.blocks_per_axis), self.grid.places(box), self.grid.number_of_blocks
        around = tree.neighbourhood_within(0, places)
        contacts = [Need("graph.blocks", around, total)] if self._has_labels else []
        return [*contacts, Need("graph.evidence", tree.later_within(places), total)]

    def empty_with(self, piece: int) -> list[Need]:
        """The block's evidence: the smaller supervoxel of a pair lies in the block."""
        return [Need("graph.evidence", [piece], self.grid.number_of_blocks)]

    def tables(self, piece: int) -> list[Path]:
        """All lifted edges, and those between blocks again."""
        return [self.layout.table("partition", name, self.time, piece) for name in ("lifted", "lifted_across")]

    def process(self, piece: int) -> Outcome:
        """Find the pairs and write their costs, or weights; those between blocks again, for the blocks around."""
        from bigseg.kernels.region_graph import between_blocks
        from bigseg.volumes.tables import write_table

        edges = self.edges(piece)
        columns = edges.columns()
        for path, table in zip(self.tables(piece), (columns, between_blocks(columns)), strict=True):
            write_table(path, table)
        return Outcome(digest_arrays(*columns.values()), {"lifted_edges": len(edges)})

    def rehash(self, piece: int, record: Record) -> str:
        """The edges; those between blocks follow from them."""
        from bigseg.kernels.region_graph import between_blocks
        from bigseg.volumes.tables import read_checked

        whole, across = self.tables(piece)
        edges = read_checked(whole)
        digest = digest_arrays(*edges.values())
        if digest == record.digest:
            check_copy(across, read_checked(across), between_blocks(edges))
        return digest

    @property
    def _has_labels(self) -> bool:
        return "distance" in self.parameters

    def _around(self, piece: int) -> list[int]:
        return self.grid.neighbourhood(piece, (1, 1, 1), (1, 1, 1))

    def edges(self, piece: int) -> SignedEdges:
        """The lifted edges that a block owns."""
        import numpy as np

        from bigseg.kernels.lifted import affinity_costs, repulsive_edges, sum_costs

        p = self.parameters
        around = self._around(piece)
        later = [block for block in around if block >= piece]
        if p["method"] == "mutex_watershed":
            return repulsive_edges(self._long_range(piece, later), p["beta"])
        empty = np.zeros(0, np.uint64)
        parts: list[tuple[Ids, Ids, np.ndarray]] = [(empty, empty, np.zeros(0))]
        if self._has_labels:
            parts.append(self._label_costs(piece, around, later))
        if "affinities" in p:
            pairs = self._long_range(piece, later)
            offsets = [triple(offset) for offset in p["affinities"]["offsets"]]
            costs = p["affinities"]["weight"] * affinity_costs(pairs, offsets, p["beta"], p["size_weight"])
            parts.append((pairs.u, pairs.v, costs))
        u, v, value = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return sum_costs(u, v, value)

    def _label_costs(self, piece: int, around: Sequence[int], later: Sequence[int]) -> tuple[Ids, Ids, np.ndarray]:
        """Pairs (u, v) owned by the block of which nuclei or classes tell, with their costs."""
        import numpy as np

        from bigseg.kernels.lifted import Numbers, assign, label_costs, neighbourhood_pairs
        from bigseg.stages.partition.problem import read_nodes
        from bigseg.volumes.tables import read_table

        p, share = self.parameters, self.parameters["minimum_overlap"]
        before = [np.uint64(supervoxel_id_range(block)[0]) for block in around]
        counts = [len(read_nodes(self.layout, self.time, block)) for block in around]
        numbers = Numbers(np.array(before, np.uint64) + np.array(counts, np.uint64))
        tables = [read_table(self.layout.table("graph", "evidence", self.time, block)) for block in later]
        evidence = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
        rows = numbers.of(evidence["id"])
        labels, voxels = {}, {}
        for role, column in (("nuclei", "nucleus"), ("semantic", "semantic_class")):
            labels[role], voxels[role] = np.zeros(numbers.total, np.uint64), np.zeros(numbers.total, np.uint64)
            if role in p:
                total = evidence[f"{column}_total"] if role == "nuclei" else evidence["size"]
                size = np.minimum(evidence["size"], total)  # a small nucleus in a large supervoxel is still its nucleus
                labels[role][rows] = assign(evidence[column], evidence[f"{column}_voxels"], size, share)
                voxels[role][rows] = evidence[f"{column}_voxels"]
        own = np.zeros(numbers.total, np.bool_)
        own[numbers.of(evidence["id"][evidence["id"] >> np.uint64(LOCAL_ID_BITS) == piece])] = True
        u, v = self._contacts(around, numbers)
        a, b = neighbourhood_pairs(u, v, own, labels["nuclei"], labels["semantic"], p["distance"])
        costs = np.zeros(len(a))
        for role, found in labels.items():
            if role in p:
                fewer = np.minimum(voxels[role][a], voxels[role][b])
                costs += label_costs(found[a], found[b], fewer, p["size_weight"], **p[role])
        return numbers.ids(a), numbers.ids(b), costs

    def _contacts(self, around: Sequence[int], numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
        """Contacts of which both ends lie in the blocks; each is in one of their tables."""
        import numpy as np

        from bigseg.volumes.tables import read_table

        us, vs = [], []
        for block in around:
            table = read_table(self.layout.table("graph", "edges", self.time, block), ["u", "v"])
            u, v = numbers.of(table["u"]), numbers.of(table["v"])
            inside = (u >= 0) & (v >= 0)
            us.append(u[inside])
            vs.append(v[inside])
        return np.concatenate(us), np.concatenate(vs)

    def _long_range(self, piece: int, later: Sequence[int]) -> LongRange:
        """Pairs owned by the block that affinities link; their parts are in the blocks of both ends."""
        import numpy as np

        from bigseg.kernels.evidence import LongRange, add_up
        from bigseg.volumes.tables import read_table

        parts = [LongRange(**read_table(self.layout.table("graph", "long_range", self.time, block))) for block in later]
        return add_up([part.take(np.equal(part.u >> np.uint64(LOCAL_ID_BITS), piece)) for part in parts])
