"""Headers of the input files, cached so that planning opens no data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bigseg.config.samples import ROLES, Affinities, Input, Sample
from bigseg.errors import UserError
from bigseg.resume.files import write_json
from bigseg.volumes.header import VolumeHeader
from bigseg.volumes.signature import source_signature

_LABELS = ("segmentation", "truth", "nuclei", "semantic")


def sample_headers(name: str, sample: Sample, cache: Path) -> dict[str, VolumeHeader]:
    """Headers of the volumes of a sample by role (``input``, ``truth``, ``mask``, …).

    They are read from ``cache`` where the files are as they were, else from the files; the cache is rewritten only if
    it changes.

    Raises:
        UserError: a file is missing or unreadable, or another volume does not fit the image or its role.
    """
    known = _read_cache(cache)
    headers: dict[str, VolumeHeader] = {}
    entries: dict[str, Any] = {}
    for role in ROLES:
        spec: Input | None = getattr(sample, role)
        if spec is None:
            continue
        try:
            identity = {"spec": spec.model_dump(), "signature": source_signature(spec)}
            found = known.get(role, {})
            if found.get("identity") == identity:
                headers[role] = VolumeHeader.model_validate(found["header"])
            else:
                from bigseg.volumes.source import open_source  # only now, reading a file costs an import

                with open_source(spec) as source:
                    headers[role] = source.header
        except UserError as error:
            raise UserError(f"samples.{name}.{role}: {error.problem}", error.remedy) from error
        entries[role] = {"identity": identity, "header": headers[role].model_dump(mode="json")}
    _check_shapes(name, sample, headers)
    if entries != known:
        write_json(cache, entries)
    return headers


def _read_cache(cache: Path) -> dict[str, Any]:
    """The cache, or nothing if it is missing or damaged: it can always be made anew."""
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _check_shapes(name: str, sample: Sample, headers: dict[str, VolumeHeader]) -> None:
    image = headers["input"]
    for role in ROLES[1:]:
        if role not in headers:
            continue
        other, path = headers[role], getattr(sample, role).path
        if (other.number_of_times, *other.volume_shape) != (image.number_of_times, *image.volume_shape):
            raise UserError(
                f"samples.{name}.{role}: {path} has shape {_zyx(other)} (t, z, y, x), "
                f"the image {sample.input.path} has {_zyx(image)}",
                f"give {_article(role)} of the image's shape, or correct `axes` or `key`",
            )
        if role in _LABELS and not other.dtype.startswith(("bool", "int", "uint")):
            raise UserError(
                f"samples.{name}.{role}: {path} is of type {other.dtype}, labels are integers",
                "correct `key`, or convert the labels",
            )
        if role != "affinities" and other.number_of_channels != 1:
            raise UserError(
                f"samples.{name}.{role}: {path} has {other.number_of_channels} channels",
                f"give {_article(role)} with one channel, or correct `axes`",
            )
    if sample.affinities is not None:
        _check_affinities(name, sample.affinities, headers["affinities"])


def _check_affinities(name: str, spec: Affinities, header: VolumeHeader) -> None:
    if header.dtype != "uint8" and not header.dtype.startswith("float"):
        raise UserError(
            f"samples.{name}.affinities: {spec.path} is of type {header.dtype}; affinities are uint8 (0 … 255) or "
            "fractions (0 … 1)",
            "correct `key`, or convert the affinities",
        )
    if header.number_of_channels != len(spec.offsets):
        raise UserError(
            f"samples.{name}.affinities.offsets: {len(spec.offsets)} are given, "
            f"{spec.path} has {header.number_of_channels} channels",
            "give one offset (z, y, x) for each channel, or correct `axes`, e.g. `axes: czyx`",
        )


def _article(role: str) -> str:
    """How messages speak of a volume of a role."""
    names = {"nuclei": "a map of nuclei", "semantic": "a semantic map", "affinities": "affinities"}
    return names.get(role, f"a {role}")


def _zyx(header: VolumeHeader) -> list[int]:
    return [header.number_of_times, *header.volume_shape]
