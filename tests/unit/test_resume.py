"""Digests, ledgers, markers and the files that hold them."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from bigseg.errors import UserError
from bigseg.resume.digest import digest_arrays, digest_json
from bigseg.resume.files import replacing, write_json
from bigseg.resume.ledger import Ledger, Record, read_ledger, youngest
from bigseg.resume.marker import Marker, upstream_digests, upstream_empty

NUMBERS = npst.integer_dtypes() | npst.unsigned_integer_dtypes() | npst.floating_dtypes(sizes=(32, 64))
ARRAYS = npst.arrays(NUMBERS | npst.boolean_dtypes(), npst.array_shapes(min_dims=1, max_side=5))
SETTINGS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


# --- digests --------------------------------------------------------------------------------------------------------


@given(ARRAYS)
@settings(deadline=None)
def test_digest_of_an_array_does_not_depend_on_how_it_lies_in_memory(array):
    digest = digest_arrays(array)
    wide = np.zeros(tuple(2 * n for n in array.shape), array.dtype)
    strided = wide[tuple(slice(None, None, 2) for _ in array.shape)]
    strided[...] = array
    for other in (
        np.asfortranarray(array),
        strided,
        array[::-1][::-1],
        array.astype(array.dtype.newbyteorder("<")),
        array.astype(array.dtype.newbyteorder(">")),
    ):
        assert digest_arrays(other) == digest


@given(ARRAYS, st.data())
@settings(deadline=None)
def test_digest_of_an_array_depends_on_every_value_the_shape_and_the_type(array, data):
    place = tuple(data.draw(st.integers(0, n - 1)) for n in array.shape)
    changed = array.copy()
    changed[place] = not array[place] if array.dtype == bool else (0 if array[place] else 1)
    with np.errstate(over="ignore"):
        retyped = array.astype("float32" if array.dtype.itemsize > 4 else "float64")
    assert len({digest_arrays(other) for other in (array, changed, array[None], retyped)}) == 4


def test_digest_of_several_arrays_tells_where_one_ends():
    a, b = np.arange(4, dtype=np.uint8), np.arange(4, 6, dtype=np.uint8)
    joined, empty = np.concatenate([a, b]), a[:0]
    found = {digest_arrays(*arrays) for arrays in ((a, b), (b, a), (joined,), (joined, empty), (empty, joined), ())}
    assert len(found) == 6


@given(SETTINGS, SETTINGS)
@settings(deadline=None)
def test_digests_of_settings_are_the_same_if_the_settings_are(first, second):
    def text(value):
        return json.dumps(value, sort_keys=True)

    assert (digest_json(first) == digest_json(second)) == (text(first) == text(second))


@given(st.dictionaries(st.text(), SETTINGS, min_size=2))
@settings(max_examples=30, deadline=None)
def test_order_of_settings_does_not_matter(value):
    assert digest_json(dict(reversed(value.items()))) == digest_json(value)


# --- small files ----------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "file.json"
    write_json(path, {"a": 1})
    before = path.read_bytes()
    with suppress(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_bytes() == before
        raise KeyboardInterrupt
    assert path.read_bytes() == before
    with path.open("rb") as reader:  # who reads while it is replaced sees all of the old one
        write_json(path, {"a": 2})
        assert reader.read() == before
    assert os.listdir(path.parent) == ["file.json"]


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write_json(tmp_path / "file" / "child.json", 1)


# --- ledgers --------------------------------------------------------------------------------------------------------

RECORDS = st.builds(
    Record,
    piece=st.integers(0, 5),
    key=st.text(max_size=8),
    digest=st.text(max_size=8),
    seconds=st.floats(0, 1e6),
    note=st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
    at=st.integers(0, 2**62),
)
GARBAGE = st.sampled_from(
    [
        b"",
        b"{",
        b"null",
        b"[1]",
        b'"text"',
        b"\x00\x00\x00",
        b"\xff\xfe",
        b'{"piece": 1}',
        b"NaN",
        b"\r",
        b'{"other": 2}',
    ]
)


def write_ledger(path: Path, records):
    ledger = Ledger(path)
    for record in records:
        ledger.append(record)
    ledger.close()


@given(st.lists(st.tuples(RECORDS, GARBAGE | st.binary(max_size=20))), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_a_ledger_survives_garbage_and_a_torn_last_line(tmp_path_factory, entries, torn):
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    for record, garbage in entries:
        write_ledger(path, [record])
        with path.open("ab") as file:
            file.write(garbage)
    records = [record for record, _ in entries]
    assert read_ledger(path) == records
    last = Record(9, "last", "torn")
    write_ledger(path, [last])
    path.write_bytes(path.read_bytes()[:-torn])
    assert read_ledger(path) == ([*records, last] if torn == 1 else records)  # 1 is the end of the line
    write_ledger(path, [Record(9, "last", "again", at=3)])
    assert read_ledger(path)[-1] == Record(9, "last", "again", at=3)


@given(st.lists(st.lists(RECORDS, max_size=6), max_size=4))
@settings(max_examples=40, deadline=None)
def test_of_several_records_of_a_piece_the_youngest_counts(tmp_path_factory, ledgers):
    folder = tmp_path_factory.mktemp("ledgers")
    paths = [folder / f"{number}.jsonl" for number in range(len(ledgers))]
    for path, records in zip(paths, ledgers, strict=True):
        write_ledger(path, records)
    everything = [record for records in ledgers for record in records]
    found = youngest(paths)
    assert found.keys() <= {record.piece for record in everything}
    for piece in {record.piece for record in everything} - found.keys():  # writing had begun again
        last = max(r.at for r in everything if r.piece == piece)
        assert any(not r.key for r in everything if r.piece == piece and r.at == last)
    for piece, record in found.items():
        assert record.at == max(r.at for r in everything if r.piece == piece)
        assert record in everything


def test_records_of_several_threads_do_not_mix(tmp_path):
    records = [Record(piece, "k" * 1000, "d" * 1000) for piece in range(200)]
    ledger = Ledger(tmp_path / "a" / "ledger.jsonl")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ledger.append, records))
    assert sorted(read_ledger(tmp_path / "a" / "ledger.jsonl"), key=lambda r: r.piece) == records
    ledger.close()


def test_a_missing_ledger_is_empty_and_an_unreadable_one_an_error(tmp_path):
    assert read_ledger(tmp_path / "none.jsonl") == []
    with pytest.raises(UserError, match="cannot be read"):
        read_ledger(tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        Ledger(tmp_path)


def test_a_full_disk_is_a_user_error():
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    ledger = Ledger(Path("/dev/full"))
    with pytest.raises(UserError, match="No space left"):
        ledger.append(Record(1, "key", "digest"))
    ledger.close()


# --- markers --------------------------------------------------------------------------------------------------------

DIGESTS = st.dictionaries(
    st.integers(0, 10**7), st.text(alphabet="0123456789abcdef", min_size=1, max_size=32), max_size=8
)
MARKERS = st.builds(
    Marker,
    step=st.sampled_from(["graph.blocks", "pyramid.labels1"]),
    time=st.none() | st.integers(0, 9999),
    version=st.integers(1, 99),
    fingerprint=st.text(alphabet="0123456789abcdef", max_size=32),
    digests=DIGESTS,
    empty=st.frozensets(st.integers(0, 99)),
)


@given(MARKERS)
@settings(max_examples=40, deadline=None)
def test_markers_round_trip_and_their_bytes_depend_on_nothing_else(tmp_path_factory, marker):
    folder = tmp_path_factory.mktemp("marker")
    marker.write(folder / "a" / "one.json")
    shuffled = Marker(
        marker.step,
        marker.time,
        marker.version,
        marker.fingerprint,
        dict(reversed(marker.digests.items())),
        sorted(marker.empty, reverse=True),
    )
    shuffled.write(folder / "two.json")
    assert Marker.read(folder / "a" / "one.json") == marker
    assert (folder / "a" / "one.json").read_bytes() == (folder / "two.json").read_bytes()


DAMAGED = ["", "{", "[]", "null", "3", "{}", '{"step": "a.b"}', "\x00", '{"digests": []}']
WHOLE = {"step": "a.b", "time": 0, "version": 1, "fingerprint": "f", "digests": {"000000": "d"}}


@pytest.mark.parametrize(
    "text", [*DAMAGED, *(json.dumps(WHOLE | {name: []}) for name in ("time", "version", "digests"))]
)
def test_a_damaged_marker_is_a_user_error(tmp_path, text):
    path = tmp_path / "marker.json"
    path.write_text(json.dumps(WHOLE))
    assert Marker.read(path).digests == {0: "d"}
    path.write_text(text)
    with pytest.raises(UserError, match="not a marker"):
        Marker.read(path)


def test_empty_pieces_of_several_markers_are_told_apart_by_step_and_time():
    markers = [
        Marker("a.x", 0, 1, "f", {0: "p", 1: "q"}, {1}),
        Marker("a.x", 0, 1, "f", {2: "q"}, {2}),
        Marker("a.x", 1, 1, "f", {0: "r"}),
        Marker("b.x", 0, 1, "f", {0: "s"}, {0}),
    ]
    assert upstream_empty(markers) == {("a.x", 0): {1, 2}, ("a.x", 1): set(), ("b.x", 0): {0}}


def test_a_missing_marker_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="none"):
        Marker.read(tmp_path / "none.json")


def test_digests_of_several_markers_are_told_apart_by_step_and_time(tmp_path):
    markers = [
        Marker("a.x", 0, 1, "f", {0: "p"}),
        Marker("a.x", 0, 1, "f", {1: "q"}),
        Marker("a.x", 1, 1, "f", {0: "r"}),
        Marker("b.x", None, 1, "f", {0: "s"}),
    ]
    paths = [tmp_path / f"{number}.json" for number in range(len(markers))]
    for marker, path in zip(markers, paths, strict=True):
        marker.write(path)
    assert upstream_digests(map(Marker.read, paths)) == {
        ("a.x", 0): {0: "p", 1: "q"},
        ("a.x", 1): {0: "r"},
        ("b.x", None): {0: "s"},
    }
