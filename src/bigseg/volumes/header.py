"""What is known of a volume without reading its voxels."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from bigseg.geometry.box import Triple


class OmeZarrLevel(BaseModel):
    """A full-resolution array of an OME-Zarr that can be used where it lies."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    """Absolute path of the array's folder."""
    zarr_format: Literal[2, 3]
    axes: str
    """Axes of the array on disk, a subsequence of ``tczyx``."""


class ChunkFiles(BaseModel):
    """Where the chunks of a Zarr array lie, and what the parts of their names mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str
    """Absolute path of the array's folder."""
    prefix: tuple[str, ...]
    """What names begin with: ``("c",)`` in Zarr v3."""
    separator: Literal["/", "."]
    axes: str
    """Axes of the array on disk, one for each part of a name that follows."""
    counts: tuple[int, ...]
    """Chunks along each axis; shards, where there are any, because these are files."""
    times_in_chunk: int
    """Time points that a chunk holds."""


class VolumeHeader(BaseModel):
    """Shape, type and voxel size of a volume, always as (t, c, z, y, x)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: tuple[int, int, int, int, int]
    """(t, c, z, y, x); an axis that the file lacks has length 1."""
    dtype: str
    """NumPy name of the type on disk, e.g. ``uint16``."""
    voxel_size_um: tuple[float, float, float] | None
    """(z, y, x) in µm, or None where neither the file nor the configuration tells."""
    channels: tuple[str, ...] = ()
    """Names of the channels, empty where unknown."""
    chunk_shape: Triple | None = None
    """(z, y, x) of the chunks on disk, None where the file is not chunked."""
    ome_zarr: OmeZarrLevel | None = None
    """Set where the volume is an OME-Zarr."""

    chunk_files: ChunkFiles | None = None
    """Set where the volume is a Zarr array of a regular grid."""
    missing_times: dict[int, str] = {}
    """Time points, counted from 0, that are not there or whose files cannot be read, and why."""

    @property
    def number_of_times(self) -> int:
        """Length of the t axis."""
        return self.shape[0]

    @property
    def number_of_channels(self) -> int:
        """Length of the c axis."""
        return self.shape[1]

    @property
    def volume_shape(self) -> Triple:
        """(z, y, x) of one channel of one time point."""
        return self.shape[2:]
