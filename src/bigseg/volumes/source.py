"""Open any supported file as a lazily read volume."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

import numpy as np

from bigseg.geometry.box import Box
from bigseg.volumes.header import VolumeHeader


class Source(Protocol):
    """A volume that is read box by box; memory is bounded by the box and a small cache, never by the volume.

    ``read`` may be called from several threads at once.
    """

    header: VolumeHeader

    def read(self, t: int, c: int, box: Box) -> np.ndarray:
        """Voxels (z, y, x) of ``box`` in the type on disk.

        Raises:
            UserError: the file is truncated or damaged there; the message names the file and the place.
        """
        ...

    def close(self) -> None:
        """Release open files."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
