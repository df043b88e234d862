"""Which files an input consists of, and whether they changed; the standard library only, and fast."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bigseg.errors import UserError
from bigseg.volumes.location import locate
from bigseg.volumes.patterns import find_files
from bigseg.volumes.zarr_tree import find_array

if TYPE_CHECKING:
    from bigseg.config.samples import Input


def source_files(spec: Input) -> list[Path]:
    """The files that a rule declares as its input.

    A TIFF or HDF5 file: itself. A folder or pattern of TIFF files: all of them, in order. Zarr: the metadata files
    of the array that is read and of the OME-Zarr image that it belongs to; its chunks are too many to declare.

    Raises:
        UserError: nothing is there, or it is no supported input.
    """
    location = locate(spec)
    if location.kind == "tiff files":
        return list(find_files(str(location.path)).present)
    if location.kind == "zarr":
        return list(find_array(location.path, location.key).files)
    return [location.path]


def time_files(spec: Input, time: int) -> list[Path]:
    """The files of ``source_files`` that hold a time point, so that another one may be added later.

    All of them, unless the names of the files count time points by ``{t}``.

    Raises:
        UserError: as ``source_files``.
    """
    location = locate(spec)
    if location.kind != "tiff files":
        return source_files(spec)
    grid = find_files(str(location.path))
    wanted = (None, time)
    return [file for number, file in enumerate(grid.files) if file is not None and grid.time_of(number) in wanted]


def source_signature(spec: Input) -> str:
    """16 hexadecimal digits that change when a file of the input is replaced, edited, added or removed.

    Raises:
        UserError: as ``source_files``.
    """
    return files_signature(source_files(spec))


def files_signature(files: Iterable[Path]) -> str:
    """16 hexadecimal digits of path (as the configuration writes it), size and time of change of each file.

    No content is read.

    Raises:
        UserError: a file cannot be looked at.
    """
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        try:
            status = os.stat(file)
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}", "check its permissions and its disk") from error
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()
