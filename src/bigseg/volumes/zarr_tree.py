"""Groups and arrays of a Zarr store (v2, v3) and the OME-Zarr images in it, read from their JSON alone.

The standard library only: the signature of an input uses it, and must be fast.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bigseg.errors import UserError

_LISTED_AT_MOST = 20


@dataclass(frozen=True)
class Node:
    """A group or an array."""

    folder: Path
    kind: Literal["group", "array"]
    zarr_format: Literal[2, 3]
    attributes: dict[str, Any]
    metadata: dict[str, Any]
    """Content of zarr.json or .zarray."""
    files: tuple[Path, ...]
    """The files that this was read from."""

    @property
    def multiscale(self) -> dict[str, Any] | None:
        """The first multiscale image of OME-Zarr (0.4 or earlier in the attributes, 0.5 under ``ome``)."""
        images = self.ome.get("multiscales")
        return images[0] if isinstance(images, list) and images and isinstance(images[0], dict) else None

    @property
    def ome(self) -> dict[str, Any]:
        """The attributes that hold OME-Zarr's metadata."""
        ome = self.attributes.get("ome")
        return ome if isinstance(ome, dict) else self.attributes


@dataclass(frozen=True)
class Located:
    """An array, and the OME-Zarr image that it is a level of."""

    array: Node
    image: Node | None = None
    level: int = 0

    @property
    def files(self) -> tuple[Path, ...]:
        """The metadata files that tell of the array."""
        return (*(self.image.files if self.image else ()), *self.array.files)


def read_node(folder: Path) -> Node | None:
    """The group or array that a folder is; None if it is neither.

    Raises:
        UserError: the metadata are damaged.
    """
    file = folder / "zarr.json"
    if file.is_file():
        metadata = _read_json(file)
        kind: Literal["group", "array"] = "array" if metadata.get("node_type") == "array" else "group"
        attributes = metadata.get("attributes")
        return Node(folder, kind, 3, attributes if isinstance(attributes, dict) else {}, metadata, (file,))
    array, group, extra = folder / ".zarray", folder / ".zgroup", folder / ".zattrs"
    own = array if array.is_file() else group if group.is_file() else None
    files = tuple(file for file in (own, extra) if file is not None and file.is_file())
    if not files:
        return None
    attributes = _read_json(extra) if extra in files else {}
    return Node(folder, "array" if own == array else "group", 2, attributes, _read_json(files[0]), files)


def find_array(root: Path, key: str | None) -> Located:
    """The array that a path and a key stand for.

    A key may name an array or an OME-Zarr image (its level 0 is taken). Without a key: the store itself, else the
    only array or image in it, else the one named ``raw``.

    Raises:
        UserError: there is none, or several; the message lists them.
    """
    folder = root / key.strip("/") if key else root
    node = read_node(folder)
    if node is None:
        raise UserError(f"{root} has no array or group `{key}`", _choices(root, root))
    if node.kind == "array":
        return _with_image(node)
    if node.multiscale is not None:
        return _level_0(node)
    candidates = list(_walk(folder))
    chosen = candidates if len(candidates) == 1 else [node for node in candidates if node.folder.name == "raw"]
    if len(chosen) != 1:
        raise UserError(f"{folder} is a group of {len(candidates)} arrays or images", _choices(root, folder))
    return _with_image(chosen[0]) if chosen[0].kind == "array" else _level_0(chosen[0])


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}", "check its permissions and its disk") from error
    except ValueError as error:
        raise UserError(f"{file} is no JSON: {error}", "copy the store's metadata again, or write it anew") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} holds no JSON object", "copy the store's metadata again, or write it anew")
    return content


def _dataset_paths(image: Node) -> list[str]:
    datasets = (image.multiscale or {}).get("datasets")
    entries = datasets if isinstance(datasets, list) else []
    return [entry["path"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("path"), str)]


def _level_0(image: Node) -> Located:
    paths = _dataset_paths(image)
    node = read_node(image.folder / paths[0]) if paths else None
    if node is None or node.kind != "array":
        raise UserError(
            f"{image.folder} names {paths[0] if paths else 'no array'} as its full resolution, but no array is there",
            "check that the store was copied completely, or set `key` to the array to be read",
        )
    return Located(node, image, 0)


def _with_image(array: Node) -> Located:
    """The array with the OME-Zarr image, in a folder above it, that it is a level of."""
    image_folder = array.folder.absolute()
    for _ in range(2):  # paths of levels have one component as a rule, rarely two
        name = os.path.relpath(array.folder.absolute(), image_folder.parent)
        image_folder = image_folder.parent
        image = read_node(image_folder)
        if image is not None and name in _dataset_paths(image):
            return Located(array, image, _dataset_paths(image).index(name))
    return Located(array)


def _walk(folder: Path) -> Iterator[Node]:
    """Arrays and OME-Zarr images below a group; what belongs to an image is not listed on its own."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not entry.is_dir():
            continue
        node = read_node(Path(entry.path))
        if node is not None and (node.kind == "array" or node.multiscale is not None):
            yield node
        elif node is not None:
            yield from _walk(Path(entry.path))


def _choices(root: Path, below: Path) -> str:
    base = read_node(below)
    nodes = [base] if base is not None and base.multiscale is not None else list(_walk(below))
    lines = []
    for node in nodes:
        name = node.folder.relative_to(root).as_posix()
        shape = f"shape {tuple(node.metadata.get('shape', ()))}" if node.kind == "array" else "OME-Zarr image"
        lines.append(f"{'without `key`' if name == '.' else f'`key: {name}`'} ({shape})")
    if not lines:
        return f"{below} holds no array at all: check the path"
    more = f" and {len(lines) - _LISTED_AT_MOST} more" if len(lines) > _LISTED_AT_MOST else ""
    return "there are: " + ", ".join(lines[:_LISTED_AT_MOST]) + more
