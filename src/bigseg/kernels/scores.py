"""Scores of a segmentation against a truth, from their contingency table.

Notation: n_ij voxels are in result segment i and truth segment j, r_i and t_j are the sizes of the segments, n is the
number of voxels. Two conventions hold throughout:

- **Segments** (VOI, adapted Rand error) partition the voxels. Voxels with truth label 0 are left out unless asked for;
  result label 0 inside the truth is one segment like any other, as in ``elf.evaluation`` and scikit-image.
- **Objects** (Dice, IoU) are the labels other than 0, with the size of the whole object, also of its part outside the
  truth.

An object of a time-lapse is a pair (time point, label): the tables of several time points are scored as though no label
of one occurred in another. Every score is a ratio of sums over the pairs, so the time points are reduced one by one.

Sources: VOI, Meila, J. Multivariate Analysis 98 (2007) 873; adapted Rand error, Arganda-Carreras et al., Front.
Neuroanat. 9 (2015) 142; symmetric best Dice, Scharr et al., Mach. Vis. Appl. 27 (2016) 585; average precision as
TP / (TP + FP + FN), 2018 Data Science Bowl (Caicedo et al., Nat. Methods 16 (2019) 1247).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from bigseg.kernels.contingency import Contingency

IOU_TWENTIETHS = tuple(range(10, 20))
"""The IoU thresholds 0.50, 0.55, …, 0.95 in units of 1/20, so that a pair right at a threshold is decided exactly."""


class Scores(TypedDict):
    """The scores of a segmentation, as they are written to ``scores.json``; fractions unless a unit is given."""

    voi_split: float
    """H(result | truth) in bits; 0 is best. High where truth segments are cut up."""
    voi_merge: float
    """H(truth | result) in bits; 0 is best. High where result segments join several truth segments."""
    adapted_rand_error: float
    """0 (best) to 1."""
    sbd: float
    """Symmetric best Dice, 1 is best."""
    ap50: float
    """TP / (TP + FP + FN) at IoU ≥ 0.5, 1 is best."""
    map: float
    """Mean of TP / (TP + FP + FN) over IoU ≥ 0.50, 0.55, …, 0.95, 1 is best."""
    precision: float
    """TP / n_result at IoU ≥ 0.5."""
    recall: float
    """TP / n_truth at IoU ≥ 0.5."""
    n_result: int
    """Objects in the result."""
    n_truth: int
    """Objects in the truth."""


@dataclass(frozen=True)
class Tally:
    """The sums that the scores are ratios of; those of several time points add up with ``+``."""

    voxels: int = 0
    """Voxels compared for VOI and Rand."""
    split_bits: float = 0.0
    """Σ n_ij log₂(t_j / n_ij)."""
    merge_bits: float = 0.0
    """Σ n_ij log₂(r_i / n_ij)."""
    pairs_apart: float = 0.0
    """Ordered pairs of voxels that are together in just one of result and truth: Σ r_i² + Σ t_j² − 2 Σ n_ij²."""
    pairs_together: float = 0.0
    """Ordered pairs of different voxels together in the result plus those in the truth: Σ r_i² + Σ t_j² − 2 n."""
    best_dice_of_results: float = 0.0
    """Sum over the result objects of their best Dice with a truth object."""
    best_dice_of_truths: float = 0.0
    """Sum over the truth objects of their best Dice with a result object."""
    matches: tuple[int, ...] = (0,) * len(IOU_TWENTIETHS)
    """True positives at each threshold of ``IOU_TWENTIETHS``."""
    results: int = 0
    """Result objects."""
    truths: int = 0
    """Truth objects."""

    def __add__(self, other: Tally) -> Tally:
        """The sums over two sets of objects that share none."""
        return Tally(
            self.voxels + other.voxels,
            self.split_bits + other.split_bits,
            self.merge_bits + other.merge_bits,
            self.pairs_apart + other.pairs_apart,
            self.pairs_together + other.pairs_together,
            self.best_dice_of_results + other.best_dice_of_results,
            self.best_dice_of_truths + other.best_dice_of_truths,
            tuple(a + b for a, b in zip(self.matches, other.matches, strict=True)),
            self.results + other.results,
            self.truths + other.truths,
        )

    def scores(self) -> Scores:
        """The scores of all that was added up.

        Where a ratio would be 0 / 0 the answer is that of agreement: without a voxel to compare, or with no two voxels
        together anywhere, VOI and adapted Rand error are 0; with no object on either side, the object scores are 1.
        With objects on one side only, the object scores are 0.
        """
        accuracies = [_ratio(hits, self.results + self.truths - hits, self._no_objects) for hits in self.matches]
        return Scores(
            voi_split=_ratio(self.split_bits, self.voxels, 0.0),
            voi_merge=_ratio(self.merge_bits, self.voxels, 0.0),
            adapted_rand_error=_ratio(self.pairs_apart, self.pairs_together, 0.0),
            sbd=min(
                _ratio(self.best_dice_of_results, self.results, self._no_objects),
                _ratio(self.best_dice_of_truths, self.truths, self._no_objects),
            ),
            ap50=accuracies[0],
            map=sum(accuracies) / len(accuracies),
            precision=_ratio(self.matches[0], self.results, self._no_objects),
            recall=_ratio(self.matches[0], self.truths, self._no_objects),
            n_result=self.results,
            n_truth=self.truths,
        )

    @property
    def _no_objects(self) -> float:
        """What an object score over no objects is worth."""
        return 1.0 if self.results == self.truths == 0 else 0.0


def scores(*tables: Contingency, ignore_zero: bool = True) -> Scores:
    """Score the tables of one or several time points; see :class:`Scores` for the values.

    Args:
        tables: one merged table for each time point.
        ignore_zero: leave voxels with truth label 0 out of VOI and adapted Rand error.

    Returns:
        Plain Python numbers, never NaN.
    """
    return combine(tally(table, ignore_zero=ignore_zero) for table in tables)


def combine(tallies: Iterable[Tally]) -> Scores:
    """The scores over tallies of different time points; a generator need not hold their tables."""
    return sum(tallies, Tally()).scores()


def tally(table: Contingency, *, ignore_zero: bool = True) -> Tally:
    """Reduce the table of one time point to the sums that the scores need.

    - VOI split: H(result | truth) = Σ n_ij / n · log₂(t_j / n_ij).
    - VOI merge: H(truth | result) = Σ n_ij / n · log₂(r_i / n_ij).
    - adapted Rand error: 1 − F of precision and recall over pairs of *different* voxels, as in
      ``skimage.metrics.adapted_rand_error``, which is (Σ r_i² + Σ t_j² − 2 Σ n_ij²) / (Σ r_i² + Σ t_j² − 2 n).
      ``elf.evaluation.rand_index`` also counts each voxel paired with itself, so its denominator lacks the − 2 n: it
      gives a slightly smaller error, by a factor of about 1 − 1 / (mean object size).
    - symmetric best Dice: min of mean_i max_j 2 n_ij / (r_i + t_j) and mean_j max_i of the same.
    - matches at threshold θ: the largest number of disjoint pairs with IoU n_ij / (r_i + t_j − n_ij) ≥ θ.

    Args:
        table: the merged table of all blocks.
        ignore_zero: leave voxels with truth label 0 out of VOI and adapted Rand error.
    """
    result_ids, i = np.unique(table.result, return_inverse=True)
    truth_ids, j = np.unique(table.truth, return_inverse=True)
    if ignore_zero:
        kept = table.truth != 0
        split, merge, apart, together = _partition_sums(table.count[kept], i[kept], j[kept])
        voxels = int(table.count[kept].sum())
    else:
        split, merge, apart, together = _partition_sums(table.count, i, j)
        voxels = table.number_of_voxels

    result_sizes, truth_sizes = _sizes(table.count, i), _sizes(table.count, j)
    both = (table.result != 0) & (table.truth != 0)
    shared, i, j = table.count[both], i[both], j[both]
    sizes = result_sizes[i] + truth_sizes[j]
    dice = 2.0 * shared / sizes
    return Tally(
        voxels=voxels,
        split_bits=split,
        merge_bits=merge,
        pairs_apart=apart,
        pairs_together=together,
        best_dice_of_results=_sum_of_best(dice, i, result_ids.size),
        best_dice_of_truths=_sum_of_best(dice, j, truth_ids.size),
        matches=tuple(_matches(20 * shared >= k * (sizes - shared), i, j) for k in IOU_TWENTIETHS),
        results=int(np.count_nonzero(result_ids)),
        truths=int(np.count_nonzero(truth_ids)),
    )


Counts = npt.NDArray[np.uint64]
Index = npt.NDArray[np.intp]


def _partition_sums(count: Counts, i: Index, j: Index) -> tuple[float, float, float, float]:
    """``split_bits``, ``merge_bits``, ``pairs_apart`` and ``pairs_together`` of a :class:`Tally`.

    Every term of these sums is at least 0, and exactly 0 where result and truth agree, so nothing cancels: entropies as
    differences of entropies, or pairs as differences of sums of squares, would leave rounding errors of either sign.
    """
    shared = count.astype(np.float64)
    r, t = _sizes(count, i)[i].astype(np.float64), _sizes(count, j)[j].astype(np.float64)
    terms = (
        shared * np.log2(t / shared),
        shared * np.log2(r / shared),
        shared * ((r - shared) + (t - shared)),
        shared * ((r - 1.0) + (t - 1.0)),
    )
    # NumPy's own sum, not a BLAS dot product, whose rounding depends on its number of threads.
    split, merge, apart, together = (float(term.sum()) for term in terms)
    return split, merge, apart, together


def _sizes(count: Counts, index: Index) -> Counts:
    """Sum of ``count`` over each value of ``index``, exact where ``np.bincount`` would go through floating point."""
    sizes = np.zeros(index.max(initial=-1) + 1, np.uint64)
    np.add.at(sizes, index, count)
    return sizes


def _sum_of_best(dice: npt.NDArray[np.float64], index: Index, length: int) -> float:
    """Sum over the objects of the highest Dice among their pairs, 0 for an object that meets none."""
    best = np.zeros(length)
    np.maximum.at(best, index, dice)
    return float(best.sum())


def _matches(good: npt.NDArray[np.bool_], i: Index, j: Index) -> int:
    """Size of the largest matching among the pairs marked ``good``, all of IoU ≥ 0.5.

    Above 0.5 no two of these pairs share an object. At exactly 0.5 a result may pair with two truths (or the reverse)
    if each is just a half of it and lies wholly inside, so meets nothing else. The pairs thus form stars of one or two
    edges, each worth one match, and a forest has as many trees as it has vertices more than edges.
    """
    return int(np.unique(i[good]).size + np.unique(j[good]).size - np.count_nonzero(good))


def _ratio(numerator: float, denominator: float, otherwise: float) -> float:
    return float(numerator / denominator) if denominator else otherwise
