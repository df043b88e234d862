"""What must be known of a SLURM before jobs are sent to it."""

from __future__ import annotations

import subprocess

from bigseg.errors import UserError


def check_accounting(status_command: str | None) -> None:
    """Refuse to ask ``sacct`` about jobs where SLURM keeps no accounts: it would answer nothing, for ever.

    Args:
        status_command: what Snakemake's executor asks about jobs, ``sacct`` or ``squeue``; None for other executors.

    Raises:
        UserError: the run would wait for jobs that have long ended.
    """
    if status_command != "sacct" or keeps_accounts():
        return
    raise UserError(
        "this SLURM keeps no accounts of jobs (AccountingStorageType is none), so that `sacct` cannot tell which have "
        "ended and the run would wait for ever",
        "add `--slurm-status-command squeue` to the command line, or `slurm-status-command: squeue` to your profile",
    )


def keeps_accounts() -> bool:
    """Whether SLURM stores what became of jobs; True as well where it does not say."""
    try:
        done = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=30)  # noqa: S607
    except (OSError, subprocess.TimeoutExpired):
        return True
    return tells_of_accounts(done.stdout)


def tells_of_accounts(configuration: str) -> bool:
    """Whether the output of ``scontrol show config`` names a storage for accounts, or does not mention it."""
    for line in configuration.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "AccountingStorageType":
            return value.strip() not in ("accounting_storage/none", "(null)", "")
    return True
