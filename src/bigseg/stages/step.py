"""What a stage is made of.

A stage has one or more *steps*, e.g. ``ingest.blocks`` and ``ingest.statistics``. A step has *pieces* (blocks of the
grid, or a single one) and says for each piece which pieces of which other steps it needs. Everything else, the batches,
ledgers, markers, threads and progress, is the runner's; which job runs when is Snakemake's.

The workflow makes steps while it plans, so modules of steps import no array library at their top; ``process`` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bigseg.config.samples import Affinities, Input
from bigseg.errors import UserError
from bigseg.geometry.box import Box, triple
from bigseg.geometry.grid import Grid
from bigseg.layout import MADE_AGAIN, Layout
from bigseg.machine import Machine
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.resume.files import copy_file, link_file

if TYPE_CHECKING:
    import numpy as np

    from bigseg.config import Config
    from bigseg.planning.sample import SamplePlan
    from bigseg.resume.ledger import Record
    from bigseg.resume.marker import Marker
    from bigseg.volumes.source import Source
    from bigseg.volumes.store import VolumeArray

Parameters = dict[str, Any]
"""What a step is told, as JSON: all that its result depends on, and where to find it."""


@dataclass(frozen=True)
class Need:
    """Pieces of another step that must be there first.

    Attributes:
        step: ``stage.step``.
        pieces: numbers of the pieces.
        total: number of pieces that the step has in all.
        in_key: whether their digests are part of the key; False where ``evidence`` tells more precisely what is used.
        time: time point, None for the step's own.
    """

    step: str
    pieces: Sequence[int]
    total: int = 1
    in_key: bool = True
    time: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What processing a piece gave.

    Attributes:
        digest: fingerprint of the output.
        note: figures for ``status`` and the report, e.g. the number of supervoxels.
    """

    digest: str
    note: dict[str, Any] = field(default_factory=dict)


class Step(ABC):
    """One step of a stage, bound to a sample, a time point and its parameters."""

    stage: ClassVar[str]
    step: ClassVar[str]
    """Name of the step; steps of the pyramid add their level."""
    version: ClassVar[int]
    """To be raised with every change of the code that changes the output; a test holds digests of a small run."""
    per_time: ClassVar[bool] = True
    """False for a step that runs once over all time points."""
    files: ClassVar[tuple[str, ...]] = ()
    """Files in the sample's result folder that the step writes; its rule declares them beside the marker."""
    opens: ClassVar[tuple[str, ...]] = ()
    """Cached properties that hold a user's file, open for as long as a job runs."""
    in_batches: ClassVar[bool] = True
    """False for a step of a single piece."""
    looked_up_by: ClassVar[tuple[str, ...]] = ()
    """Parameters that only tell where something is found; ``evidence`` tells what it is."""

    passing: ClassVar[tuple[str, ...]] = ()
    """What it writes, as patterns within the sample's intermediates, if only later steps read that: ``bigseg clean``
    may remove it once all is done. Nothing if any of it stays."""

    leaving_out: ClassVar[tuple[str, ...]] = ()
    """Parameters that only tell which pieces are empty: no part of the keys, since this is known of each piece."""

    def __init__(self, parameters: Parameters, layout: Layout, time: int) -> None:
        """Bind the step; ``time`` is ignored where the step runs once over all time points."""
        self.parameters = parameters
        self.layout = layout
        self.time = time
        self.machine = Machine()

    @classmethod
    @abstractmethod
    def resolve(cls, config: Config, plan: SamplePlan) -> Parameters:
        """The parameters for one sample: exactly what the result depends on, and what ``looked_up_by`` names."""

    @classmethod
    def unit(cls, batch: str | None) -> str:
        """The name of a job's marker and ledger: the step, and the batch if there is one."""
        return cls.step if batch is None else f"{cls.step}-{batch}"

    @classmethod
    def times_of(cls, times: Sequence[int]) -> Sequence[int]:
        """The time points, of those of the sample in ascending order, that the step has jobs for."""
        return times

    @property
    def name(self) -> str:
        """``stage.step``."""
        return f"{self.stage}.{self.step}"

    def is_told_by(self, marker: Marker) -> bool:
        """Whether a marker was written by a job with this version and these parameters."""
        return (marker.version, marker.fingerprint) == (self.version, digest_json(self.dependence))

    @property
    def dependence(self) -> Parameters:
        """The parameters on which the result depends: a part of the keys and of the marker, the params of a rule."""
        return {name: value for name, value in self.parameters.items() if name not in self.looked_up_by}

    @property
    def key_parameters(self) -> Parameters:
        """The parameters that are part of the keys of all pieces."""
        return {name: value for name, value in self.dependence.items() if name not in self.leaving_out}

    @cached_property
    def grid(self) -> Grid:
        """The grid of blocks."""
        return Grid(triple(self.parameters["shape"]), triple(self.parameters["block_shape"]))

    @property
    def number_of_pieces(self) -> int:
        """Number of pieces: one per block unless a step says otherwise."""
        return self.grid.number_of_blocks

    def pieces_of(self, blocks: Collection[int], grid: Grid) -> list[int]:
        """The pieces that hold voxels of blocks of the volume's grid at full resolution, ascending."""
        return sorted(blocks)

    def voxels(self, piece: int) -> int:
        """Voxels that a piece stands for in the progress bar."""
        return self.grid.box(piece).size

    def describe(self, piece: int) -> str:
        """How messages name a piece."""
        return f"time point {self.time}, block {piece} {self.grid.box(piece)}"

    @abstractmethod
    def needs(self, piece: int) -> list[Need]:
        """What must be there before a piece."""

    def needs_of_run(self, run: range) -> list[Need]:
        """What must be there before all of some consecutive pieces."""
        return [need for piece in run for need in self.needs(piece)]

    def evidence(self, piece: int) -> str:
        """Fingerprint of whatever else a piece reads, e.g. of the mask in its box."""
        return ""

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the output of a piece that a ledger records is still there: all its tables and arrays."""
        if not all(path.exists() for path in self.tables(piece)):
            return False
        return all(
            array.stored(self.time, channel, self.grid.box(piece))
            for array, channels in self.arrays()
            for channel in range(channels)
        )

    @abstractmethod
    def process(self, piece: int) -> Outcome:
        """Compute a piece and make its output durable."""

    @abstractmethod
    def rehash(self, piece: int, record: Record) -> str:
        """Fingerprint of the output as it is stored now, taken as ``process`` takes it; nothing is written.

        Args:
            piece: number of the piece.
            record: what the ledger tells of it.

        Raises:
            UserError: something is missing, unreadable, or contradicts what it is a copy of.
        """

    def empty_with(self, piece: int) -> list[Need]:
        """Pieces which, if all of them are empty, leave this one empty; nothing where no piece is known to be."""
        return []

    def nothing_beside(self, piece: int) -> bool:
        """Whether what a piece reads beside other steps' output leaves it empty; asked where ``empty_with`` does."""
        return True

    def alike(self, piece: int) -> Hashable:
        """What empty pieces have in common whose output is the same: their shape, unless a step says otherwise."""
        return self.grid.box(piece).shape

    def left_out(self, piece: int) -> bool:
        """Whether a piece is empty because nothing will look at it."""
        return False

    def process_empty(self, piece: int) -> Outcome:
        """Compute an empty piece; steps to which emptiness is told, and does not follow from their input, say how."""
        return self.process(piece)

    def repeat(self, piece: int, like: int) -> None:
        """Make the output of an empty piece that of another one like it (:meth:`alike`), and durable.

        Intermediates become names of the same files. What stays as the result has files of its own: they are the
        user's, who may correct labels with a program that writes in place.
        """
        place = link_file if self.passing else copy_file
        for source, target in zip(self.tables(like), self.tables(piece), strict=True):
            place(source, target)
        for array, channels in self.arrays():
            for channel in range(channels):
                array.repeat(self.time, channel, self.grid.box(piece), self.grid.box(like), place)

    def tables(self, piece: int) -> list[Path]:
        """The tables that a piece writes, always in the same order."""
        return []

    def arrays(self) -> list[tuple[VolumeArray, int]]:
        """The arrays that pieces write, with their numbers of channels."""
        return []

    def place_of(self, role: str) -> Parameters | None:
        """Where a volume of the user's lies (:meth:`bigseg.config.samples.Input.place`), None where there is none.

        Args:
            role: its key in the sample, e.g. ``mask``, which is its name among the parameters, too.
        """
        found: Parameters | None = self.parameters.get(role)
        return found

    def user_input(self, role: str) -> Input:
        """A volume of the user's that is there, as the sample names it; arguments as :meth:`place_of`."""
        return (Affinities if role == "affinities" else Input).model_validate(self.place_of(role))

    def open_user(self, role: str) -> Source:
        """Open a volume of the user's that is there; kept in a property that ``opens`` names, :meth:`close` closes it.

        Arguments as :meth:`place_of`.

        Raises:
            UserError: it is missing or cannot be read.
        """
        from bigseg.volumes.source import open_source

        return open_source(self.user_input(role))

    def open_given(self, role: str) -> Source | None:
        """As :meth:`open_user`, but None where there is none."""
        return None if self.place_of(role) is None else self.open_user(role)

    def workers(self, threads: int) -> int:
        """Pieces that are in hand at the same time, where a job has ``threads``."""
        return threads

    def close(self) -> None:
        """Close the user's files; they are opened again if needed."""
        for name in self.opens:
            source = self.__dict__.pop(name, None)
            if source is not None:
                source.close()


class BlockStep(Step):
    """A step whose pieces are blocks, and what a block needs follows from its box.

    What a box of many blocks needs is worked out at once, or planning 100,000 blocks would take minutes.
    """

    def needs(self, piece: int) -> list[Need]:
        """What must be there before a block."""
        return self.needs_within(self.grid.box(piece))

    def needs_of_run(self, run: range) -> list[Need]:
        """What must be there before all of some consecutive blocks."""
        return [need for box in self.grid.boxes(run) for need in self.needs_within(box)]

    @abstractmethod
    def needs_within(self, box: Box) -> list[Need]:
        """What must be there before all blocks that tile ``box``: what each of them needs, and no more."""


def digest_tables(paths: Iterable[Path]) -> str:
    """Fingerprint of all columns of tables, one table after the other.

    Raises:
        UserError: one is missing or damaged.
    """
    from bigseg.volumes.tables import read_checked

    return digest_arrays(*(column for path in paths for column in read_checked(path).values()))


def check_copy(path: Path, found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Refuse a table whose content follows from other output of the piece and is another.

    Raises:
        UserError: it is.
    """
    if list(found) != list(expected) or digest_arrays(*found.values()) != digest_arrays(*expected.values()):
        raise UserError(f"{path}: contradicts what it was made from", MADE_AGAIN)


class WholeStep(Step):
    """A step of a single piece: a whole time point, or the whole sample."""

    in_batches = False

    def intact(self, piece: int, record: Record) -> bool:
        """Whether the declared files are there, too: Snakemake removes them before it starts a job again."""
        declared = (self.layout.result_folder / file for file in self.files)
        return super().intact(piece, record) and all(path.exists() for path in declared)

    @property
    def number_of_pieces(self) -> int:
        """One."""
        return 1

    def pieces_of(self, blocks: Collection[int], grid: Grid) -> list[int]:
        """The piece, if there are any blocks."""
        return [0] if blocks else []

    def voxels(self, piece: int) -> int:
        """Nothing that a rate in voxels would describe."""
        return 0

    def describe(self, piece: int) -> str:
        """The time point, if there is one."""
        return f"time point {self.time}" if self.per_time else "all time points"


def grid_parameters(plan: SamplePlan) -> Parameters:
    """The part of the parameters that every step on blocks has."""
    return {"shape": list(plan.grid.shape), "block_shape": list(plan.grid.block_shape)}


def storage_parameters(plan: SamplePlan) -> Parameters:
    """The part of the parameters that steps which write voxels have; the number of time points is no such part."""
    return {**grid_parameters(plan), "chunk_shape": list(plan.chunk_shape)}


def image_parameters(config: Config, plan: SamplePlan) -> Parameters:
    """The part of the parameters that steps which read the image have: where it lies."""
    if config.ingest.reference and plan.referenced:
        return {"copy": False, "input": plan.sample.input.place()}
    return {"copy": True}
