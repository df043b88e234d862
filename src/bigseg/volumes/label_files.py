"""Label volumes among a user's files: which dataset of a container they are, and the blocks they were made in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from bigseg.errors import UserError

if TYPE_CHECKING:
    from bigseg.geometry.box import Triple


def split_key(text: str) -> tuple[str, str | None]:
    """The path and the dataset that ``PATH:KEY`` names on a command line.

    Returns:
        ``text`` and None where it is a path itself, or where nothing is at PATH.
    """
    path, _, key = text.rpartition(":")
    named = path and key and not Path(text).exists() and Path(path).exists()
    return (path, key) if named else (text, None)


def default_key(path: Path, option: str) -> str | None:
    """The labels in a container, lest the image beside them, of integers too, be taken for them without a word.

    Args:
        path: of the container; anything else has no key.
        option: of the command line that names another dataset, for messages.

    Returns:
        ``labels/segmentation`` or the only label image of an OME-Zarr, ``label`` of an HDF5 file or a Zarr group.

    Raises:
        UserError: an OME-Zarr holds several label images and none is ``segmentation``.
    """
    if path.is_file():
        import h5py

        if not h5py.is_hdf5(path):
            return None
        with h5py.File(path, "r") as file:
            return "label" if "label" in file else None
    if (path / "label").is_dir():
        return "label"
    labels = path / "labels"
    names = sorted(entry.name for entry in labels.iterdir() if entry.is_dir()) if labels.is_dir() else []
    if "segmentation" in names:
        return "labels/segmentation"
    if len(names) > 1:
        raise UserError(f"{path} holds the label images {', '.join(names)}", f"choose one: {option} labels/{names[0]}")
    return f"labels/{names[0]}" if names else None


def recorded_block_shape(folder: Path) -> Triple:
    """The blocks of the run that made a bigseg result: one shard each, whole along axes of a single block.

    Args:
        folder: the labels, an array or the levels of a pyramid.

    Raises:
        UserError: the labels are not those of a bigseg result.
    """
    import zarr

    array = folder if (folder / "zarr.json").is_file() and not (folder / "0").is_dir() else folder / "0"
    if any(_made_by_bigseg(parent) for parent in array.absolute().parents):
        try:
            shards = zarr.open_array(str(array), mode="r").shards
        except (OSError, ValueError, KeyError, zarr.errors.BaseZarrError):
            shards = None
        if shards is not None and len(shards) >= 3:
            return (int(shards[-3]), int(shards[-2]), int(shards[-1]))
    raise UserError(
        f"{folder}: does not tell the shape of its blocks, because it is no result of bigseg",
        "give the shape in which it was made, for example --block-shape 64 256 256",
    )


def _made_by_bigseg(folder: Path) -> bool:
    try:
        content = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    attributes = content.get("attributes") if isinstance(content, dict) else None
    return isinstance(attributes, dict) and "bigseg" in attributes
