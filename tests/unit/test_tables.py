"""Tables as Parquet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.errors import UserError
from bigseg.volumes import tables
from bigseg.volumes.tables import read_range, read_table, write_table

LIMITS = st.integers(0, 2**64 - 1) | st.integers(0, 25) | st.integers(2**63 - 2, 2**63 + 2)
IDS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 20), max_size=30).map(sorted)


@pytest.mark.parametrize("dtype", ["uint64", "uint16", "int64", "float64", "float32", "bool"])
@pytest.mark.parametrize("length", [0, 1, 1000])
def test_columns_read_back_with_their_types(tmp_path, dtype, length):
    columns = {
        "first": (np.random.default_rng(0).random(length) * 100).astype(dtype),
        "second": np.full(length, np.iinfo(np.uint64).max, np.uint64),
    }
    write_table(tmp_path / "folder" / "table.parquet", columns)
    found = read_table(tmp_path / "folder" / "table.parquet")
    assert list(found) == list(columns)
    for name, column in columns.items():
        assert found[name].dtype == column.dtype
        np.testing.assert_array_equal(found[name], column)
    assert list(read_table(tmp_path / "folder" / "table.parquet", ["second"])) == ["second"]


@given(IDS, LIMITS, LIMITS)
@settings(max_examples=50, deadline=None)
def test_a_range_of_ids_is_found_whatever_the_row_groups(tmp_path_factory, ids, first, past):
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "ROW_GROUP", 4)
        write_table(path, {"id": np.array(ids, np.uint64), "row": np.arange(len(ids))})
    found = read_range(path, "id", first, past)
    expected = [(i, row) for row, i in enumerate(ids) if first <= i < past]
    assert list(zip(found["id"].tolist(), found["row"].tolist(), strict=True)) == expected
    assert found["id"].dtype == np.uint64


def test_only_the_row_groups_of_a_range_are_read(tmp_path):
    """The pages of another row group may even be damaged."""
    path = tmp_path / "table.parquet"
    ids = np.arange(5 * tables.ROW_GROUP, dtype=np.uint64)
    write_table(path, {"id": ids, "noise": np.random.default_rng(0).random(len(ids))})
    content = bytearray(path.read_bytes())
    content[1000:100_000] = bytes(99_000)
    path.write_bytes(content)
    found = read_range(path, "id", 4 * tables.ROW_GROUP + 5, 4 * tables.ROW_GROUP + 8)
    assert found["id"].tolist() == [4 * tables.ROW_GROUP + 5 + i for i in range(3)]


@pytest.mark.parametrize("kept", [0, 3, 100, -1])
def test_a_damaged_or_missing_table_is_a_user_error(tmp_path, kept):
    path = tmp_path / "table.parquet"
    with pytest.raises(UserError, match="missing or damaged"):
        read_table(path)
    write_table(path, {"id": np.arange(100, dtype=np.uint64)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match="missing or damaged"):
        read_table(path)
    with pytest.raises(UserError, match="missing or damaged"):
        read_range(path, "id", 0, 10)


def test_the_same_table_gives_the_same_bytes(tmp_path):
    for name in "ab":
        write_table(tmp_path / name, {"id": np.arange(100, dtype=np.uint64)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
