"""Open any supported file as a lazily read volume."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from bigseg.geometry.box import Box
from bigseg.volumes.header import VolumeHeader
from bigseg.volumes.location import locate
from bigseg.volumes.patterns import find_files

if TYPE_CHECKING:
    from bigseg.config.samples import Input


class Source(Protocol):
    """A volume that is read box by box; memory is bounded by the box and a small cache, never by the volume.

    ``read`` may be called from several threads at once.
    """

    header: VolumeHeader

    def read(self, t: int, c: int, box: Box) -> np.ndarray:
        """Voxels (z, y, x) of ``box``, in the type on disk and native byte order; bool as uint8.

        Raises:
            UserError: the file is truncated or damaged there; the message names the file and the place.
            IndexError: ``t``, ``c`` or ``box`` lie outside the volume.
        """
        ...

    def holds_nothing(self, t: int, c: int, box: Box) -> bool:
        """Whether a box is known to hold nothing but zeros without reading it; False says nothing."""
        return False

    def close(self) -> None:
        """Release open files."""
        ...

    def __enter__(self) -> Self:
        """The source itself; leaving closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def open_source(spec: Input) -> Source:
    """Open an input for reading; only its metadata are read here.

    ``axes`` and ``voxel_size_um`` of the configuration go before what the file states. Readers are imported here,
    because every job pays for imports.

    Raises:
        UserError: missing, unreadable, truncated, not supported, ambiguous; the message says what to do.
    """
    location = locate(spec)
    if location.kind == "zarr":
        from bigseg.volumes.zarr_reader import ZarrSource

        return ZarrSource(spec, location.path, location.key)
    if location.kind == "hdf5":
        from bigseg.volumes.hdf5 import Hdf5Source

        return Hdf5Source(spec, location.path, location.key)
    if location.kind == "tiff":
        from bigseg.volumes.tiff import TiffSource

        return TiffSource(spec, location.path)
    from bigseg.volumes.tiff_files import TiffFilesSource

    text = str(location.path)
    return TiffFilesSource(spec, text, find_files(text))
