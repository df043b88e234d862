"""The life of the cells of a synthetic tissue: when they divide and die, and where they are.

All descendants of a cell of time 0 are a *family*. What becomes of a family is a hash of its number, so any family at
any time is known without the others. Lengths are in lattice constants of the tissue.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bigseg.kernels.random_numbers import hashes, stream, uniform

_DIVIDED, _APART = 0.16, 0.26
"""How far daughters are from where their mother was: as soon as they are two, and once they are grown."""
_GROWN = 5
"""Time points after which a daughter is grown."""
_NEWBORN = 0.06
"""By how much a newborn's squared distances are lengthened: it gets less of the space, until it is grown."""
_WANDER, _WANDER_TIMES = 0.1, 6
"""How far families stray from their place, along each axis, and time points in which they get elsewhere."""
GONE = 5
"""Time points after which the neighbours have filled the gap that a dead cell leaves."""
_GAP = 0.6
"""By how much the squared distances of a dead cell are lengthened when it is gone."""
_EVENTS, _AXES, _WANDERING, _AGES = range(100, 104)
"""What a random number is for: each has a stream of its own."""

Ids = NDArray[np.uint64]
Times = NDArray[np.int64]
Points = NDArray[np.float64]


class Cells(NamedTuple):
    """Cells of some families, all that ever live, ascending by id."""

    id: Ids
    """(n,) uint64, from 1."""
    parent: Ids
    """(n,) uint64 id of the mother, 0 at time 0."""
    family: NDArray[np.intp]
    """(n,) position of the family among those that were asked for."""
    generation: Times
    start: Times
    end: Times
    """(n,) int64 last time point."""
    dies: NDArray[np.bool_]
    """Whether it dies after ``end``; else it divides, or the movie ends."""
    base: Points
    """(n, 3) where its mother was when it was born, relative to the family's place."""
    away: Points
    """(n, 3) direction in which it leaves its sister; as long as the lengths of its generation are shorter."""


@dataclass(frozen=True)
class CellLife:
    """The chances of life of every cell."""

    times: int
    """Time points of the movie."""
    division_rate: float
    """Chance that a cell that is old enough divides from one time point to the next."""
    death_rate: float
    """Chance that a cell dies from one time point to the next."""
    youngest_mother: int
    """Time points from birth to the first chance of a division."""
    seed: int

    def __post_init__(self) -> None:
        """Refuse chances that are none."""
        if self.times < 1 or self.youngest_mother < 1:
            raise ValueError("times and youngest_mother must be at least 1")
        if min(self.division_rate, self.death_rate) < 0 or self.division_rate + self.death_rate > 1:
            raise ValueError("division_rate and death_rate must be in 0 … 1, and so must their sum")

    @property
    def generations(self) -> int:
        """The last generation that there can be."""
        chances = max(0, self.times - 2) // self.youngest_mother + 1
        return chances if self.division_rate > 0 and self.times > 1 else 0

    @property
    def cells_of_family(self) -> int:
        """Ids that each family has for itself; most remain unused."""
        return int(2 ** (self.generations + 1)) - 1

    @cached_property
    def reach(self) -> float:
        """The farthest that a cell can get from its family's place."""
        return float(_APART * sum(2 ** (-g / 3) for g in range(self.generations)) + 3**0.5 * _WANDER)

    def cells(self, families: Ids) -> Cells:
        """All that ever lives of some families.

        Args:
            families: (n,) uint64, ascending.
        """
        slots = np.uint64(self.cells_of_family)
        n = len(families)
        zeros = np.zeros((n, 3))
        generation = [
            Cells(
                id=families * slots + np.uint64(1),
                parent=np.zeros(n, np.uint64),
                family=np.arange(n),
                generation=np.zeros(n, np.int64),
                start=np.zeros(n, np.int64),
                end=np.full(n, self.times - 1),
                dies=np.zeros(n, bool),
                base=zeros,
                away=zeros,
            )
        ]
        while len(generation[-1].id):
            generation[-1], divided = self._fate(generation[-1])
            generation.append(self._daughters(generation[-1], divided, slots))
        joined = Cells._make(np.concatenate(column) for column in zip(*generation, strict=True))
        order = np.argsort(joined.id)
        return Cells._make(column[order] for column in joined)

    def _fate(self, cells: Cells) -> tuple[Cells, NDArray[np.bool_]]:
        """The cells with their ends, and which of them divide."""
        times = np.arange(1, self.times)
        draw = uniform(hashes(hashes(stream(self.seed, _EVENTS), cells.id)[:, None], times.astype(np.uint64)))
        age = times - cells.start[:, None]
        # A cell of time 0 was born some time before it.
        before = np.floor(uniform(hashes(stream(self.seed, _AGES), cells.id)) * (self.youngest_mother + 1))
        age_known = age + np.where(cells.parent == 0, before, 0)[:, None]
        dies = (draw < self.death_rate) & (age > 0)
        divides = (draw >= self.death_rate) & (draw < self.death_rate + self.division_rate) & (age > 0)
        divides &= age_known >= self.youngest_mother
        event = dies | divides
        some = np.asarray(event.any(axis=1), np.bool_)
        first = event.argmax(axis=1) if event.shape[1] else np.zeros(len(some), np.intp)
        rows = np.arange(len(some))
        died: NDArray[np.bool_] = np.zeros(len(some), np.bool_)
        died[some] = dies[rows[some], first[some]]
        end = np.where(some, first, self.times - 1)  # the event at times[first] = first + 1 ends it before
        return cells._replace(end=end.astype(np.int64), dies=died), some & ~died

    def _daughters(self, cells: Cells, divided: NDArray[np.bool_], slots: np.uint64) -> Cells:
        """The two daughters of each cell that divides."""
        mothers = Cells._make(column[divided] for column in cells)
        start = mothers.end + 1
        place = relative_positions(mothers, start)
        h = hashes(stream(self.seed, _AXES), mothers.id)
        axis = np.stack([uniform(h, part) for part in range(3)], axis=1) - 0.5
        axis[np.abs(axis).max(axis=1) < 1e-3] = (0.5, 0.0, 0.0)
        axis /= np.sqrt((axis * axis).sum(axis=1))[:, None]
        axis *= (2.0 ** (-mothers.generation / 3))[:, None]
        slot = (mothers.id - np.uint64(1)) % slots
        first = mothers.id - slot
        both = [
            Cells(
                id=first + np.uint64(2) * slot + np.uint64(which),
                parent=mothers.id,
                family=mothers.family,
                generation=mothers.generation + 1,
                start=start,
                end=start,
                dies=np.zeros(len(start), bool),
                base=place,
                away=axis * sign,
            )
            for which, sign in ((1, 1.0), (2, -1.0))
        ]
        return Cells._make(np.concatenate(columns) for columns in zip(*both, strict=True))

    def wandering(self, families: Ids, time: int) -> Points:
        """How far families have strayed from their place at a time, (n, 3)."""
        leg, step = divmod(time, _WANDER_TIMES)
        here, there = (
            hashes(hashes(stream(self.seed, _WANDERING), families), np.array([knot], np.uint64))
            for knot in (leg, leg + 1)
        )
        share = step / _WANDER_TIMES
        places = [np.stack([uniform(h, part) for part in range(3)], axis=1) * 2 - 1 for h in (here, there)]
        return np.asarray(_WANDER * ((1 - share) * places[0] + share * places[1]))


def relative_positions(cells: Cells, time: Times | int) -> Points:
    """Where cells are relative to the place of their family, (n, 3), at a time at or after their start."""
    grown = np.minimum(np.asarray(time) - cells.start, _GROWN) / _GROWN
    return np.asarray(cells.base + cells.away * (_DIVIDED + (_APART - _DIVIDED) * grown)[:, None])


def maturity(cells: Cells, time: int) -> NDArray[np.float64]:
    """0 for a newborn … 1 for a cell that is grown; cells of time 0 are."""
    age = np.minimum(time - cells.start, _GROWN) / _GROWN
    return np.where(cells.parent == 0, 1.0, age)


def lengthening(cells: Cells, time: int) -> NDArray[np.float64]:
    """By how much squared distances to cells are lengthened, (n,): the more, the less of the space is theirs."""
    gone = np.maximum(time - cells.end, 0) / GONE
    return np.asarray(_NEWBORN * (1 - maturity(cells, time)) + _GAP * gone)


def present(cells: Cells, time: int) -> NDArray[np.bool_]:
    """Which cells take space: those that live, and those that died so recently that their gap is open."""
    living = (cells.start <= time) & (time <= cells.end)
    return living | (cells.dies & (cells.end < time) & (time < cells.end + GONE))
