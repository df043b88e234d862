"""Steps on blocks that compare labels with the truth of their sample, and the pairs of labels that they count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from bigseg.errors import UserError
from bigseg.resume.digest import digest_arrays
from bigseg.stages.step import BlockStep, digest_tables

if TYPE_CHECKING:
    from bigseg.geometry.box import Box
    from bigseg.kernels.contingency import Contingency
    from bigseg.layout import Layout
    from bigseg.resume.ledger import Record
    from bigseg.volumes.source import Source


class TruthStep(BlockStep):
    """A step that counts in a block what labels and truth share, into tables.

    A block is empty where both are: what it would count is its number of voxels. The parameter ``truth`` tells where
    the truth lies, or is None.
    """

    opens: ClassVar[tuple[str, ...]] = ("_truth",)

    @property
    def truth_times(self) -> Sequence[int]:
        """The time points at which the truth is looked at."""
        return [self.time]

    def evidence(self, piece: int) -> str:
        """The truth in the block."""
        if self.parameters["truth"] is None:
            return ""
        return digest_arrays(*(self._truth.read(time, 0, self.grid.box(piece)) for time in self.truth_times))

    def nothing_beside(self, piece: int) -> bool:
        """Whether the truth holds nothing in the block; read once, unless that is known without."""
        if self.parameters["truth"] is None:
            return True
        if piece not in self._bare:
            box = self.grid.box(piece)
            self._bare[piece] = all(self.truth_is_empty(time, box) for time in self.truth_times)
        return self._bare[piece]

    def truth_is_empty(self, time: int, box: Box) -> bool:
        """Whether the truth is 0 in all of a box."""
        return self._truth.holds_nothing(time, 0, box) or not self._truth.read(time, 0, box).any()

    def rehash(self, piece: int, record: Record) -> str:
        """The tables."""
        return digest_tables(self.tables(piece))

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Tell which file it is whose labels a kernel refuses."""
        try:
            yield
        except ValueError as error:
            path = self.parameters["truth"]["path"]
            raise UserError(f"{path}: {error}", "labels are 0 (background) or more") from error

    @cached_property
    def _bare(self) -> dict[int, bool]:
        """What is known of blocks."""
        return {}

    @cached_property
    def _truth(self) -> Source:
        """The truth, opened once per job."""
        return self.open_user("truth")


def read_pairs(layout: Layout, table: str, time: int, blocks: int) -> Iterator[Contingency]:
    """The tables of pairs of all blocks of a time point, one after the other.

    Raises:
        UserError: one is missing or damaged.
    """
    from bigseg.kernels.contingency import Contingency
    from bigseg.volumes.tables import read_table

    paths = (layout.table("evaluate", table, time, block) for block in range(blocks))
    return (Contingency(**read_table(path)) for path in paths)
