import os
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from bigseg.config.load import load_training, read_settings
from bigseg.errors import UserError
from bigseg.planning.estimate import disk_warnings
from bigseg.planning.resources import training_memory_mb, training_minutes
from bigseg.planning.slurm import check_accounting
from bigseg.planning.workflow import Workflow


def default_config():
    """The configuration where none is named. It is read here first, because Snakemake would not say what is wrong."""
    path = "config.yaml" if os.path.exists("config.yaml") else "config/config.yaml"
    if not workflow.is_main_process:  # jobs read these rules again
        return path
    try:
        read_settings(Path(path if os.path.exists(path) else "config.yaml"))
    except UserError as error:
        raise WorkflowError(f"bigseg: {error}") from None
    return path


# A configuration given on the command line stands alone: it must not be mixed with the samples of the default one.
if "samples" not in config:

    configfile: default_config()


# `snakemake train --config training=train.yaml` (rules/train.smk); no key of the configuration proper.
TRAINING = config.pop("training", None)


def read_jobs():
    """All jobs of the configuration; what is wrong with it is told in one message."""
    if shutil.which("bigseg") is None:
        raise WorkflowError(
            "bigseg: not on the PATH of the jobs\n  Remedy: activate the environment it is installed in"
        )
    origin = ", ".join(map(str, workflow.configfiles)) or "config"
    try:
        return Workflow(config, origin, within_job=not workflow.is_main_process)
    except UserError as error:
        raise WorkflowError(f"bigseg: {error}") from None


JOBS = read_jobs()
WORK = JOBS.config.work

if workflow.is_main_process:  # every job reads these rules again
    for line in [*JOBS.warnings(), *disk_warnings(JOBS)]:
        print(f"bigseg: {line}", file=sys.stderr)


onstart:
    try:
        check_accounting(getattr(workflow.executor_settings, "status_command", None))
        JOBS.claim()
    except UserError as error:
        raise WorkflowError(f"bigseg: {error}") from None


wildcard_constraints:
    sample="|".join(JOBS.plans),
    time=r"t\d+",
    blocks=r"\d+-\d+",
    kind="image|labels|tracks",
    level=r"\d+",


def model_folder(path):
    """Folder of the model that a training makes."""
    try:
        return Path(load_training(Path(path)).output).expanduser()
    except UserError as error:
        raise WorkflowError(f"bigseg: {error}") from None


def time_of(wildcards):
    """Time point of a job, None for a job over all of them."""
    return int(wildcards.time[1:]) if "time" in wildcards.keys() else None


def named(step, wildcards):
    """The step's name with its level (of the partition or the pyramid) filled in."""
    return step.format(**{key: wildcards[key] for key in ("kind", "level") if key in wildcards.keys()})


def upstream(step):
    """Input function: markers of the jobs that a job needs."""
    return lambda wildcards: JOBS.inputs(
        named(step, wildcards), wildcards.sample, time_of(wildcards), wildcards.get("blocks")
    )


def files(role):
    """Input function: the user's files of a role that hold the time point."""
    return lambda wildcards: JOBS.files(wildcards.sample, role, time_of(wildcards))


def parameters(step):
    """Params function: exactly what the result of a step depends on."""
    return lambda wildcards: JOBS.parameters(named(step, wildcards), wildcards.sample)


def places(step):
    """Params function: where to look for what is known by its content. Snakemake passes by a change of these, because
    the function takes ``input``."""
    return lambda wildcards, input: JOBS.places(named(step, wildcards), wildcards.sample)


def memory(step):
    """Resource function: memory in MB."""
    return lambda wildcards, threads, attempt: JOBS.memory_mb(
        named(step, wildcards), wildcards.sample, threads, attempt
    )


def runtime(step):
    """Resource function: run time in minutes."""
    return lambda wildcards, attempt: JOBS.runtime_minutes(
        named(step, wildcards), wildcards.sample, wildcards.get("blocks"), attempt
    )


# Only what a result depends on is among the params, because Snakemake starts a job again when one of them changes.
# Where files lie and how the work is run reaches the jobs as environment variables, set anew wherever this is parsed.
os.environ.update(
    BIGSEG_RESULTS=JOBS.config.results,
    BIGSEG_WORK=JOBS.config.work,
    BIGSEG_MACHINE=" ".join(JOBS.machine()),
    BIGSEG_DEVICE=JOBS.config.execution.device,
)
# `exec`: a scheduler's SIGTERM would end a shell in between at once, and with it the job, before the block in hand is done.
RUN = (
    "exec bigseg run {params.step:q} --sample {wildcards.sample:q} --parameters {params.parameters:q}"
    ' --results "$BIGSEG_RESULTS" --work "$BIGSEG_WORK"'
    " --threads {threads} --log {log:q}"
)
PLACES = " --places {params.places:q}"
RUN_TIME = RUN + " --time {wildcards.time}"
RUN_WINDOWS = RUN + " --blocks {wildcards.blocks}"
RUN_BATCH = RUN_TIME + " --blocks {wildcards.blocks}"
