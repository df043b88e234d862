"""What tests of damage share: where a step's output lies, ways to damage it, and what is found."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
from pipeline_checks import Settings

from bigseg.planning.workflow import Workflow
from bigseg.upkeep.jobs import Job, Selection
from bigseg.upkeep.verify import Verification, mend, verify


def verified(config: Settings, selection: Selection | None = None) -> Verification:
    """What is damaged."""
    return verify(Workflow(config, "test"), selection or Selection(), 2)


def mended(config: Settings) -> list[Path]:
    """Mark what is damaged; the markers that went."""
    return mend(verified(config).findings)


def jobs(config: Settings, selection: Selection | None = None) -> list[Job]:
    """The jobs."""
    return list((selection or Selection()).jobs(Workflow(config, "test")))


def found(config: Settings) -> set[tuple[str, int | None]]:
    """What is damaged, as step and piece."""
    return {(finding.job.step.name, finding.piece) for finding in verified(config).findings}


def delete(path: Path) -> None:
    """As a mistaken hand does."""
    path.unlink()


def cut_short(path: Path) -> None:
    """As a full disk does."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def flip(path: Path) -> None:
    """One bit, of what is surely read."""
    content = bytearray(path.read_bytes())
    if path.suffix == ".parquet":
        column = pq.read_metadata(path).row_group(0).column(0)
        first = min(offset for offset in (column.data_page_offset, column.dictionary_page_offset) if offset)
        place = first + column.total_compressed_size - 1
    elif path.suffix == ".json":
        place = next(i for i, byte in enumerate(content) if chr(byte) in "123456789")
    else:
        place = len(content) // 3
    content[place] ^= 1
    path.write_bytes(content)


def other_content(path: Path) -> None:
    """Whole and readable, but another's."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        pq.write_table(table.slice(0, table.num_rows - 1), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps({"other": 1}))
    else:
        (sibling,) = list(set(path.parent.parent.rglob("*")) - set(path.parent.rglob("*")) - {path.parent})[:1]
        path.write_bytes(sibling.read_bytes())
