"""Ledgers: append-only records of pieces, so that a killed job goes on where it was.

One file per job. A record is appended when a piece is begun, and again only after its output is durable. Records carry
the time, because a piece may have been done by jobs with other batches before: of several records of a piece the
youngest counts, since it tells what the store holds now.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bigseg.errors import UserError
from bigseg.resume.batch_files import batch_files

_SYNC_SECONDS = 1.0
"""Records that need not be durable at once are made so together: a wait for a disk takes longer than an empty block."""


@dataclass(frozen=True)
class Record:
    """A piece that was finished, or begun (:meth:`begun`).

    Attributes:
        piece: number of the piece.
        key: fingerprint of everything the output depends on.
        digest: fingerprint of the output.
        seconds: wall time that it took.
        note: figures about the output, e.g. the number of supervoxels.
        at: time of writing, nanoseconds since 1970.
    """

    piece: int
    key: str
    digest: str
    seconds: float = 0.0
    note: dict[str, Any] = field(default_factory=dict)
    at: int = field(default_factory=time.time_ns)

    @classmethod
    def begun(cls, piece: int) -> Record:
        """A record that takes back the earlier ones: the output of the piece is being written."""
        return cls(piece, key="", digest="")

    @property
    def finished(self) -> bool:
        """Whether the output of the piece was durable when this was written."""
        return bool(self.key)

    @property
    def empty(self) -> bool:
        """Whether the piece holds nothing (:mod:`bigseg.stages.empty`)."""
        return bool(self.note.get("empty"))


def read_ledger(path: Path) -> list[Record]:
    """The records of one ledger; a line torn by a kill is skipped, its piece is simply done again."""
    records = []
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})", "make the work folder readable") from error
    for line in lines:
        try:
            records.append(Record(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return records


def step_ledgers(folder: Path, step: str, pieces: range | None = None) -> list[Path]:
    """The ledgers of one step in a stage's folder, whatever batches it was cut into.

    Args:
        folder: folder of a stage and time point.
        step: name of the step.
        pieces: only ledgers of batches that hold any of these.
    """
    batches = [
        path
        for batch, path in batch_files(folder, step, ".jsonl").items()
        if pieces is None or (batch.start < pieces.stop and pieces.start < batch.stop)
    ]
    return [*batches, *folder.glob(f"{step}.jsonl")]


def youngest(paths: list[Path]) -> dict[int, Record]:
    """For each piece in any of the ledgers, its youngest record, unless that one says that writing had begun."""
    found: dict[int, Record] = {}
    for path in paths:
        for record in read_ledger(path):
            if record.piece not in found or record.at >= found[record.piece].at:
                found[record.piece] = record
    return {piece: record for piece, record in found.items() if record.finished}


class Ledger:
    """The ledger of one job, open for appending; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Open the ledger at ``path``, creating it if needed.

        Raises:
            UserError: the folder cannot be written.
        """
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as error:
            raise UserError(
                f"{path}: cannot be written ({error.strerror})", "make the folder writable or choose another `work:`"
            ) from error
        self._lock = threading.Lock()
        self._synced = time.monotonic()
        if self._file.tell():
            # A line torn by a kill must not swallow the first record of this run.
            self._file.write(b"\n")

    def append(self, record: Record, *, durable: bool = True) -> None:
        """Add a record.

        Args:
            record: what to add.
            durable: wait until it is on disk; otherwise it outlives the process at once, and the machine within about a
                second, so that a loss of power costs the blocks of that second.

        Raises:
            UserError: the disk is full.
        """
        line = json.dumps(asdict(record), separators=(",", ":")).encode() + b"\n"
        try:
            with self._lock:
                self._file.write(line)
                self._file.flush()
                if durable or time.monotonic() - self._synced > _SYNC_SECONDS:
                    os.fsync(self._file.fileno())
                    self._synced = time.monotonic()
        except OSError as error:
            raise UserError(
                f"{self._path}: cannot be written ({error.strerror})", "free space on that disk, then run again"
            ) from error

    def close(self) -> None:
        """Make all records durable and close the file."""
        with suppress(OSError):  # what a full disk refused before
            os.fsync(self._file.fileno())
        with suppress(OSError):
            self._file.close()
