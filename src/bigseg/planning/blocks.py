"""Shapes of blocks, chunks and shards for a volume."""

from __future__ import annotations

from math import ceil, prod

from bigseg.config.models import Blocks
from bigseg.errors import UserError
from bigseg.geometry.box import Triple, triple

_AUTO_BLOCK = 256
_LARGEST_CHUNK = 64
_SMALLEST_CHUNK = 16
_VOXELS_PER_BATCH = 64_000_000
_MOST_BATCHES = 200


def choose_shapes(sample: str, volume: Triple, blocks: Blocks) -> tuple[Triple, Triple]:
    """Block and chunk shape (z, y, x) for a volume.

    Raises:
        UserError: a block is larger than the volume, or no chunk divides it.
    """
    wanted = blocks.block_shape
    block = triple([_auto_block(n) for n in volume] if wanted == "auto" else wanted)
    given = blocks.chunk_shape
    legal = _legal(block, volume, None if given == "auto" else triple(given))
    if any(b > n for b, n in zip(block, volume, strict=True)):
        raise UserError(
            f"blocks.block_shape: {list(block)} is larger than the volume {list(volume)} of sample {sample!r}",
            f"set blocks.block_shape to {list(legal)}, or to auto",
        )
    if given != "auto":
        return block, triple(given)
    if block != legal:
        raise UserError(
            f"blocks.block_shape: {list(block)} cannot be divided into chunks of {_SMALLEST_CHUNK} to {_LARGEST_CHUNK} "
            "voxels per axis",
            f"set blocks.block_shape to {list(legal)}, or to auto",
        )
    return block, triple([_chunk(b) or min(b, _LARGEST_CHUNK) for b in block])


def _legal(block: Triple, volume: Triple, chunk: Triple | None) -> Triple:
    """The shape nearest to a block's that fits into the volume and consists of whole chunks."""
    sides = [min(b, n) for b, n in zip(block, volume, strict=True)]
    if chunk is not None:
        return triple([max(c, s // c * c) for s, c in zip(sides, chunk, strict=True)])
    # An axis of a single block need not be divided: its last chunk may be cut by the edge of the volume.
    fits = [s == n or _chunk(s) is not None for s, n in zip(sides, volume, strict=True)]
    return triple([s if good else s // _SMALLEST_CHUNK * _SMALLEST_CHUNK for s, good in zip(sides, fits, strict=True)])


def number_of_batches(volume: Triple) -> int:
    """Jobs per stage: enough work in each to outweigh its start, and no more than a planner handles with ease."""
    return min(_MOST_BATCHES, -(-prod(volume) // _VOXELS_PER_BATCH))


def _auto_block(length: int) -> int:
    """The axis itself up to 256 voxels, else equal parts of at most about 256 that whole chunks fill."""
    if length <= _AUTO_BLOCK:
        return length
    part = ceil(length / ceil(length / _AUTO_BLOCK))
    return ceil(part / _LARGEST_CHUNK) * _LARGEST_CHUNK


def _chunk(block: int) -> int | None:
    """The largest divisor of a block's length that makes a good chunk."""
    if block <= _LARGEST_CHUNK:
        return block
    return next((c for c in range(_LARGEST_CHUNK, _SMALLEST_CHUNK - 1, -1) if block % c == 0), None)
