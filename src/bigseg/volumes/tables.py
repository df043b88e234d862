"""Tables as Parquet: columns are 1D NumPy arrays of equal length."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bigseg.errors import UserError
from bigseg.layout import MADE_AGAIN
from bigseg.resume.files import replacing

ROW_GROUP = 1 << 16
"""Rows that are read together when a range of ids is asked for."""

Table = dict[str, np.ndarray]


def write_table(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Write a table whole or not at all.

    Raises:
        UserError: the folder cannot be written.
    """
    table = pa.table({name: pa.array(column) for name, column in columns.items()})
    with replacing(path) as temporary:
        # The checksums make a flipped bit an error instead of a wrong number.
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROW_GROUP, write_page_checksum=True)


def read_table(path: Path, columns: Sequence[str] | None = None) -> Table:
    """Read a whole table, or some of its columns.

    Raises:
        UserError: the table is missing or damaged.
    """
    with _opened(path) as file:
        if missing := set(columns or ()) - set(file.schema_arrow.names):
            raise UserError(f"{path}: is damaged (it has no column {', '.join(sorted(missing))})", MADE_AGAIN)
        return _columns(file.read(columns=list(columns) if columns else None, use_threads=False))


def read_checked(path: Path) -> Table:
    """Read a whole table and hold against its columns what its footer says of them, which no checksum covers.

    Raises:
        UserError: the table is missing or damaged.
    """
    with _opened(path) as file:
        embedded = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(file.metadata.metadata[b"ARROW:schema"])))
        if not embedded.equals(file.schema.to_arrow_schema()):
            raise UserError(f"{path}: is damaged (its footer names other columns than its schema)", MADE_AGAIN)
        for group in range(file.num_row_groups):
            part = file.read_row_group(group, use_threads=False)
            for number, name in enumerate(file.schema_arrow.names):
                stated = file.metadata.row_group(group).column(number).statistics
                found = pc.min_max(part[name])
                if stated is None or not stated.has_min_max or stated.null_count:
                    continue
                if (stated.min, stated.max) != (found["min"].as_py(), found["max"].as_py()):
                    raise UserError(f"{path}: is damaged (its footer tells of other values of {name})", MADE_AGAIN)
        return _columns(file.read(use_threads=False))


def read_range(path: Path, column: str, first: int, past: int) -> Table:
    """The rows with ``first <= column < past`` of a table sorted by that uint64 column; only their row groups are read.

    Raises:
        UserError: the table is missing or damaged.
    """
    with _opened(path) as file:
        # pyarrow's own filters would import its dataset engine, which takes longer than most of these reads.
        number = file.schema_arrow.get_field_index(column)
        limits = [file.metadata.row_group(group).column(number).statistics for group in range(file.num_row_groups)]
        groups = [g for g, found in enumerate(limits) if found is None or (found.max >= first and found.min < past)]
        table = _columns(file.read_row_groups(groups, use_threads=False))
    begin = np.searchsorted(table[column], np.uint64(first))
    end = np.searchsorted(table[column], np.uint64(past - 1), side="right") if past > first else begin
    return {name: values[begin:end] for name, values in table.items()}


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with path.open("rb") as handle, pq.ParquetFile(handle, page_checksum_verification=True) as file:
            yield file
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise UserError(f"{path}: is missing or damaged ({error})", MADE_AGAIN) from error


def _columns(table: pa.Table) -> Table:
    return {name: table[name].to_numpy() for name in table.column_names}
