"""Partition, small objects and scores of many sets of parameters, in memory, from the tables of one time point.

Everything is done by the functions that the stages call, on the same numbers in the same order, so the scores are
those that the workflow would write.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bigseg.config import Config
from bigseg.config.stages import Segment
from bigseg.kernels.contingency import merge, relabel
from bigseg.kernels.scores import Scores, Tally, combine, tally
from bigseg.kernels.signed_graph import Ids, SignedEdges
from bigseg.kernels.small_objects import Contacts, contract_contacts, merge_small, remove_small
from bigseg.planning.sample import SamplePlan
from bigseg.planning.workflow import Workflow
from bigseg.progress import Progress
from bigseg.resume.digest import digest_json
from bigseg.runner import run_unit
from bigseg.stages.evaluate.truth import read_pairs
from bigseg.stages.partition.lifted import PartitionLifted
from bigseg.stages.partition.problem import read_graph, to_problem
from bigseg.stages.partition.settings import method_parameters, number_of_levels
from bigseg.stages.partition.whole import solve_as_levels
from bigseg.sweeping.choices import Choice
from bigseg.volumes.tables import read_table

_BYTES_PER_EDGE = 100
_BYTES_PER_EDGE_SOLVED = 800
"""Measured on 2 million edges; of a multicut, the dearest method."""


def count_overlaps(workflow: Workflow, sample: str, time: int, threads: int) -> None:
    """Count, in blocks, how many voxels supervoxels and truth share; blocks that were counted before are skipped."""
    run_unit(workflow.step("evaluate.overlaps", sample, time), None, threads)


class TimePoint:
    """The graph of one time point and its overlaps with the truth, in memory.

    Safe to use from several threads.
    """

    def __init__(self, plan: SamplePlan, time: int) -> None:
        """Read the tables.

        Raises:
            UserError: a table is missing or damaged.
        """
        self._plan, self._time = plan, time
        blocks = range(plan.grid.number_of_blocks)
        self._graph = read_graph(plan.layout, time, blocks, blocks)
        sizes = [read_table(plan.layout.table("graph", "nodes", time, block), ["size"])["size"] for block in blocks]
        self._sizes = np.concatenate(sizes)
        nodes, contacts = self._graph.nodes, self._graph.contacts
        self._contacts = Contacts(**contacts)
        self._ends = np.searchsorted(nodes, contacts["u"]), np.searchsorted(nodes, contacts["v"])
        self._overlaps = merge(read_pairs(plan.layout, "overlaps", time, len(blocks)))

    @property
    def number_of_edges(self) -> int:
        """Edges of the graph."""
        return len(self._contacts)

    def partition(self, config: Config) -> Ids:
        """The object of each supervoxel, before small objects are merged.

        Args:
            config: the configuration with the method and its parameters.

        Raises:
            UserError: a table of lifted edges is missing or damaged.
        """
        plan, parameters = self._plan, method_parameters(config, self._plan)
        lifted: Iterable[SignedEdges] = ()
        if parameters.get("lifted"):
            step = PartitionLifted(PartitionLifted.resolve(config, plan), plan.layout, self._time)
            lifted = map(step.edges, range(plan.grid.number_of_blocks))
        problem = to_problem(self._graph, parameters, lifted)
        return solve_as_levels(problem, parameters, plan.grid.blocks_per_axis, number_of_levels(config, plan))

    def tally(self, objects: Ids, config: Config) -> Tally:
        """The sums that the scores follow from.

        Args:
            objects: (n,) uint64 object of each supervoxel.
            config: the configuration, which tells the smallest size of an object and what is left out.
        """
        names = self._without_small(objects, config.segment) if config.segment.minimum_object_size else objects
        table = relabel(self._overlaps, self._graph.nodes, names)
        return tally(table, ignore_zero=config.evaluate.ignore_zero)

    def _without_small(self, objects: Ids, settings: Segment) -> Ids:
        minimum = settings.minimum_object_size
        ids, inverse = np.unique(objects, return_inverse=True)
        sizes = np.bincount(inverse, self._sizes, len(ids)).astype(np.uint64)
        small = (sizes < minimum)[inverse]
        u, v = self._ends
        touching = contract_contacts(self._contacts.take(small[u] | small[v]), self._graph.nodes, objects)
        final = merge_small(ids, sizes, touching, minimum)
        return (remove_small(sizes, final, minimum) if settings.remove_isolated else final)[inverse]


def score_choices(
    workflow: Workflow, times: Mapping[str, Sequence[int]], choices: Sequence[Choice], threads: int
) -> list[Scores]:
    """The scores of each choice, over all samples and time points together.

    Args:
        workflow: the configuration, with a graph that is up to date.
        times: time points to score, by sample.
        choices: sets of parameters.
        threads: partitions that are solved at the same time; the scores do not depend on it.

    Raises:
        UserError: a table or the truth cannot be read, or a method cannot be solved.
    """
    for sample, chosen in times.items():
        for time in chosen:
            count_overlaps(workflow, sample, time, threads)
    tallies: list[list[Tally]] = [[] for _ in choices]
    number = sum(map(len, times.values())) * len(choices)
    with Progress(number, "sweep", unit="configuration") as progress:
        for sample, chosen in times.items():
            for time in chosen:
                found = _score_time(workflow.plans[sample], time, choices, threads, progress)
                for collected, one in zip(tallies, found, strict=True):
                    collected.append(one)
    return [combine(collected) for collected in tallies]


def _score_time(
    plan: SamplePlan, time: int, choices: Sequence[Choice], threads: int, progress: Progress
) -> Iterable[Tally]:
    """The tally of each choice; choices that differ in the smallest size alone share a partition."""
    point = TimePoint(plan, time)
    _warn_of_memory(point.number_of_edges, threads)
    shared: dict[str, list[int]] = {}
    for i, choice in enumerate(choices):
        shared.setdefault(digest_json(choice.config.partition.model_dump()), []).append(i)
    found: dict[int, Tally] = {}

    def work(members: list[int]) -> None:
        objects = point.partition(choices[members[0]].config)
        for i in members:
            found[i] = point.tally(objects, choices[i].config)
            progress.done(0)

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(work, members) for members in shared.values()]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [found[i] for i in range(len(choices))]


def _warn_of_memory(edges: int, threads: int) -> None:
    """Say so if the memory of this machine may not suffice."""
    if not hasattr(os, "sysconf"):  # Windows
        return
    needed = edges * (_BYTES_PER_EDGE + threads * _BYTES_PER_EDGE_SOLVED)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there / 2:
        sys.stderr.write(
            f"bigseg: {edges:,} edges may take {needed / 1e9:.1f} GB with {threads} threads, and this machine has "
            f"{there / 1e9:.1f} GB: use fewer --threads, or a sample cut out of the volume\n"
        )
