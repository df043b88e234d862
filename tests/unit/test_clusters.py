"""Names of clusters and tables from ids to clusters, against dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.kernels.clusters import look_up, name_clusters, paint

IDS = st.lists(st.integers(1, 2**64 - 1), unique=True, max_size=12).map(sorted)


@given(IDS, st.data())
def test_a_cluster_is_named_by_its_smallest_node(ids, data):
    clusters = [data.draw(st.integers(0, 5)) for _ in ids]
    expected = [min(i for i, c in zip(ids, clusters, strict=True) if c == own) for own in clusters]
    names = name_clusters(np.array(ids, np.uint64), np.array(clusters, np.int64))
    assert names.dtype == np.uint64
    assert names.tolist() == expected


@given(IDS, st.lists(st.integers(1, 2**64 - 1), max_size=5), st.data())
def test_look_up_finds_values_or_says_what_is_missing(table_ids, others, data):
    values = [data.draw(st.integers(0, 2**64 - 1)) for _ in table_ids]
    ids = (data.draw(st.lists(st.sampled_from(table_ids))) if table_ids else []) + others
    table = dict(zip(table_ids, values, strict=True))
    arrays = [np.array(numbers, np.uint64) for numbers in (ids, table_ids, values)]
    missing = [i for i in ids if i not in table]
    if missing:
        with pytest.raises(KeyError, match=str(missing[0])):
            look_up(*arrays)
    else:
        found = look_up(*arrays)
        assert found.dtype == np.uint64
        assert found.tolist() == [table[i] for i in ids]


@given(st.integers(0, 2**31), st.integers(0, 6), st.tuples(*[st.integers(1, 4)] * 3), st.integers(0, 2**32))
@settings(deadline=None)
def test_paint_replaces_supervoxels_by_objects_and_keeps_the_background(block, number, shape, seed):
    generator = np.random.default_rng(seed)
    local = generator.integers(0, number + 1, shape)
    labels = np.where(local > 0, local.astype(np.uint64) + np.uint64(block << 32), np.uint64(0))
    names = generator.integers(1, 2**63, number).astype(np.uint64)
    painted = paint(labels, names)
    assert painted.dtype == np.uint64
    np.testing.assert_array_equal(painted, np.where(local > 0, np.r_[np.uint64(0), names][local], np.uint64(0)))
