"""Which files an input consists of, and whether they changed; the standard library only, and fast."""

from __future__ import annotations

import hashlib
import os
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
        return list(find_files(str(location.path)).files)
    if location.kind == "zarr":
        return list(find_array(location.path, location.key).files)
    return [location.path]


def source_signature(spec: Input) -> str:
    """16 hexadecimal digits that change when a file of the input is replaced, edited, added or removed.

    Made of path (as the configuration writes it), size and time of change of each of ``source_files``; no content
    is read.

    Raises:
        UserError: as ``source_files``.
    """
    digest = hashlib.blake2b(digest_size=8)
    for file in source_files(spec):
        try:
            status = os.stat(file)
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}", "check its permissions and its disk") from error
        digest.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()
