"""Make an array of another OME-Zarr part of a result without copying its chunks."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from bigseg.errors import UserError
from bigseg.resume.files import write_json
from bigseg.volumes.header import OmeZarrLevel

_COMPRESSORS = ("blosc", "zstd", "gzip")
"""Codecs whose bytes are the same in Zarr v2 and v3."""


def link_array(level: OmeZarrLevel, place: Path) -> None:
    """Put a link to an array at ``place``, replacing an earlier link.

    A Zarr v3 array is linked as a folder. A v2 array, which a v3 group cannot hold, gets a small v3 header at ``place``
    that describes the same chunks (chunk key encoding ``v2``), and links to the chunks.

    Raises:
        UserError: the array cannot be described in v3, or links cannot be made.
    """
    source = Path(level.path).resolve()
    try:
        if place.is_symlink():
            place.unlink()
        elif place.exists():
            shutil.rmtree(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        if level.zarr_format == 3:
            place.symlink_to(source, target_is_directory=True)
            return
        header = v3_header(json.loads((source / ".zarray").read_text(encoding="utf-8")), level)
        place.mkdir()
        for entry in sorted(os.listdir(source)):
            if not entry.startswith("."):
                (place / entry).symlink_to(source / entry)
        write_json(place / "zarr.json", header)
    except OSError as error:
        raise UserError(
            f"{place}: cannot link to {source} ({error.strerror or error})",
            "set ingest.reference to false, so that the image is copied",
        ) from error


def v3_header(v2: dict[str, Any], level: OmeZarrLevel) -> dict[str, Any]:
    """The Zarr v3 metadata of the chunks of a v2 array.

    Raises:
        UserError: the array uses what v3 cannot describe.
    """
    kind = v2["dtype"]
    names = {"u": "uint", "i": "int", "f": "float"}
    compressor = v2.get("compressor")
    describable = (
        isinstance(kind, str)  # a structured type is a list
        and kind[1:2] in names
        and v2.get("order") == "C"
        and not v2.get("filters")
        and (compressor is None or compressor["id"] in _COMPRESSORS)
    )
    if not describable:
        raise UserError(
            f"{level.path}: the type, order or codecs of this Zarr v2 array cannot be described in Zarr v3",
            "set ingest.reference to false, so that the image is copied",
        )
    name = f"{names[kind[1]]}{8 * int(kind[2:])}"
    codecs: list[dict[str, Any]] = [
        {"name": "bytes", "configuration": {"endian": "big" if kind[0] == ">" else "little"}}
    ]
    if compressor is not None:
        codecs.append(_codec(compressor, int(kind[2:])))
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": v2["shape"],
        "data_type": name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": v2["chunks"]}},
        "chunk_key_encoding": {
            "name": "v2",
            "configuration": {"separator": v2.get("dimension_separator", ".")},
        },
        "fill_value": v2.get("fill_value") or 0,
        "codecs": codecs,
        "dimension_names": list(level.axes),
        "attributes": {},
    }


def _codec(compressor: dict[str, Any], itemsize: int) -> dict[str, Any]:
    if compressor["id"] == "blosc":
        shuffle = {0: "noshuffle", 1: "shuffle", 2: "bitshuffle"}.get(
            compressor["shuffle"], "bitshuffle" if itemsize == 1 else "shuffle"
        )
        return {
            "name": "blosc",
            "configuration": {
                "cname": compressor["cname"],
                "clevel": compressor["clevel"],
                "shuffle": shuffle,
                "typesize": itemsize,
                "blocksize": compressor.get("blocksize", 0),
            },
        }
    if compressor["id"] == "zstd":
        return {"name": "zstd", "configuration": {"level": compressor.get("level", 0), "checksum": False}}
    return {"name": "gzip", "configuration": {"level": compressor.get("level", 5)}}
