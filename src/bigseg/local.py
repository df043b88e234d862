"""Run a whole configuration in this process, job by job, without Snakemake: for tests, benchmarks and notebooks."""

from __future__ import annotations

from collections.abc import Collection

from bigseg.planning.workflow import Workflow
from bigseg.runner import Summary, run_unit


def run_here(workflow: Workflow, stages: Collection[str] | None = None) -> dict[str, Summary]:
    """Run the jobs of a workflow in order, those of all stages or of some.

    Returns:
        For each step, how many pieces were done and how many were unchanged.
    """
    summaries: dict[str, Summary] = {}
    for name, sample, time, batch in list(workflow.jobs()):  # planned before any of them runs
        if stages is not None and name.split(".")[0] not in stages:
            continue
        plan = workflow.plans[sample]
        summary = run_unit(workflow.step(name, sample, time), batch, workflow.config.execution.threads, plan.machine)
        before = summaries.get(name, Summary(0, 0))
        summaries[name] = Summary(before.done + summary.done, before.skipped + summary.skipped)
    return summaries
