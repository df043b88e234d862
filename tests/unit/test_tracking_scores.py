"""DET, SEG, TRA and divisions: against py-ctcmetrics, traccuracy, and what is known."""

from __future__ import annotations

import json
import logging
import math

import numpy as np
import pytest
import tifffile
from ctc_metrics.metrics import det, raw_division_metrics, seg, tra
from ctc_metrics.scripts.evaluate import evaluate_sequence
from ctc_metrics.utils.representations import count_acyclic_graph_correction_operations
from hypothesis import given, settings
from hypothesis import strategies as st
from tracking_problems import seen_in, tally, truth_movie, with_parents, wrong_result

from bigseg.kernels.contingency import count_pairs
from bigseg.kernels.lineage import Lineage, appearing, check_agreement, restrict
from bigseg.kernels.tracking_scores import TrackingScores, TrackingTally


def problem(seed: int) -> tuple[np.ndarray, Lineage, np.ndarray, Lineage]:
    """Result and truth with their lineages."""
    rng = np.random.default_rng(seed)
    truth, lineage = truth_movie(rng)
    return (*wrong_result(rng, truth, lineage), truth, lineage)


def scored(seed: int) -> TrackingScores:
    result, found, truth, wanted = problem(seed)
    return tally(result, truth).scores(found, wanted)


def table(lineage: Lineage) -> np.ndarray:
    """The columns of the Cell Tracking Challenge: label, begin, end, parent."""
    columns = (lineage.track, lineage.start, lineage.end, lineage.parent)
    return np.stack([column.astype(np.int64) for column in columns], axis=1)


def matches(result: np.ndarray, truth: np.ndarray) -> tuple[list[list[int]], ...]:
    """Per time point, by brute force: labels of truth and result, matched pairs, and their Jaccard index."""
    columns: tuple[list[list[int]], ...] = ([], [], [], [], [])
    for found, wanted in zip(result, truth, strict=True):
        for column in columns:
            column.append([])
        columns[0][-1] += [i for i in np.unique(wanted).tolist() if i]
        columns[1][-1] += [i for i in np.unique(found).tolist() if i]
        for i in columns[0][-1]:
            for j in columns[1][-1]:
                shared = ((wanted == i) & (found == j)).sum()
                if 2 * shared > (wanted == i).sum():
                    columns[2][-1].append(i)
                    columns[3][-1].append(j)
                    columns[4][-1].append(shared / ((wanted == i) | (found == j)).sum())
    return columns


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_corrections_and_scores_are_those_of_py_ctcmetrics(seed):
    result, found, truth, wanted = problem(seed)
    labels_ref, labels_comp, mapped_ref, mapped_comp, jaccard = matches(result, truth)
    expected = count_acyclic_graph_correction_operations(
        table(wanted), table(found), labels_ref, labels_comp, mapped_ref, mapped_comp
    )
    added = tally(result, truth)
    got, scores = added.corrections(found, wanted), added.scores(found, wanted)
    names = {"NS": "split", "FN": "add", "FP": "remove", "ED": "remove_edges", "EA": "add_edges", "EC": "change_edges"}
    for theirs, ours in {**names, "num_vertices": "vertices", "num_edges": "edges"}.items():
        assert getattr(got, ours) == expected[theirs], theirs
    assert scores["det"] == pytest.approx(det(**expected))
    assert scores["tra"] == pytest.approx(tra(**expected)[0])
    assert scores["seg"] == pytest.approx(seg(labels_ref, jaccard))
    for tolerance, suffix in ((0, ""), (1, "_within_1")):
        tp, fp, fn = raw_division_metrics(table(found), table(wanted), mapped_ref, mapped_comp, i=tolerance)
        assert scores["n_divisions_truth"] == tp + fn
        assert scores["n_divisions_result"] == tp + fp
        for name, value, of in (("recall", tp, tp + fn), ("precision", tp, tp + fp), ("f1", 2 * tp, 2 * tp + fp + fn)):
            if of:
                assert scores[f"division_{name}{suffix}"] == pytest.approx(value / of), (name, tolerance)


def test_the_problems_hold_all_kinds_of_errors():
    totals = dict.fromkeys(("split", "add", "remove", "remove_edges", "add_edges", "change_edges"), 0)
    found = {"": 0.0, "_within_1": 0.0}
    for seed in range(60):
        result, lineage, truth, wanted = problem(seed)
        counted = tally(result, truth).corrections(lineage, wanted)
        totals = {name: total + getattr(counted, name) for name, total in totals.items()}
        for suffix in found:
            found[suffix] += scored(seed)[f"division_recall{suffix}"]
    assert min(totals.values()) > 5
    assert 20 < found[""] < found["_within_1"] < 60


@pytest.mark.parametrize("seed", range(3))
def test_files_scored_by_py_ctcmetrics(seed, tmp_path):
    result, found, truth, wanted = problem(seed)
    for folder, name, lapse, lineage in (
        (tmp_path / "01_RES", "mask", result, found),
        (tmp_path / "01_GT" / "TRA", "man_track", truth, wanted),
        (tmp_path / "01_GT" / "SEG", "man_seg", truth, None),
    ):
        folder.mkdir(parents=True)
        for t, frame in enumerate(lapse):
            tifffile.imwrite(folder / f"{name}{t:03d}.tif", frame[0].astype(np.uint16))
        if lineage is not None:
            text = {"mask": "res_track.txt", "man_track": "man_track.txt"}[name]
            np.savetxt(folder / text, table(lineage), fmt="%d")
    expected = evaluate_sequence(str(tmp_path / "01_RES"), str(tmp_path / "01_GT"), ["DET", "SEG", "TRA"], threads=1)
    scores = tally(result, truth).scores(found, wanted)
    for name in ("DET", "SEG", "TRA"):
        assert scores[name.lower()] == pytest.approx(expected[name])


@pytest.mark.parametrize("seed", range(12))
def test_scores_are_those_of_traccuracy(seed):
    """Where a parent means a division: traccuracy sees no other kind of change from one track to another."""
    reason = "traccuracy cannot be installed with snakefmt, which asks for a newer click"
    traccuracy = pytest.importorskip("traccuracy", reason=reason)
    networkx = pytest.importorskip("networkx")
    from traccuracy.matchers import CTCMatcher
    from traccuracy.metrics import CTCMetrics, DivisionMetrics

    logging.disable(logging.WARNING)
    result, found, truth, wanted = problem(1000 + seed)

    def only_pairs(lapse: np.ndarray, lineage: Lineage) -> Lineage:
        count = {int(m): (lineage.parent == m).sum() for m in lineage.mothers()}
        parents = {int(i): int(p) for i, p in zip(lineage.track, lineage.parent, strict=True) if count.get(int(p)) == 2}
        return with_parents(lapse, parents)

    def graph(lapse: np.ndarray, lineage: Lineage) -> object:
        made, number, ends = networkx.DiGraph(), 1, {}
        for t, frame in enumerate(lapse):
            for label in np.unique(frame[frame > 0]).tolist():
                z, y, x = np.argwhere(frame == label).mean(axis=0)
                made.add_node(number, t=t, segmentation_id=label, z=z, y=y, x=x)
                row = int(lineage.rows(np.array([label], np.uint64))[0])
                before = ends.get(label) or ends.get(int(lineage.parent[row]))
                if before:
                    made.add_edge(before, number)
                ends[label] = number
                number += 1
        return traccuracy.TrackingGraph(made, segmentation=lapse, location_keys=("z", "y", "x"))

    # A mother that ends long before its daughters start, or a cell that does not move on, is no edge of traccuracy's.
    found, wanted = only_pairs(result, found), only_pairs(truth, wanted)
    metrics, _ = traccuracy.run_metrics(graph(truth, wanted), graph(result, found), CTCMatcher(), [CTCMetrics()])
    scores = tally(result, truth).scores(found, wanted)
    assert scores["det"] == pytest.approx(metrics[0]["results"]["DET"])
    assert scores["tra"] == pytest.approx(metrics[0]["results"]["TRA"])
    if metrics[0]["results"]["ns_nodes"] == 0:
        metrics, _ = traccuracy.run_metrics(
            graph(truth, wanted), graph(result, found), CTCMatcher(), [DivisionMetrics(0)]
        )
        exact = metrics[0]["results"]["Frame Buffer 0"]
        if not math.isnan(exact["Division Recall"]):
            assert scores["division_recall"] == pytest.approx(exact["Division Recall"])


# --- what is known without a library ---------------------------------------------------------------------------------


def test_a_result_that_is_the_truth_under_other_names_is_perfect():
    for seed in range(5):
        _, _, truth, wanted = problem(seed)
        result = np.where(truth > 0, truth.astype(np.uint64) * 7 + 2**33, 0)
        names = np.where(wanted.parent > 0, wanted.parent * 7 + 2**33, 0).astype(np.uint64)
        found = Lineage(wanted.track * 7 + 2**33, names, wanted.start, wanted.end)
        scores = tally(result, truth).scores(found, wanted)
        assert {value for name, value in scores.items() if not name.startswith("n_")} == {1.0}
        assert scores["n_tracks_result"] == scores["n_tracks_truth"] == wanted.number_of_tracks
        assert scores["n_divisions_truth"] == len(wanted.mothers())


def movie(*rows: list[int]) -> np.ndarray:
    """Time points of a row of cells, each of four voxels."""
    return np.repeat(np.array(rows, np.uint32)[:, None, None], 4, axis=-1)


def both(
    result: np.ndarray, truth: np.ndarray, parents: dict[int, int], true_parents: dict[int, int]
) -> TrackingScores:
    return tally(result, truth).scores(with_parents(result, parents), with_parents(truth, true_parents))


def test_one_missing_cell():
    """Of 6 vertices and 4 edges one vertex (10) and two edges (3) are missing."""
    truth, result = movie([1, 2], [1, 2], [1, 2]), movie([1, 2], [1, 0], [1, 3])
    scores = both(result, truth, {}, {})
    assert scores["det"] == pytest.approx(1 - 10 / 60)
    assert scores["tra"] == pytest.approx(1 - (10 + 2 * 1.5) / (60 + 4 * 1.5))
    assert scores["seg"] == pytest.approx(5 / 6)


def test_an_object_that_covers_two_is_one_split():
    truth, result = movie([1, 2]), movie([5, 5])
    scores = both(result, truth, {}, {})
    assert scores["det"] == pytest.approx(1 - 5 / 20)
    assert scores["seg"] == 0.5


def test_half_is_no_match():
    truth = np.array([[[[1, 1, 1, 1]]]], np.uint32)
    assert both(np.array([[[[1, 1, 2, 2]]]], np.uint32), truth, {}, {})["seg"] == 0
    assert both(np.array([[[[1, 1, 1, 2]]]], np.uint32), truth, {}, {})["seg"] == 0.75


def test_a_late_division_counts_within_its_tolerance():
    truth = movie([1, 0], [2, 3], [2, 3], [2, 3])
    for late, exact, within in ((0, 1, 1), (1, 0, 1), (2, 0, 0)):
        result = movie([1, 0], *([[1, 4]] * late), *([[2, 3]] * (3 - late)))
        scores = both(result, truth, {2: 1, 3: 1}, {2: 1, 3: 1})
        assert (scores["division_f1"], scores["division_f1_within_1"]) == (exact, within), late
        assert scores["n_divisions_result"] == 1


def test_a_gap_is_bridged_by_one_edge():
    truth = movie([1], [0], [1])
    scores = both(movie([1], [0], [2]), truth, {}, {})
    assert scores["det"] == 1
    assert scores["tra"] == pytest.approx(1 - 1.5 / 21.5)


def test_time_points_that_were_left_out_do_not_count():
    truth, result = movie([1, 0], [2, 3], [2, 3]), movie([1, 0], [1, 4], [2, 3])
    sparse, dense = TrackingTally(), tally(result, truth)
    for t in range(3):
        sparse.add(10 * t, count_pairs(result[t], truth[t]))
    parents = with_parents(result, {2: 1, 3: 1}), with_parents(truth, {2: 1, 3: 1})
    assert sparse.scores(*parents) == dense.scores(*parents)


@pytest.mark.parametrize(
    ("result", "truth", "expected"),
    [([0], [0], 1.0), ([1], [0], 0.0), ([0], [1], 0.0)],
)
def test_nothing_on_one_side_or_both(result, truth, expected):
    scores = both(movie(result), movie(truth), {}, {})
    assert (scores["det"], scores["seg"], scores["tra"]) == (expected,) * 3
    assert scores["division_f1"] == 1.0
    assert json.loads(json.dumps(scores)) == scores
    nothing = TrackingTally().scores(seen_in(movie([0])), seen_in(movie([0])))
    assert nothing["tra"] == 1.0


def test_a_lineage_that_lacks_a_label_is_refused():
    truth = movie([1, 2], [1, 2])
    lineage = Lineage(np.array([1]), np.array([0]), np.array([0]), np.array([1]))
    with pytest.raises(ValueError, match="no track 2"):
        tally(truth, truth).scores(lineage, seen_in(truth))


# --- lineages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, 0, 0, 1)], "track 0"),
        ([(1, 0, 0, 1), (1, 0, 2, 3)], "track 1 occurs twice"),
        ([(1, 0, 2, 1)], "track 1 ends"),
        ([(1, 7, 2, 3)], "parent 7 of track 1 is no track"),
        ([(1, 0, 0, 2), (2, 1, 2, 3)], "track 2 starts at 2, but its parent 1 ends at 2"),
        ([(1, 1, 0, 2)], "its parent 1 ends"),
    ],
)
def test_impossible_lineages(rows, message):
    with pytest.raises(ValueError, match=message):
        Lineage(*np.array(rows).T)


def test_rows_are_sorted_and_mothers_have_two_daughters():
    rows = [(9, 2, 3, 4), (2, 0, 0, 2), (5, 2, 3, 3), (7, 5, 4, 4)]
    lineage = Lineage(*np.array(rows).T)
    assert lineage.track.tolist() == [2, 5, 7, 9]
    assert lineage.mothers().tolist() == [2]
    assert lineage.rows(np.array([9, 3, 2], np.uint64)).tolist() == [3, -1, 0]


def test_what_is_seen_of_a_lineage():
    lineage = Lineage(*np.array([(1, 0, 0, 2), (2, 1, 3, 5), (3, 1, 3, 9), (4, 0, 0, 9)]).T)
    seen = appearing([(0, np.array([1, 4])), (4, np.array([0, 3])), (5, np.array([3]))])
    part = restrict(lineage, seen)
    rows = zip(part.track, part.parent, part.start, part.end, strict=True)
    assert [tuple(map(int, row)) for row in rows] == [(1, 0, 0, 0), (3, 1, 4, 5), (4, 0, 0, 0)]
    with pytest.raises(ValueError, match="no track 8"):
        restrict(lineage, appearing([(0, np.array([8]))]))
    for other, message in (
        (appearing([(0, np.array([1]))]), "has track 2, and there are no such labels"),
        (appearing([(t, np.array([1, 2, 3, 4, 5])) for t in (0, 9)]), "no track 5"),
        (appearing([(t, np.array([1, 2, 3, 4])) for t in (0, 9)]), "start of track 2 is 3, by the labels 0"),
    ):
        with pytest.raises(ValueError, match=message):
            check_agreement(lineage, other)
