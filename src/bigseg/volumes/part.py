"""A part of a volume, read as a volume of its own."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import numpy as np

from bigseg.geometry.box import Box, triple
from bigseg.volumes.source import Source


class PartOfSource:
    """A box of a source; boxes to read count from its corner. Closing it closes the source."""

    def __init__(self, source: Source, box: Box) -> None:
        """Keep to ``box``, which lies in the volume."""
        self._source, self._box = source, box
        header = source.header
        shape = (*header.shape[:2], *box.shape)
        self.header = header.model_copy(update={"shape": shape, "ome_zarr": None})

    def read(self, t: int, c: int, box: Box) -> np.ndarray:
        """As :meth:`Source.read`."""
        return self._source.read(t, c, self._whole(box))

    def holds_nothing(self, t: int, c: int, box: Box) -> bool:
        """As :meth:`Source.holds_nothing`."""
        return self._source.holds_nothing(t, c, self._whole(box))

    def close(self) -> None:
        """Release open files."""
        self._source.close()

    def __enter__(self) -> Self:
        """The part itself; leaving closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _whole(self, box: Box) -> Box:
        """A box of the part as one of the source."""
        if any(e > n for e, n in zip(box.end, self._box.shape, strict=True)):
            raise IndexError(f"{box} is not within {self._box.shape}")
        begin, end = (
            triple([a + b for a, b in zip(corner, self._box.begin, strict=True)]) for corner in (box.begin, box.end)
        )
        return Box(begin, end)
