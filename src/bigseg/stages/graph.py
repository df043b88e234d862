"""Stage ``graph``: edges between supervoxels with their statistics, sizes, and the evidence of other maps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from bigseg.errors import UserError
from bigseg.geometry.box import Box, Triple, triple
from bigseg.geometry.grid import supervoxel_id_range
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.stages.step import BlockStep, Need, Outcome, Parameters, check_copy, digest_tables, grid_parameters

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record
    from bigseg.volumes.source import Source


_TABLES = ("nodes", "edges", "across")


class GraphBlocks(BlockStep):
    """The part of the region adjacency graph that a block owns.

    Table ``nodes``: supervoxels with their sizes. Table ``edges``: contacts with their statistics
    (:class:`bigseg.kernels.region_graph.EdgeTable`). Table ``across``: a copy of those of them that lie on the upper
    faces, since the neighbours there need no others.
    """

    stage, step, version = "graph", "blocks", 3
    passing = tuple(f"graph/*/{name}-*" for name in _TABLES)

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The grid; there is nothing to choose."""
        return {**grid_parameters(plan), **config.graph.model_dump()}

    def needs_within(self, box: Box) -> list[Need]:
        """Supervoxels and boundary map of the block and one voxel beyond its upper faces."""
        blocks = self.grid.touching(self._outer(box))
        total = self.grid.number_of_blocks
        return [Need("supervoxels.blocks", blocks, total), Need("predict.blocks", blocks, total)]

    def empty_with(self, piece: int) -> list[Need]:
        """The block's supervoxels: it owns the contacts of which its own voxel is the lower one."""
        return [Need("supervoxels.blocks", [piece], self.grid.number_of_blocks)]

    def tables(self, piece: int) -> list[Path]:
        """Those of ``_TABLES``."""
        return [self.layout.table("graph", name, self.time, piece) for name in _TABLES]

    def process(self, piece: int) -> Outcome:
        """Count contacts and voxels."""
        from bigseg.kernels.region_graph import between_blocks, block_edges
        from bigseg.volumes.image import read_boundary
        from bigseg.volumes.store import VolumeArray
        from bigseg.volumes.tables import write_table

        box = self.grid.box(piece)
        outer = self._outer(box)
        shape = self.grid.shape
        labels = VolumeArray(self.layout.supervoxels, "tzyx", shape).read(self.time, 0, outer)
        boundary = read_boundary(self.layout, self.time, outer, shape)
        continues = VolumeArray(self.layout.continues, "tzyx", shape).read(self.time, 0, outer)
        ids, sizes = _count_voxels(labels[box.inside(outer).slices], piece)
        nodes = {"id": ids, "size": sizes}
        table = block_edges(labels, boundary, continues, box.shape)
        edges = table.columns()
        for path, columns in zip(self.tables(piece), (nodes, edges, between_blocks(edges)), strict=True):
            write_table(path, columns)
        return Outcome(digest_arrays(*nodes.values(), *edges.values()), {"supervoxels": len(ids), "edges": len(table)})

    def rehash(self, piece: int, record: Record) -> str:
        """Nodes and edges; the contacts across faces follow from these."""
        from bigseg.kernels.region_graph import between_blocks
        from bigseg.volumes.tables import read_checked

        paths = self.tables(piece)
        nodes, edges, across = map(read_checked, paths)
        digest = digest_arrays(*nodes.values(), *edges.values())
        if digest == record.digest:
            check_copy(paths[-1], across, between_blocks(edges))
        return digest

    def _outer(self, box: Box) -> Box:
        return box.grow((0, 0, 0), (1, 1, 1), self.grid.shape)


_COLUMNS = {"nuclei": "nucleus", "semantic": "semantic_class"}
"""What the labels of a map are called in the table."""


class GraphEvidence(BlockStep):
    """What nuclei, a semantic map and affinities say of the supervoxels of a block, as counts of voxels.

    Table ``evidence``: a row for each supervoxel with ``id`` and ``size``; for each map that is given the label that
    most of its voxels have (``nucleus``, ``semantic_class``), how many of them have it (``…_voxels``), and how many of
    the block do (``…_total``). Table ``long_range``: a row for each pair of supervoxels that the affinities link from a
    voxel of the block (:class:`bigseg.kernels.evidence.LongRange`).
    """

    stage, step, version = "graph", "evidence", 1
    passing = ("graph/*/evidence-*", "graph/*/long_range-*")
    opens = ("_nuclei", "_semantic", "_affinities")

    @classmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """Where the maps are; what is made of the counts is chosen by stage ``partition``."""
        sample = plan.sample
        return {
            **grid_parameters(plan),
            "nuclei": sample.nuclei.place() if sample.nuclei else None,
            "semantic": sample.semantic.place() if sample.semantic else None,
            "affinities": sample.affinities.place() if sample.affinities else None,
        }

    def needs_within(self, box: Box) -> list[Need]:
        """Supervoxels of the block and of all that the offsets reach from it."""
        return [Need("supervoxels.blocks", self.grid.touching(self._outer(box)), self.grid.number_of_blocks)]

    def evidence(self, piece: int) -> str:
        """The maps in the block."""
        box = self.grid.box(piece)
        labels = [None if source is None else source.read(self.time, 0, box) for source in self._label_maps]
        digests = [None if found is None else digest_arrays(found) for found in labels]
        return digest_json([digests, [digest_arrays(channel) for channel in self._channels(box)]])

    def empty_with(self, piece: int) -> list[Need]:
        """The block's supervoxels: pairs are linked from a voxel of the block."""
        return [Need("supervoxels.blocks", [piece], self.grid.number_of_blocks)]

    def tables(self, piece: int) -> list[Path]:
        """Evidence and long-range pairs."""
        return [self.layout.table("graph", name, self.time, piece) for name in ("evidence", "long_range")]

    def process(self, piece: int) -> Outcome:
        """Count."""
        from bigseg.kernels.evidence import long_range, most_frequent
        from bigseg.volumes.store import VolumeArray
        from bigseg.volumes.tables import write_table

        box = self.grid.box(piece)
        outer = self._outer(box)
        labels = VolumeArray(self.layout.supervoxels, "tzyx", self.grid.shape).read(self.time, 0, outer)
        inner = box.inside(outer).slices
        ids, sizes = _count_voxels(labels[inner], piece)
        evidence = {"id": ids, "size": sizes}
        for (role, column), source in zip(_COLUMNS.items(), self._label_maps, strict=True):
            if source is None:
                continue
            try:
                found = most_frequent(labels[inner], source.read(self.time, 0, box), ids)
            except ValueError as error:
                raise UserError(f"{self.parameters[role]['path']}: {error}", "labels are 0 (none) or more") from error
            evidence |= {column: found.label, f"{column}_voxels": found.voxels, f"{column}_total": found.total}
        pairs = long_range(labels, self._boundaries(box), self._offsets, inner)
        columns = pairs.columns()
        for path, table in zip(self.tables(piece), (evidence, columns), strict=True):
            write_table(path, table)
        return Outcome(digest_arrays(*evidence.values(), *columns.values()), {"long_range_pairs": len(pairs)})

    def rehash(self, piece: int, record: Record) -> str:
        """Both tables."""
        return digest_tables(self.tables(piece))

    def _outer(self, box: Box) -> Box:
        """The block and all that the offsets reach from it."""
        along = list(zip((0, 0, 0), *self._offsets, strict=True))
        before, after = triple([-min(axis) for axis in along]), triple([max(axis) for axis in along])
        return box.grow(before, after, self.grid.shape)

    def _channels(self, box: Box) -> Iterator[np.ndarray]:
        """The affinities in a box, one channel at a time."""
        if self._affinities is not None:
            for channel in range(len(self._offsets)):
                yield self._affinities.read(self.time, channel, box)

    def _boundaries(self, box: Box) -> Iterator[np.ndarray]:
        from bigseg.kernels.evidence import boundary_from_affinity

        for number, channel in enumerate(self._channels(box)):
            spec = self.parameters["affinities"]
            try:
                yield boundary_from_affinity(channel, invert=spec["invert"])
            except ValueError as error:
                raise UserError(
                    f"{spec['path']}, channel {number}: {error}",
                    "store affinities as uint8 (0 … 255) or as fractions (0 … 1)",
                ) from error

    @property
    def _offsets(self) -> list[Triple]:
        """(z, y, x) of each channel of the affinities."""
        spec = self.parameters["affinities"]
        return [] if spec is None else [triple(offset) for offset in spec["offsets"]]

    @property
    def _label_maps(self) -> tuple[Source | None, Source | None]:
        """The sources of the maps in ``_COLUMNS``."""
        return self._nuclei, self._semantic

    @cached_property
    def _nuclei(self) -> Source | None:
        """The map of nuclei, opened once per job."""
        return self.open_given("nuclei")

    @cached_property
    def _semantic(self) -> Source | None:
        """The semantic map, opened once per job."""
        return self.open_given("semantic")

    @cached_property
    def _affinities(self) -> Source | None:
        """The affinities, opened once per job."""
        return self.open_given("affinities")


def _count_voxels(own: np.ndarray, piece: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids, ascending, and numbers of voxels, both (n,) uint64, of the supervoxels of a block (z, y, x)."""
    import numpy as np

    first = np.uint64(supervoxel_id_range(piece)[0])
    sizes = np.bincount(np.where(own > 0, own - first, 0).astype(np.int64).reshape(-1))[1:]
    return first + np.arange(1, len(sizes) + 1, dtype=np.uint64), sizes.astype(np.uint64)
