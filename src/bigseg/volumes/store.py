"""bigseg's own voxel arrays: Zarr v3, one shard per block, one writer per shard.

Arrays are (t, c, z, y, x) or (t, z, y, x). A block is one shard, so concurrent jobs that work on different blocks never
write the same file. Every block that was written has its file, also one of nothing but zeros: a file that is missing is
damage, and must not be read as zeros.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import google_crc32c
import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from bigseg.errors import UserError
from bigseg.geometry.box import Box, Triple
from bigseg.layout import MADE_AGAIN
from bigseg.resume.files import write_json
from bigseg.resume.locks import locked

# The Rust codec pipeline writes shards about three times as fast as the default one. Blocks are the unit of
# parallelism, hence one thread within a block.
zarr.config.set(
    {
        "codec_pipeline.path": "zarrs.ZarrsCodecPipeline",
        "codec_pipeline.chunk_concurrent_maximum": 1,
        "threading.max_workers": 1,
        "async.concurrency": 1,
    }
)


@dataclass(frozen=True)
class ArraySpec:
    """What an array of bigseg looks like."""

    path: Path
    shape: tuple[int, ...]
    axes: str
    dtype: str
    shard_shape: Triple
    chunk_shape: Triple
    lock: Path
    """File that is locked while the array is made; outside the store, which holds nothing but data."""
    status: Path
    """Folder with the markers of the stage that writes the array."""
    step: str
    """Name of the step that writes it."""


class VolumeArray:
    """A Zarr array whose last axes are (z, y, x), read and written box by box; safe to use from several threads."""

    def __init__(self, path: Path, axes: str, volume: Triple | None = None) -> None:
        """Open an existing array with the given axes, a subsequence of ``tczyx``.

        Args:
            path: folder of the array.
            axes: its axes.
            volume: shape (z, y, x) that it has to have; any if left out.

        Raises:
            UserError: there is no readable array, or it is one of another shape.
        """
        self.path = path
        self.axes = axes
        self.array = _open_array(path)
        if len(self.array.shape) != len(axes) or (volume is not None and self.array.shape[-3:] != tuple(volume)):
            wanted = f"{len(axes)} axes" if volume is None else f"a volume of {list(volume)} voxels (z, y, x)"
            raise UserError(f"{path}: has shape {list(self.array.shape)} ({axes}), not that of {wanted}", MADE_AGAIN)

    def read(self, t: int, c: int, box: Box) -> np.ndarray:
        """Voxels (z, y, x) of ``box`` of one time point and channel.

        Raises:
            UserError: a chunk is damaged, or its file is gone.
        """
        if self.array.shards is not None:  # an array of bigseg's own, where nothing is left out
            gone = next((shard for shard in self._shards(t, c, box) if not shard.exists()), None)
            if gone is not None:
                raise UserError(f"{gone}: is gone (voxels {box} of time point {t})", MADE_AGAIN)
        try:
            return np.asarray(self.array[self._index(t, c, box)]).reshape(box.shape)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{self.path}: voxels {box} of time point {t} cannot be read ({error})", MADE_AGAIN
            ) from error

    def write(self, t: int, c: int, box: Box, values: np.ndarray) -> None:
        """Write the voxels of ``box``, a whole block, and wait until they are on disk.

        Raises:
            UserError: the disk is full or may not be written.
        """
        try:
            for shard in self._shards(t, c, box):
                shard.unlink(missing_ok=True)  # it may be linked to other blocks' shards, and would be written in place
            self.array[self._index(t, c, box)] = values.reshape((1,) * (len(self.axes) - 3) + box.shape)
            for shard in self._shards(t, c, box):
                if not shard.exists():  # Zarr stores none for nothing but zeros
                    shard.parent.mkdir(parents=True, exist_ok=True)
                    shard.write_bytes(self._shard_of_zeros)
                with shard.open("rb") as file:
                    os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"{self.path}: block {box} of time point {t} cannot be written ({error})",
                "free space on that disk or make the folder writable, then run again",
            ) from error

    def holds(self, t: int) -> bool:
        """Whether any block of a time point was written."""
        return (self.path / "c" / str(t)).is_dir()

    def stored(self, t: int, c: int, box: Box) -> bool:
        """Whether every shard of ``box`` exists."""
        return all(shard.exists() for shard in self._shards(t, c, box))

    def repeat(self, t: int, c: int, box: Box, like: Box, place: Callable[[Path, Path], None]) -> None:
        """Store in ``box`` what is stored in ``like``, both whole blocks of one shape, without encoding it again.

        Args:
            t: time point.
            c: channel.
            box: the block that is written.
            like: a block with the same voxels.
            place: makes a file (second) that of another (first), durable.

        Raises:
            UserError: the folder may not be written.
        """
        for source, shard in zip(self._shards(t, c, like), self._shards(t, c, box), strict=True):
            place(source, shard)

    @property
    def _shard_of_zeros(self) -> bytes:
        """A shard without chunks: its index, which says of each that it is empty, and the checksum of the index."""
        shards = self.array.shards or self.array.chunks
        chunks = prod(s // c for s, c in zip(shards, self.array.chunks, strict=True))
        index: bytes = b"\xff" * (16 * chunks)
        checksum: bytes = int(google_crc32c.value(index)).to_bytes(4, "little")
        return index + checksum

    def _index(self, t: int, c: int, box: Box) -> tuple[slice, ...]:
        # Only slices: an integer that drops an axis confuses the zarrs pipeline where a read crosses shards.
        place = {"t": slice(t, t + 1), "c": slice(c, c + 1), **dict(zip("zyx", box.slices, strict=True))}
        return tuple(place[axis] for axis in self.axes)

    def _shards(self, t: int, c: int, box: Box) -> Iterator[Path]:
        shard = self.array.shards or self.array.chunks
        size = dict(zip(self.axes, shard, strict=True))
        first = {"t": t, "c": c, **dict(zip("zyx", box.begin, strict=True))}
        last = {"t": t + 1, "c": c + 1, **dict(zip("zyx", box.end, strict=True))}
        ranges = [range(first[axis] // size[axis], -(-last[axis] // size[axis])) for axis in self.axes]
        for position in np.ndindex(*(len(r) for r in ranges)):
            yield self.path.joinpath("c", *(str(r[i]) for r, i in zip(ranges, position, strict=True)))


def _open_array(path: Path) -> zarr.Array:
    """An array that is there.

    Raises:
        UserError: it is not, or is not readable.
    """
    try:
        return zarr.open_array(str(path), mode="r+")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zarr.errors.BaseZarrError) as error:
        raise UserError(f"{path}: is not a readable Zarr array ({error})", MADE_AGAIN) from error


def ensure_array(spec: ArraySpec) -> VolumeArray:
    """Open the array that ``spec`` describes, creating it if needed; many jobs may call this at once.

    An array of another shape of volume or block, or with other axes, left by an earlier configuration of the same
    sample, is replaced. An array with fewer time points grows and keeps its data, so that a job needs to know its own
    time point only.

    Raises:
        UserError: the folder cannot be written, or the array that is there is damaged.
    """
    with locked(spec.lock), _writing(spec.path):
        if spec.path.is_symlink():
            spec.path.unlink()  # a link to the user's own array, from when the image was referenced
        if (spec.path / "zarr.json").exists():
            found = _opened(spec)
            leading = int(spec.axes[0] == "t")  # only the length of t may differ
            same = (
                getattr(found.metadata, "dimension_names", None) == tuple(spec.axes)
                and found.dtype == np.dtype(spec.dtype)
                and found.shape[leading:] == spec.shape[leading:]
                and found.shards == _full(spec.shard_shape, spec)
                and found.chunks == _full(spec.chunk_shape, spec)
            )
            if same and found.shape[0] < spec.shape[0]:
                _set_shape(spec.path / "zarr.json", spec.shape)
            if same:
                return VolumeArray(spec.path, spec.axes)
        if spec.path.exists():
            # Markers of other time points, which this run may not plan, would go on vouching for what is removed here.
            # None of them can be of this configuration: its jobs write theirs after they have opened the array.
            for marker in spec.status.glob(f"*/{spec.step}-*.json"):
                marker.unlink(missing_ok=True)
            shutil.rmtree(spec.path)  # also what a kill in the middle of this left without metadata
        _create(spec)
    return VolumeArray(spec.path, spec.axes)


def _opened(spec: ArraySpec) -> zarr.Array:
    """The array that is there, whatever its axes; damaged metadata are written anew, since each block's file is whole.

    A block whose key is known was written with these shapes, and any other is written again.
    """
    metadata = spec.path / "zarr.json"
    try:
        return _open_array(spec.path)
    except UserError as error:
        if isinstance(error.__cause__, OSError):
            raise  # a disk that fails may come back
    metadata.unlink()
    times = [int(entry.name) for entry in (spec.path / "c").glob("*") if entry.name.isdecimal()]
    length = max([spec.shape[0], *(t + 1 for t in times)]) if spec.axes[0] == "t" else spec.shape[0]
    _create(replace(spec, shape=(length, *spec.shape[1:])))
    return _open_array(spec.path)


def _create(spec: ArraySpec) -> None:
    """Make the array; its metadata are written whole or not at all."""
    zarr.create_array(
        str(spec.path),
        shape=spec.shape,
        dtype=spec.dtype,
        chunks=_full(spec.chunk_shape, spec),
        shards=_full(spec.shard_shape, spec),
        # The checksum makes a flipped bit an error instead of a wrong voxel.
        compressors=[BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"), Crc32cCodec()],
        fill_value=0,
        dimension_names=tuple(spec.axes),
        zarr_format=3,
    )


def _full(shape: Triple, spec: ArraySpec) -> tuple[int, ...]:
    """A (z, y, x) chunk shape with length 1 along the leading axes."""
    return (1,) * (len(spec.axes) - 3) + shape


def _set_shape(metadata: Path, shape: tuple[int, ...]) -> None:
    """Lengthen the time axis; chunks hold one time point each, so data stay where they are.

    By an atomic rename, because other jobs open the array at any time.
    """
    content = json.loads(metadata.read_text(encoding="utf-8"))
    content["shape"] = list(shape)
    write_json(metadata, content)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Tell which array it was that could not be made."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error})",
            "free space there, or make the folder writable, or choose others with `results:` and `work:`",
        ) from error
