"""Tables as Parquet: columns are 1D NumPy arrays of equal length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bigseg.errors import UserError
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
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROW_GROUP)


def read_table(path: Path, columns: Sequence[str] | None = None) -> Table:
    """Read a whole table, or some of its columns.

    Raises:
        UserError: the table is missing or damaged.
    """
    return _read(path, columns, None)


def read_range(path: Path, column: str, first: int, past: int) -> Table:
    """The rows with ``first <= column < past`` of a table sorted by that uint64 column; only their row groups are read.

    Raises:
        UserError: the table is missing or damaged.
    """
    low, high = (pa.scalar(limit, pa.uint64()) for limit in (first, past))  # else they are int64, which ids may exceed
    return _read(path, None, [(column, ">=", low), (column, "<", high)])


def _read(path: Path, columns: Sequence[str] | None, filters: list[tuple[str, str, pa.Scalar]] | None) -> Table:
    try:
        table = pq.read_table(path, columns=list(columns) if columns else None, filters=filters, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{path}: is missing or damaged ({error})",
            "delete this file and the folder `status/<stage>` of the sample, then run again",
        ) from error
    return {name: table[name].to_numpy() for name in table.column_names}
