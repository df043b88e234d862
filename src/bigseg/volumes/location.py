"""What an input's path points to, told by looking at it; the standard library only."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bigseg.errors import UserError
from bigseg.volumes.patterns import TIFF_SUFFIXES, is_pattern
from bigseg.volumes.zarr_tree import read_node

if TYPE_CHECKING:
    from bigseg.config.samples import Input

FORMATS = "TIFF, HDF5, Zarr and OME-Zarr"
CONVERT = "save it as OME-TIFF with Fiji, or as OME-Zarr with bioformats2raw"

_HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".ilp", ".ims")
_HDF5_WITH_KEY = re.compile(r"(?P<file>.+\.(?:h5|hdf5|hdf|ilp)):(?P<key>.+)", re.IGNORECASE)
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class Location:
    """Where a volume lies and by which reader it is read."""

    kind: Literal["tiff", "tiff files", "hdf5", "zarr"]
    path: Path
    """The file or folder; for ``tiff files`` also a pattern."""
    key: str | None
    """The data set within."""


def locate(spec: Input) -> Location:
    """Find out what ``spec`` points to, by content rather than by name.

    Raises:
        UserError: nothing is there (close names in the same folder are suggested), or no supported format.
    """
    text = os.path.expanduser(spec.path)
    path = Path(text)
    if os.path.isfile(path):
        return Location(_kind_of_file(path), path, spec.key)
    if os.path.isdir(path):
        return Location(_kind_of_folder(path, spec.key), path, spec.key)
    match = _HDF5_WITH_KEY.fullmatch(text)
    if match:
        return _inside_hdf5(Path(match["file"]), match["key"], spec)
    if is_pattern(text):
        return Location("tiff files", path, spec.key)
    raise missing(path)


def missing(path: Path) -> UserError:
    """The error for a path where nothing is, with close names in the nearest folder that exists."""
    folder, wanted = path.parent, path.name
    while not os.path.isdir(folder) and folder != folder.parent:
        folder, wanted = folder.parent, folder.name
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        names = []
    by_lower = {name.lower(): name for name in names}
    close = [by_lower[name] for name in difflib.get_close_matches(wanted.lower(), by_lower, n=3, cutoff=0.6)]
    if close:
        remedy = "did you mean " + " or ".join(str(folder / name) for name in close) + "?"
    elif os.path.isdir(path.parent):
        remedy = f"correct the path; a relative one counts from {Path.cwd()}"
    else:
        remedy = f"the folder {path.parent} does not exist either; a relative path counts from {Path.cwd()}"
    return UserError(f"{path} does not exist", remedy)


def _inside_hdf5(path: Path, key: str, spec: Input) -> Location:
    if not os.path.isfile(path):
        raise missing(path)
    if spec.key is not None and spec.key.strip("/") != key.strip("/"):
        raise UserError(f"`path: {spec.path}` and `key: {spec.key}` name two data sets", "name one of them")
    if _kind_of_file(path) != "hdf5":
        raise UserError(f"{path} is no HDF5 file, so there is no {key} in it", f"write `path: {path}`")
    return Location("hdf5", path, key)


def _kind_of_file(path: Path) -> Literal["tiff", "hdf5"]:
    try:
        with path.open("rb") as file:
            head = file.read(2048 + len(_HDF5_MAGIC))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "check its permissions and its disk") from error
    if head[:4] in _TIFF_MAGIC:
        return "tiff"
    # HDF5 may follow a user block of 512, 1024, 2048, … bytes.
    if any(head[at : at + len(_HDF5_MAGIC)] == _HDF5_MAGIC for at in (0, 512, 1024, 2048)):
        return "hdf5"
    if not head:
        raise UserError(f"{path} is empty", "check that the copy or export was complete")
    suffix = path.suffix.lower()
    if suffix in TIFF_SUFFIXES or suffix in _HDF5_SUFFIXES:
        name = "TIFF" if suffix in TIFF_SUFFIXES else "HDF5"
        raise UserError(
            f"{path} is named as {name} but its content is not", "it is damaged or misnamed: export it again"
        )
    if path.name in ("zarr.json", ".zarray", ".zgroup", ".zattrs"):
        raise UserError(f"{path} is a part of a Zarr store", f"write `path: {path.parent}`")
    raise UserError(f"{path} is none of the formats that bigseg reads ({FORMATS})", CONVERT)


def _kind_of_folder(path: Path, key: str | None) -> Literal["tiff files", "zarr"]:
    if read_node(path) is not None or (key is not None and read_node(path / key.strip("/")) is not None):
        return "zarr"
    if ".zarr" in path.suffixes or path.suffix.lower() == ".zarr":
        raise UserError(
            f"{path} holds no Zarr metadata (zarr.json, .zgroup or .zarray)",
            "name the group or array inside it, or check that the store was copied with its hidden files",
        )
    if path.suffix.lower() == ".n5" or (path / "attributes.json").is_file():
        raise UserError(
            f"{path} is an N5 container, which bigseg does not read", "convert it to OME-Zarr, e.g. in Fiji"
        )
    return "tiff files"
