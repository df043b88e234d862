"""What the Snakefiles ask: jobs, their markers, inputs and payloads. Steps decide; nothing is decided here twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from bigseg.config import Config, validate_config
from bigseg.config.samples import Input
from bigseg.errors import UserError
from bigseg.geometry.batches import batch_name, parse_batch
from bigseg.planning.batching import Batching
from bigseg.planning.evidence import unused_beside_segmentation, unused_maps
from bigseg.planning.resources import memory_mb, runtime_minutes
from bigseg.planning.sample import SamplePlan, plan_sample
from bigseg.resume.ledger import step_ledgers
from bigseg.resume.locks import run_locked
from bigseg.resume.marker import Marker
from bigseg.stages import find_step, steps_of
from bigseg.stages.step import Step
from bigseg.stages.upstream import markers_there, upstream_markers
from bigseg.volumes.signature import time_files


class Workflow:
    """All jobs of a configuration."""

    def __init__(self, settings: Mapping[str, Any], origin: str, *, within_job: bool = False) -> None:
        """Validate the settings that were read from ``origin`` and look at every sample's files.

        Args:
            settings: the configuration.
            origin: what messages call it.
            within_job: a job of a run reads the rules again (on a cluster): what it needs is there by now, in the
                batches that the run was planned with.

        Raises:
            UserError: whatever of the configuration or the files makes the run impossible.
        """
        self.config: Config = validate_config(settings, origin)
        self.plans: dict[str, SamplePlan] = {name: plan_sample(self.config, name) for name in self.config.samples}
        self._steps = {name: steps_of(self.config, plan) for name, plan in self.plans.items()}
        self._claims = ExitStack()
        self._within_job = within_job
        self._batching = {name: self._make_batching(name) for name in self.plans}
        self.step = cache(self._make_step)
        self.files = cache(self._find_files)

    def warnings(self) -> list[str]:
        """Lines that a user should see before anything runs."""
        method, predict = self.config.partition.method, self.config.predict
        lines = []
        if predict.model is not None and predict.method != "network":
            lines.append(f"predict.model is not used: predict.method is {predict.method}; set it to network")
        for name, plan in self.plans.items():
            lines += [f"samples.{name}: time point {t} is left out ({why})" for t, why in plan.skipped.items()]
            if plan.sample.segmentation is None:
                lines += unused_maps(name, plan.sample, method)
            else:
                lines += unused_beside_segmentation(name, plan.sample)
        return lines

    def steps(self, sample: str) -> list[str]:
        """The steps that a sample needs, in order."""
        return self._steps[sample]

    def targets(self) -> list[str]:
        """What the workflow is run for: markers of the last steps of every sample, and its result files."""
        found = []
        for sample, plan in self.plans.items():
            for name in self.steps(sample):
                kind = find_step(name)
                if not kind.per_time:
                    found += [self.marker(name, sample, None, batch) for batch in self.batch_names(name, sample, None)]
                    found += [str(plan.layout.result_folder / file) for file in kind.files]
        return found

    def lost(self) -> list[str]:
        """Markers that are not there though their blocks were begun once: what was removed so that it runs again.

        Snakemake by itself misses no file that only finished jobs needed.
        """
        found = []
        for name, sample, time, batch in self.jobs():
            marker = Path(self.marker(name, sample, time, batch))
            if marker.exists():
                continue
            step = self.step(name, sample, time)
            pieces = range(step.number_of_pieces) if batch is None else parse_batch(batch, step.number_of_pieces)
            # Ledgers of other batches as well: a step that lacks a marker is cut as the configuration says now.
            if step_ledgers(step.layout.ledger(step.stage, time, step.unit(batch)).parent, step.step, pieces):
                found.append(str(marker))
        return found

    def claim(self) -> None:
        """Keep other runs away from the samples' intermediates until this process ends.

        Raises:
            UserError: another run works on one of them.
        """
        for name, plan in self.plans.items():
            self._claims.enter_context(run_locked(plan.layout.run_lock, name))

    def jobs(self) -> Iterator[tuple[str, str, int | None, str | None]]:
        """Every job as (step, sample, time point, batch)."""
        for sample in self.plans:
            for name in self.steps(sample):
                for time in self.times(name, sample):
                    for batch in self.batch_names(name, sample, time):
                        yield name, sample, time, batch

    def times(self, name: str, sample: str) -> Sequence[int | None]:
        """The time points of a sample that a step has jobs for; one None for a step over all of them."""
        kind = find_step(name)
        return kind.times_of(self.plans[sample].times) if kind.per_time else (None,)

    def batch_names(self, name: str, sample: str, time: int | None) -> list[str | None]:
        """Names of the batches of a step at a time point; one None for a step of a single piece."""
        if not find_step(name).in_batches:
            return [None]
        return [batch_name(batch) for batch in self._batching[sample].of(name, time)]

    def marker(self, name: str, sample: str, time: int | None, batch: str | None) -> str:
        """Path of a job's marker."""
        step = self.step(name, sample, time)
        return str(self.plans[sample].layout.marker(step.stage, time, step.unit(batch)))

    def is_done(self, name: str, sample: str, time: int | None, batch: str | None) -> bool:
        """Whether a job's marker is there and was written with this version and these parameters."""
        return _has_marker(self.step(name, sample, time), time, batch)

    def was_cleaned(self, name: str, sample: str, time: int | None, batch: str | None) -> bool:
        """Whether a job was done, with this version and these parameters, and ``bigseg clean`` removed what it made."""
        step, layout = self.step(name, sample, time), self.plans[sample].layout
        marker = layout.marker(step.stage, time, step.unit(batch))
        return bool(step.passing) and _is_of(layout.cleaned / marker.relative_to(layout.folder), step)

    def inputs(self, name: str, sample: str, time: int | None, batch: str | None) -> list[str]:
        """Markers of the jobs that a job needs, in the order of steps and batches."""
        step = self.step(name, sample, time)
        pieces = range(step.number_of_pieces) if batch is None else parse_batch(batch, step.number_of_pieces)
        if self._within_job:
            return [str(path) for path in markers_there(step, pieces)]
        return [str(path) for path in upstream_markers(step, pieces, self._batching[sample].of)]

    def parameters(self, name: str, sample: str) -> str:
        """What the result of a step depends on, with its version, as JSON."""
        step = self.step(name, sample, None)
        return json.dumps({"version": step.version, **step.dependence}, sort_keys=True)

    def places(self, name: str, sample: str) -> str:
        """What else a step is told, as JSON: where to look for things that are known by their content."""
        step = self.step(name, sample, None)
        return json.dumps(
            {key: step.parameters[key] for key in step.looked_up_by if key in step.parameters}, sort_keys=True
        )

    def memory_mb(self, name: str, sample: str, threads: int, attempt: int) -> int:
        """Memory in MB that a job of a step asks for."""
        return memory_mb(self.plans[sample], self.step(name, sample, None), threads, attempt)

    def runtime_minutes(self, name: str, sample: str, batch: str | None, attempt: int) -> int:
        """Run time in minutes that a job of a step asks for."""
        step = self.step(name, sample, None)
        total = step.number_of_pieces
        pieces = range(total) if batch is None else parse_batch(batch, total)
        return runtime_minutes(self.plans[sample], step, len(pieces), self.config.execution.threads, attempt)

    def machine(self) -> list[str]:
        """Options of ``bigseg run`` that tell a network what to run on."""
        execution = self.config.execution
        options = ["--device", execution.device, "--network-memory-gb", f"{execution.network_memory_gb:g}"]
        return [*options, "--compile"] if execution.compile else options

    def gpus(self) -> int:
        """GPUs that a job with a network asks for."""
        return self.training_gpus() if self.config.predict.method == "network" else 0

    def training_gpus(self) -> int:
        """GPUs that a training asks for, whatever makes the boundary maps of the run."""
        return int(self.config.execution.device == "cuda")

    def _make_batching(self, sample: str) -> Batching:
        """The batches of a sample's steps."""
        return Batching(self.plans[sample].batches, lambda name, time: self.step(name, sample, time), _has_marker)

    def _make_step(self, name: str, sample: str, time: int | None) -> Step:
        """A step, bound to a sample and a time point."""
        kind, plan = find_step(name), self.plans[sample]
        return kind(kind.resolve(self.config, plan), plan.layout, time or 0)

    def _find_files(self, sample: str, role: str, time: int) -> list[str]:
        """The user's files of a role (see :data:`bigseg.config.samples.ROLES`) that hold a time point."""
        spec: Input | None = getattr(self.plans[sample].sample, role)
        return [] if spec is None else [str(path) for path in time_files(spec, time)]


def _has_marker(step: Step, time: int | None, batch: str | None) -> bool:
    """Whether a job's marker is there and was written with this version and these parameters."""
    return _is_of(step.layout.marker(step.stage, time, step.unit(batch)), step)


def _is_of(path: Path, step: Step) -> bool:
    """Whether a marker is there and was written with the version and the parameters of a step."""
    try:
        marker = Marker.read(path)
    except UserError:
        return False
    return step.is_told_by(marker)
