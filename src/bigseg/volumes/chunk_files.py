"""Which time points of a Zarr array have any chunk on disk; the standard library only, because every plan asks.

Zarr takes chunks that are not there for its fill value, so reading tells nothing of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bigseg.errors import UserError
from bigseg.volumes.header import ChunkFiles


def chunk_files(folder: Path, metadata: dict[str, Any], zarr_format: int, axes: str) -> ChunkFiles | None:
    """Where the chunks of an array lie.

    Args:
        folder: the array's.
        metadata: content of its zarr.json or .zarray.
        zarr_format: 2 or 3.
        axes: one letter of ``tczyx`` per dimension.

    Returns:
        None for a grid of chunks that is not regular, or keys of a kind that is not known.
    """
    prefix: tuple[str, ...] = ()
    if zarr_format == 2:
        separator, chunks = metadata.get("dimension_separator", "."), metadata["chunks"]
    else:
        encoding, grid = metadata["chunk_key_encoding"], metadata["chunk_grid"]
        kind = encoding["name"]
        if grid["name"] != "regular" or kind not in ("default", "v2"):
            return None
        prefix = ("c",) if kind == "default" else ()
        separator = encoding.get("configuration", {}).get("separator", "/" if kind == "default" else ".")
        chunks = grid["configuration"]["chunk_shape"]
    return ChunkFiles(
        folder=str(folder.absolute()),
        prefix=prefix,
        separator=separator,
        axes=axes,
        counts=tuple(math.ceil(n / chunk) for n, chunk in zip(metadata["shape"], chunks, strict=True)),
        times_in_chunk=chunks[axes.index("t")] if "t" in axes else 1,
    )


def times_without_chunks(files: ChunkFiles, times: Iterable[int]) -> list[int]:
    """Those of some time points of which no chunk is there.

    One file of each is looked for; folders are listed only if it is not there.

    Raises:
        UserError: a folder cannot be listed.
    """
    wanted = list(times)
    missing = {row for row in {time // files.times_in_chunk for time in wanted} if not _has_middle(files, row)}
    if missing:
        try:
            _find_any(files, Path(files.folder), 0, None if "t" in files.axes else 0, missing)
        except OSError as error:
            raise UserError(
                f"{files.folder} cannot be listed: {error.strerror}", "check its permissions and its disk"
            ) from error
    return [time for time in wanted if time // files.times_in_chunk in missing]


def _has_middle(files: ChunkFiles, row: int) -> bool:
    """Whether the chunk amid the volume, of the first channel, is there: the likeliest one."""
    index = {**{axis: count // 2 for axis, count in zip(files.axes, files.counts, strict=True)}, "t": row, "c": 0}
    key = files.separator.join([*files.prefix, *(str(index[axis]) for axis in files.axes)])
    return os.path.exists(os.path.join(files.folder, key))


def _find_any(files: ChunkFiles, folder: Path, depth: int, row: int | None, missing: set[int]) -> None:
    """Take from ``missing`` the rows of chunks (along t) of which one is found in a folder at a depth of the keys."""
    parts = len(files.prefix) + len(files.axes)
    time_part = len(files.prefix) + files.axes.find("t") if "t" in files.axes else None
    with os.scandir(folder) as entries:
        for entry in entries:
            if not missing or (row is not None and row not in missing):
                return
            names = entry.name.split(".") if files.separator == "." else [entry.name]
            if not all(_fits(files, depth + at, name) for at, name in enumerate(names)):
                continue
            own = row
            if time_part is not None and depth <= time_part < depth + len(names):
                own = int(names[time_part - depth])
            if own is not None and own not in missing:
                continue
            if depth + len(names) == parts:
                missing.discard(0 if own is None else own)
            elif files.separator == "/" and entry.is_dir():
                _find_any(files, Path(entry.path), depth + 1, own, missing)


def _fits(files: ChunkFiles, part: int, name: str) -> bool:
    """Whether a name can be a part of a key; others are metadata, or left by other programs."""
    if part < len(files.prefix):
        return name == files.prefix[part]
    return name.isdecimal()
