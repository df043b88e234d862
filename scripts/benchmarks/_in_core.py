"""The mutex watershed of one whole problem, by bigseg's own agglomeration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigseg.kernels.agglomerate import Contraction, contract_linkage


def contract_mutex(
    number_of_nodes: int, pairs: NDArray[np.uint64], weights: NDArray[np.float64], *, threads: int = 1
) -> Contraction:
    """Arguments are those of :func:`bigseg.kernels.agglomerate.contract_linkage`."""
    return contract_linkage(number_of_nodes, pairs, weights, linkage="abs_max", threads=threads)
