"""How much higher the energy of multicuts in blocks is than in core, on the hard problems of the tests."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bigseg.kernels.climb import climb
from bigseg.kernels.multicut import energy, lifted_multicut, lower_bound
from bigseg.kernels.superblock import Objective

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "unit"))

from multicut_problems import PROBLEMS

GRIDS = (((2, 2, 2), 1), ((4, 4, 4), 1), ((4, 4, 4), 2), ((8, 8, 8), 3))
"""Blocks along each axis, and levels below the root."""


def largest_gap(side: int) -> float:
    """The largest relative gap over all problems and grids; prints them all.

    Args:
        side: nodes along each axis of a problem.
    """
    print(f"\nmulticuts of {side**3:,} nodes: gap to in core in % (CPU seconds in core and in blocks)")
    cuts = [f"{n * n * n} blocks, {levels} level{'s'[: levels - 1]}" for (n, _, _), levels in GRIDS]
    print("| problem | energy in core | of it above the bound | " + " | ".join(cuts) + " |")
    print("|---|---|---|" + "---|" * len(cuts))
    worst = 0.0
    for name, make in PROBLEMS.items():
        problem = make(side, 0)
        edges = problem.edges
        pairs = edges.pairs(problem.ids)
        started = time.process_time()
        in_core = energy(pairs, edges.value, lifted_multicut(len(problem.ids), pairs, edges.value, edges.count > 0))
        seconds = time.process_time() - started
        above = (in_core - lower_bound(len(problem.ids), pairs, edges.value)) / abs(in_core)
        cells = []
        for grid, levels in GRIDS:
            started = time.process_time()
            found = climb(problem.ids, edges, problem.blocks(grid), grid, levels, Objective("multicut"))
            used = time.process_time() - started
            gap = (energy(pairs, edges.value, found.names) - in_core) / abs(in_core)
            worst = max(worst, gap)
            cells.append(f"{100 * gap:+.4f} ({seconds:.1f}, {used:.1f})")
        print(f"| {name} | {in_core:.1f} | {above:.2%} | {' | '.join(cells)} |", flush=True)
    return worst
