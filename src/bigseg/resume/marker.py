"""Markers: one small deterministic JSON file per job, the only file that a rule declares as output.

A marker holds no times, hosts or paths: an identical rerun writes identical bytes, and Snakemake, which compares small
files by checksum, then runs nothing downstream.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bigseg.errors import UserError
from bigseg.resume.files import write_json


@dataclass(frozen=True)
class Marker:
    """What one job has done.

    Attributes:
        step: ``stage.step``, e.g. ``supervoxels.blocks``.
        time: time point, None for a step over all of them.
        version: version of the stage's code.
        fingerprint: fingerprint of the parameters.
        digests: fingerprint of each piece's output, by piece number.
        empty: pieces that hold nothing (:mod:`bigseg.stages.empty`).
    """

    step: str
    time: int | None
    version: int
    fingerprint: str
    digests: Mapping[int, str]
    empty: Collection[int] = frozenset()

    def write(self, path: Path) -> None:
        """Write the marker whole or not at all."""
        told = {"empty": sorted(self.empty)} if self.empty else {}
        write_json(
            path,
            {
                **told,
                "step": self.step,
                "time": self.time,
                "version": self.version,
                "fingerprint": self.fingerprint,
                "digests": {f"{piece:06d}": self.digests[piece] for piece in sorted(self.digests)},
            },
        )

    @classmethod
    def read(cls, path: Path) -> Marker:
        """Read a marker.

        Raises:
            UserError: the file is missing or is no marker.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            digests = {int(piece): str(digest) for piece, digest in data["digests"].items()}
            time = None if data["time"] is None else int(data["time"])
            empty = frozenset(map(int, data.get("empty", ())))
            return cls(str(data["step"]), time, int(data["version"]), str(data["fingerprint"]), digests, empty)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: is not a marker of bigseg ({error})", "delete this file and run again") from error


def upstream_digests(markers: Iterable[Marker]) -> dict[tuple[str, int | None], dict[int, str]]:
    """The digests in several markers: by step and time point, then by piece."""
    digests: dict[tuple[str, int | None], dict[int, str]] = {}
    for marker in markers:
        digests.setdefault((marker.step, marker.time), {}).update(marker.digests)
    return digests


def upstream_empty(markers: Iterable[Marker]) -> dict[tuple[str, int | None], set[int]]:
    """The pieces that hold nothing in several markers, by step and time point."""
    empty: dict[tuple[str, int | None], set[int]] = {}
    for marker in markers:
        empty.setdefault((marker.step, marker.time), set()).update(marker.empty)
    return empty
