"""Mergeable histograms, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from bigseg.kernels.histogram import histogram, mean_and_deviation, merge, percentiles

PERCENTS = st.lists(st.floats(0, 100), min_size=1, max_size=6)
SHAPES = npst.array_shapes(min_dims=1, max_dims=3, max_side=6)
EXACT = ["uint8", "uint16", "int8", "int16", "bool"]
RELATIVE = 2.0**-11  # half of a bin is less
SUBNORMAL = 2.0**-137  # width of the bins below the smallest normal number


@st.composite
def floats_of(draw, dtype):
    """Finite float32 values: any, subnormal, equal ones, zeros of both signs."""
    tiny = float(np.finfo(np.float32).tiny)
    any_ = st.floats(width=32, allow_nan=False, allow_infinity=False)
    special = st.sampled_from([0.0, -0.0, tiny, -tiny, tiny / 2, -tiny / 4, 1.0, -1.0, 3.4e38])
    return draw(npst.arrays(np.float32, SHAPES, elements=any_ | special)).astype(dtype)


@given(st.sampled_from(EXACT).flatmap(lambda dtype: npst.arrays(dtype, SHAPES)), PERCENTS)
@settings(max_examples=200, deadline=None)
def test_percentiles_of_up_to_16_bits_are_numpys(values, percents):
    found = percentiles(histogram(values), percents)
    np.testing.assert_allclose(found, np.percentile(values.astype(np.float64), percents), rtol=1e-12, atol=1e-9)


def known(value):
    """What a histogram remembers of a single value."""
    return percentiles(histogram(np.array([value])), [50])[0]


@given(st.sampled_from(["float32", "float64"]).flatmap(floats_of))
@settings(max_examples=60, deadline=None)
def test_floats_are_known_to_2_to_the_minus_11(values):
    for value in values.ravel()[:6]:
        assert known(value) == pytest.approx(float(value), rel=RELATIVE, abs=SUBNORMAL)
        assert value != 0 or known(value) == 0


@given(st.sampled_from(["uint32", "int32", "uint64", "int64"]).flatmap(lambda dtype: npst.from_dtype(np.dtype(dtype))))
@settings(max_examples=60, deadline=None)
def test_wide_integers_are_known_to_2_to_the_minus_11(value):
    assert known(value) == pytest.approx(float(value), rel=RELATIVE, abs=0)


@given(floats_of("float32"), PERCENTS)
@settings(max_examples=100, deadline=None)
def test_percentiles_of_floats_are_between_their_neighbours(values, percents):
    low, high = (np.percentile(values.astype(np.float64), percents, method=m) for m in ("lower", "higher"))
    for found, a, b in zip(percentiles(histogram(values), percents), low, high, strict=True):
        assert a - abs(a) * RELATIVE - SUBNORMAL <= found <= b + abs(b) * RELATIVE + SUBNORMAL


@given(
    st.sampled_from([*EXACT, "float32"]), st.integers(1, 5), st.integers(0, 2**32), st.randoms(use_true_random=False)
)
@settings(max_examples=80, deadline=None)
def test_histograms_of_parts_merge_to_that_of_the_whole(dtype, parts, seed, random):
    values = (np.random.default_rng(seed).normal(size=60) * 100).astype(dtype)
    histograms = [histogram(part) for part in np.array_split(values, parts)]
    random.shuffle(histograms)
    merged, whole = merge(histograms), histogram(values)
    assert merged.dtype == whole.dtype == dtype
    np.testing.assert_array_equal(merged.bins, whole.bins)
    np.testing.assert_array_equal(merged.counts, whole.counts)
    assert merged.counts.sum() == 60


@given(st.sampled_from(EXACT).flatmap(lambda dtype: npst.arrays(dtype, SHAPES)))
@settings(max_examples=60, deadline=None)
def test_mean_and_deviation_of_up_to_16_bits_are_numpys(values):
    mean, deviation = mean_and_deviation(histogram(values))
    assert mean == pytest.approx(values.astype(np.float64).mean(), abs=1e-9)
    assert deviation == pytest.approx(values.astype(np.float64).std(), abs=1e-9)


def test_memory_layout_does_not_matter():
    values = np.arange(24, dtype=np.uint16).reshape(4, 6)
    for other in (values.T, values[::-1], values.astype(">u2")):
        assert histogram(other).bins.tolist() == histogram(values).bins.tolist()


def test_nothing_cannot_be_merged():
    with pytest.raises(ValueError, match="no histogram"):
        merge([])
