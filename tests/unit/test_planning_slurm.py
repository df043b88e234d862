"""What is asked of a SLURM before jobs are sent to it."""

from __future__ import annotations

import os

import pytest

from bigseg.errors import UserError
from bigseg.planning.slurm import check_accounting, keeps_accounts

NONE = "accounting_storage/none"


def install(folder, monkeypatch, storage: str | None) -> None:
    """A `scontrol` that tells of a storage, or of nothing."""
    script = folder / "scontrol"
    line = "MinJobAge = 300 sec" if storage is None else f"AccountingStorageType   = {storage}"
    script.write_text(f"#!/bin/sh\necho 'Configuration data as of now'\necho '{line}'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("storage", "expected"),
    [(NONE, False), ("(null)", False), ("accounting_storage/slurmdbd", True), (None, True)],
)
def test_what_scontrol_tells(tmp_path, monkeypatch, storage, expected):
    install(tmp_path, monkeypatch, storage)
    assert keeps_accounts() is expected


def test_without_slurm_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert keeps_accounts()


def test_only_sacct_needs_accounts(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, NONE)
    check_accounting(None)
    check_accounting("squeue")
    with pytest.raises(UserError, match="--slurm-status-command squeue"):
        check_accounting("sacct")
