"""Batches: runs of consecutive blocks that one job works through, named ``first-last``."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Sequence

from bigseg.errors import UserError


def make_batches(number_of_pieces: int, batches: int) -> list[range]:
    """Cut ``0 … number_of_pieces - 1`` into at most ``batches`` runs whose lengths differ by at most one."""
    count = max(1, min(batches, number_of_pieces))
    edges = [i * number_of_pieces // count for i in range(count + 1)]
    return [range(a, b) for a, b in itertools.pairwise(edges)]


def batch_name(batch: range) -> str:
    """The name of a batch in files and on the command line: ``000012-000017``, both ends included."""
    return f"{batch.start:06d}-{batch.stop - 1:06d}"


def parse_batch(name: str, number_of_pieces: int) -> range:
    """The inverse of :func:`batch_name`.

    Raises:
        UserError: the name is malformed or reaches past the last block.
    """
    first, dash, last = name.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal()):
        raise UserError(f"--blocks {name!r} is not a range of blocks", "write it as FIRST-LAST, e.g. 000000-000031")
    if not int(first) <= int(last) < number_of_pieces:
        raise UserError(
            f"--blocks {name!r} reaches outside the {number_of_pieces} blocks of this volume",
            f"the last block is {number_of_pieces - 1}",
        )
    return range(int(first), int(last) + 1)


def batches_of(pieces: Iterable[int], batches: Sequence[range]) -> list[int]:
    """Positions, ascending, of the batches that hold any of ``pieces``; ``batches`` tile the pieces in order."""
    starts = [batch.start for batch in batches]
    wanted = sorted(pieces)
    found = []
    position = 0
    while position < len(wanted):
        found.append(bisect.bisect_right(starts, wanted[position]) - 1)
        position = bisect.bisect_left(wanted, batches[found[-1]].stop, position)
    return found


def tile(batches: Iterable[range], number_of_pieces: int) -> list[range] | None:
    """Those of some batches that tile ``0 … number_of_pieces - 1``, the longest where there is a choice; or None."""
    by_start: dict[int, list[range]] = {}
    for batch in batches:
        by_start.setdefault(batch.start, []).append(batch)
    follows: dict[int, range] = {}
    """The batch to take at a piece from which the rest can be tiled."""
    for start in sorted(by_start, reverse=True):
        fits = [batch for batch in by_start[start] if batch.stop == number_of_pieces or batch.stop in follows]
        if fits:
            follows[start] = max(fits, key=len)
    tiles, at = [], 0
    while at in follows:
        tiles.append(follows[at])
        at = follows[at].stop
    return tiles if tiles and at == number_of_pieces else None
