"""Windows of time points and their seams."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bigseg.geometry.movie import seam_ranges, window_ranges


@given(st.integers(1, 200), st.integers(2, 30), st.integers(0, 5))
def test_windows_tile_the_movie_and_stay_where_they_are(times, window, context):
    found = window_ranges(times, window, context)
    assert [t for w in found for t in range(w.begin, w.end)] == list(range(times))
    assert all(w.end - w.begin == window for w in found[:-1])
    assert found[-1].end - found[-1].begin < 2 * window
    for w in found:
        assert (w.first, w.last) == (max(0, w.begin - context), min(times, w.end + context))
    longer = window_ranges(times + 1, window, 0)
    assert window_ranges(times, window, 0)[:-1] == longer[: len(found) - 1]


@given(st.integers(2, 200), st.integers(2, 30), st.data())
def test_seams_lie_between_windows_and_do_not_touch_each_other(times, window, data):
    reach = data.draw(st.integers(1, window // 2))
    windows, seams = window_ranges(times, window, 0), seam_ranges(times, window, reach)
    assert [seam.at for seam in seams] == [w.begin for w in windows[1:]]
    for number, seam in enumerate(seams):
        assert windows[number].begin <= seam.first < seam.at < seam.last <= windows[number + 1].end
    for one, other in itertools.pairwise(seams):
        assert one.last <= other.first + 1  # at most the time point that both leave as it is
