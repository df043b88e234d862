"""Patches of a block: which voxels a network is given, and which of its output counts. Arithmetic only.

The network is applied to a *frame*: the volume, lengthened at its upper ends to a multiple of the network's
divisibility (and by a mirrored margin on all sides if wanted). Every patch begins and ends at a multiple of the
divisibility of that frame, so its pooling windows are those of one pass over the whole frame; it holds all voxels that
its output can see, or ends where the frame ends, where the network pads as it would in the whole. Hence patches give
what the whole gives.
Voxels of the frame outside the volume are mirrored ones; nothing is mirrored inside the volume.

Networks with group or instance norm see the whole patch. Their patches lie on a lattice of the volume, not of the
block, so that at least the shape of a block changes nothing; with ``overlap`` every voxel is the weighted mean of
patches that overlap by half, as in PlantSeg (Wolny et al. 2020).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from bigseg.errors import UserError
from bigseg.geometry.box import Box, Triple, triple
from bigseg.networks.description import ModelDescription


@dataclass(frozen=True)
class Patch:
    """One application of the network, in voxels of the frame.

    Attributes:
        given: what the network is given.
        used: which part of the block its output is used for.
        core: which part of the frame it stands for; equals ``used`` but for patches that reach out of the block.
    """

    given: Box
    used: Box
    core: Box


@dataclass(frozen=True)
class Tiling:
    """How a network is applied to a volume.

    Attributes:
        volume: shape (z, y, x).
        divisibility: multiples at which patches begin and end.
        before: reach per axis and place, see :class:`bigseg.networks.reach.Reach`.
        after: as ``before``.
        mirror: voxels that are mirrored beyond each edge of the volume.
        margin: voxels around each patch's core that its output must be right in, too (for shifted affinities).
        fixed: lengths that a patch must have.
        minimum: lengths that it must have at least.
        lattice: whether patches lie on a lattice of the volume.
        overlap: whether they overlap by half.
    """

    volume: Triple
    divisibility: Triple
    before: tuple[tuple[int, ...], ...]
    after: tuple[tuple[int, ...], ...]
    mirror: Triple = (0, 0, 0)
    margin: Triple = (0, 0, 0)
    fixed: tuple[int | None, int | None, int | None] = (None, None, None)
    minimum: Triple = (1, 1, 1)
    lattice: bool = False
    overlap: bool = False

    @classmethod
    def of(
        cls, model: ModelDescription, volume: Triple, *, mirror: Triple, margin: Triple, symmetric: bool, overlap: bool
    ) -> Tiling:
        """The tiling for a model.

        Args:
            model: the model.
            volume: shape (z, y, x).
            mirror: voxels that are mirrored beyond each edge of the volume.
            margin: voxels around each patch that must be right, too.
            symmetric: whether patches are also flipped and turned, so that the reach is the same in all directions.
            overlap: whether patches overlap by half.
        """
        before, after = model.before, model.after
        if symmetric:
            plane = max(max(*b, *a) for b, a in zip(before[1:], after[1:], strict=True))
            depth = max(*before[0], *after[0])
            before = after = ((depth,), (plane,), (plane,))
        return cls(
            volume,
            model.divisibility,
            before,
            after,
            mirror,
            margin,
            model.fixed_shape,
            model.minimum_shape,
            model.statistics or overlap,
            overlap,
        )

    @property
    def origin(self) -> Triple:
        """Where the volume begins in the frame."""
        return triple([_up(m, d) for m, d in zip(self.mirror, self.divisibility, strict=True)])

    @property
    def frame(self) -> Triple:
        """Shape of the frame."""
        lengths = []
        for n, o, m, d, fixed, least in zip(
            self.volume, self.origin, self.mirror, self.divisibility, self.fixed, self.minimum, strict=True
        ):
            lengths.append(max(_up(o + n + m, d), fixed or 0, _up(least, d)))
        return triple(lengths)

    def in_frame(self, box: Box) -> Box:
        """A box of the volume in the frame."""
        begin = triple([a + o for a, o in zip(box.begin, self.origin, strict=True)])
        end = triple([b + o for b, o in zip(box.end, self.origin, strict=True)])
        return Box(begin, end)

    def given(self, core: Box) -> Box:
        """What the network must be given so that its output is right in ``core``, a box of the frame.

        Raises:
            UserError: a fixed size of patches is too small.
        """
        spans = [self.given_along(axis, core.begin[axis], core.end[axis]) for axis in range(3)]
        return Box(triple([a for a, _ in spans]), triple([b for _, b in spans]))

    def largest_core(self) -> tuple[int | None, ...]:
        """The longest core per axis that patches of a fixed size allow; None where the size is free.

        Raises:
            UserError: nothing is left between the halos.
        """
        found: list[int | None] = []
        for axis, size in enumerate(self.fixed):
            if size is None:
                found.append(None)
                continue
            d = self.divisibility[axis]
            if size % d:
                raise UserError(
                    f"patches of {size} voxels are no multiple of the network's divisibility {d}", "export it again"
                )
            margin = self.margin[axis]
            left = size - _up(max(self.before[axis]) + margin, d) - _up(max(self.after[axis]) + margin, d)
            core = size if self.frame[axis] == size else left // d * d
            if core < d:
                raise UserError(
                    f"the model takes {size} voxels and sees {max(self.before[axis])} to either side: nothing is left",
                    "use a model that takes larger patches",
                )
            found.append(core)
        return tuple(found)

    def patches(self, block: Box, core: Triple) -> list[Patch]:
        """The patches of a block, in the order of its voxels.

        Args:
            block: in voxels of the volume.
            core: shape of a patch without its surroundings; a multiple of the divisibility.
        """
        whole = self.in_frame(block)
        axes = [self.cores_along(axis, whole.begin[axis], whole.end[axis], core[axis]) for axis in range(3)]
        found = []
        for pieces in itertools.product(*axes):
            cores, used = zip(*pieces, strict=True)
            box = Box(triple([a for a, _ in cores]), triple([b for _, b in cores]))
            part = Box(triple([a for a, _ in used]), triple([b for _, b in used]))
            found.append(Patch(self.given(box), part, box))
        return found

    def needed(self, block: Box, core: Triple) -> Box:
        """The voxels of the volume that the patches of a block are made from, mirrored ones included."""
        spans = [_needed_along(self, axis, block.begin[axis], block.end[axis], core[axis]) for axis in range(3)]
        box = Box(triple([a for a, _ in spans]), triple([b for _, b in spans]))
        if self.fixed != (None, None, None):
            return box
        # A model with a large smallest patch may be given more than the halo, on either side of a small core.
        sees = [max(b) + max(a) + d for b, a, d in zip(self.before, self.after, self.divisibility, strict=True)]
        more = triple([least if least > s else 0 for least, s in zip(self.minimum, sees, strict=True)])
        return box.grow(more, more, self.volume)

    def source(self, given: Box) -> Box:
        """The voxels of the volume that a box of the frame is filled from."""
        spans = [self.source_along(axis, given.begin[axis], given.end[axis]) for axis in range(3)]
        return Box(triple([a for a, _ in spans]), triple([b for _, b in spans]))

    def source_along(self, axis: int, begin: int, end: int) -> tuple[int, int]:
        """From and to which voxel of the volume a stretch of an axis of the frame is filled."""
        first, last = begin - self.origin[axis], end - self.origin[axis]
        if first < 0 or last > self.volume[axis]:
            rows = self.indices(axis, begin, end)
            first, last = min(rows), max(rows) + 1
        return first, last

    def indices(self, axis: int, begin: int, end: int) -> list[int]:
        """Which voxel of the volume stands at each place of the frame: itself, or its mirror image beyond an edge."""
        origin = self.origin[axis]
        return mirrored(self.volume[axis], begin - origin, end - origin)

    def weights(self, patch: Patch) -> tuple[list[float], ...] | None:
        """How much each voxel of ``patch.used`` counts, per axis, for overlapping patches: a tent over its core."""
        if not self.overlap:
            return None
        found = []
        for axis in range(3):
            a, b = patch.core.begin[axis], patch.core.end[axis]
            half = self._half(b - a)
            first = a == 0
            last = b == self.frame[axis]
            row = []
            for i in range(patch.used.begin[axis], patch.used.end[axis]):
                rise = 1.0 if first else (i - a + 0.5) / half
                fall = 1.0 if last else (b - i - 0.5) / half
                row.append(min(1.0, rise, fall))
            found.append(row)
        return tuple(found)

    def _half(self, length: int) -> float:
        return max(1.0, length / 2)

    def given_along(self, axis: int, begin: int, end: int) -> tuple[int, int]:
        """What of an axis the network must be given so that its output is right from ``begin`` to ``end``."""
        d, total, margin = self.divisibility[axis], self.frame[axis], self.margin[axis]
        before, after = self.before[axis], self.after[axis]
        a, b = max(0, begin - margin), min(total, end + margin)
        low = max(0, (a - before[a % len(before)]) // d * d)
        high = min(total, _up(b + after[(b - 1) % len(after)], d))
        size = self.fixed[axis]
        if size is None:
            missing = _up(max(0, self.minimum[axis] - (high - low)), d)
            low = max(0, low - missing)
            return low, min(total, max(high, low + _up(self.minimum[axis], d)))
        low = min(low, total - size)
        if high > low + size:
            raise UserError(
                f"a patch of {high - low} voxels is larger than the model takes, {size}", "use another model"
            )
        return low, low + size

    def cores_along(self, axis: int, begin: int, end: int, core: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Cores along an axis and which part of them is used."""
        total = self.frame[axis]
        if self.overlap:
            # Cores of twice the step, so that two of them lie over every voxel but those near the edges of the frame.
            step = max(1, core // 2 // self.divisibility[axis]) * self.divisibility[axis]
            last = max(0, -(-(total - 2 * step) // step)) * step
            starts = [s for s in range(0, last + 1, step) if s < end and min(total, s + 2 * step) > begin]
            spans = [(s, min(total, s + 2 * step)) for s in starts]
            return [(span, (max(span[0], begin), min(span[1], end))) for span in spans]
        first = begin // core * core if self.lattice else begin // self.divisibility[axis] * self.divisibility[axis]
        found = []
        for start in range(first, end, core):
            a, b = start, min(start + core, total)
            used = (max(a, begin), min(b, end))
            found.append(((a, b) if self.lattice else used, used))
        return found


def mirrored(length: int, begin: int, end: int) -> list[int]:
    """Which voxel of an axis of ``length`` stands at each place: itself, or beyond an edge its mirror image.

    The voxel at the edge is not repeated.
    """
    period = max(1, 2 * (length - 1))
    places = (i % period for i in range(begin, end))
    return [min(p, period - p) if length > 1 else 0 for p in places]


@cache
def _needed_along(tiling: Tiling, axis: int, begin: int, end: int, core: int) -> tuple[int, int]:
    """From and to which voxel along an axis the patches of blocks from ``begin`` to ``end`` are made.

    Patches are products of stretches of the axes; planning asks for the same stretch again and again.
    """
    origin = tiling.origin[axis]
    cores = [core for core, _ in tiling.cores_along(axis, begin + origin, end + origin, core)]
    spans = [tiling.source_along(axis, *tiling.given_along(axis, *span)) for span in cores]
    return min(a for a, _ in spans), max(b for _, b in spans)


def choose_core(tiling: Tiling, block: Triple, fits: Callable[[Triple], bool], limit: Triple | None = None) -> Triple:
    """The largest core for which a patch fits, from the whole block to one step of the divisibility.

    Args:
        tiling: how the network is applied.
        block: shape of a block.
        fits: whether a patch of a shape fits into memory, with all that surrounds its core. It is asked by bisection,
            so a patch with fewer voxels than one that fits must fit, too.
        limit: longest core per axis.

    Raises:
        UserError: not even the smallest patch fits.
    """
    candidates = list(core_candidates(tiling, block, limit))
    shapes = [patch_shape(tiling, core) for core in candidates]
    low, high = 0, len(candidates)
    while low < high:
        middle = (low + high) // 2
        if fits(shapes[middle]):
            high = middle
        else:
            low = middle + 1
    if low == len(candidates):
        raise UserError(
            f"the smallest patch of the network, {list(shapes[-1])} voxels with all it sees, does not fit into memory",
            "raise execution.network_memory_gb, use a GPU with more memory, or a smaller network",
        )
    return candidates[low]


def core_candidates(tiling: Tiling, block: Triple, limit: Triple | None = None) -> Iterator[Triple]:
    """Cores from the whole block downwards: each time the axis that gives the largest patch is cut into more parts.

    All are multiples of the divisibility, none is longer than the block, and the patches become smaller and smaller.
    """
    fixed = tiling.largest_core()
    longest = []
    for axis in range(3):
        lengths = [block[axis], tiling.frame[axis]]
        lengths += [n for n in (fixed[axis], limit[axis] if limit else None) if n is not None]
        longest.append(_up(min(lengths), tiling.divisibility[axis]) if fixed[axis] is None else min(lengths))
    core = [max(d, n // d * d) for n, d in zip(longest, tiling.divisibility, strict=True)]
    start = list(core)
    parts = [1, 1, 1]
    yield triple(core)
    while True:
        can = [axis for axis in range(3) if core[axis] > tiling.divisibility[axis] and fixed[axis] is None]
        if not can:
            return
        shape = patch_shape(tiling, triple(core))
        axis = max(can, key=lambda a: (core[a] / (1 + shape[a] - core[a]), core[a]))
        before = core[axis]
        while core[axis] == before:
            parts[axis] += 1
            core[axis] = max(tiling.divisibility[axis], _up(-(-start[axis] // parts[axis]), tiling.divisibility[axis]))
        yield triple(core)


def first_core(tiling: Tiling, block: Triple) -> Triple:
    """The largest core there is: what a block needs with it, it needs with any smaller one."""
    return next(core_candidates(tiling, block))


def patch_shape(tiling: Tiling, core: Triple) -> Triple:
    """The largest patch that cores of a shape lead to."""
    lengths = []
    for axis in range(3):
        if tiling.fixed[axis] is not None:
            lengths.append(int(tiling.fixed[axis] or 0))
            continue
        d, margin = tiling.divisibility[axis], tiling.margin[axis]
        around = _up(max(tiling.before[axis]) + margin, d) + _up(max(tiling.after[axis]) + margin, d)
        lengths.append(min(tiling.frame[axis], max(core[axis] + around, _up(tiling.minimum[axis], d))))
    return triple(lengths)


def halo_of(tiling: Tiling) -> Triple:
    """Voxels around a block that its patches may need; for estimates of memory."""
    return triple(
        [
            _up(max(*b, *a) + m, d)
            for b, a, m, d in zip(tiling.before, tiling.after, tiling.margin, tiling.divisibility, strict=True)
        ]
    )


def voxels(shape: Sequence[int]) -> int:
    """Number of voxels of a shape."""
    z, y, x = shape
    return z * y * x


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
