from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from volumes_checks import canonical

from bigseg.errors import UserError
from bigseg.geometry.box import Box
from bigseg.volumes.axes import AxisLayout, choose_axes
from bigseg.volumes.metadata import micrometres

WHERE = Path("a.tif")


@st.composite
def layouts(draw: st.DrawFn) -> AxisLayout:
    optional = draw(st.lists(st.sampled_from("tcz"), unique=True))
    axes = "".join(draw(st.permutations(["y", "x", *optional])))
    return AxisLayout(axes, tuple(draw(st.lists(st.integers(1, 4), min_size=len(axes), max_size=len(axes)))))


@given(layout=layouts(), data=st.data())
def test_any_order_reads_as_canonical(layout: AxisLayout, data: st.DataObject) -> None:
    array = np.arange(np.prod(layout.shape)).reshape(layout.shape)
    expected = canonical(array, layout.axes)
    assert layout.canonical_shape == expected.shape
    t, c = (data.draw(st.integers(0, n - 1)) for n in expected.shape[:2])
    pairs = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in expected.shape[2:]]
    z, y, x = pairs
    box = Box((z[0], y[0], x[0]), (z[1], y[1], x[1]))
    volume = layout.volume(array[layout.index(t, c, box)], box)
    np.testing.assert_array_equal(volume, expected[t, c][box.slices])


@pytest.mark.parametrize(
    ("shape", "wanted", "stated", "expected"),
    [
        ((3, 4), None, None, "yx"),
        ((3, 4, 5), None, None, "zyx"),
        ((1, 2, 3, 4, 5), None, None, "tczyx"),
        ((1, 3, 4, 5), None, None, "czyx"),
        ((3, 4, 5), None, "tyx", "tyx"),
        ((3, 4, 5), "xyz", "tyx", "xyz"),
        ((3, 4, 5), "tzyx", "tyx", "tyx"),
    ],
)
def test_choose_axes(shape: tuple[int, ...], wanted: str | None, stated: str | None, expected: str) -> None:
    assert choose_axes(WHERE, shape, wanted, stated) == expected


@pytest.mark.parametrize(
    ("shape", "wanted", "stated"),
    [
        ((2, 3, 4, 5), None, None),
        ((5,), None, None),
        ((1, 1, 1, 1, 1, 5), None, None),
        ((3, 4, 5), "tzyx", None),
        ((3, 4, 5), "tzyx", "cyx"),
        ((3, 4, 5), "yx", "zyx"),
    ],
)
def test_axes_that_do_not_fit(shape: tuple[int, ...], wanted: str | None, stated: str | None) -> None:
    with pytest.raises(UserError) as caught:
        choose_axes(WHERE, shape, wanted, stated)
    assert "a.tif" in caught.value.problem
    assert str(shape) in caught.value.problem
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (2, "µm", 2.0),
        (2, "μm", 2.0),
        (2, "Âµm", 2.0),
        (2.0, "\\u00B5m", 2.0),
        ("300", "nm", 0.3),
        (-0.5, "Microns", 0.5),
        (0.001, "millimetre", 1.0),
        (5, "Å", 0.0005),
        (2, "ms", None),
        (2, "pixel", None),
        (2, None, None),
        (None, "um", None),
        (0, "um", None),
        (float("nan"), "um", None),
        ("wide", "um", None),
    ],
)
def test_micrometres(value: object, unit: object, expected: float | None) -> None:
    assert micrometres(value, unit) == (None if expected is None else pytest.approx(expected))
