"""The log of a command that a workflow starts."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

import typer

from bigseg.errors import UserError


@contextlib.contextmanager
def logging_to(path: Path | None) -> Iterator[None]:
    """Send standard error to a log; what ends the job is told in both."""
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", buffering=1) as file, contextlib.redirect_stderr(file):
        try:
            yield
        except UserError as error:
            file.write(f"bigseg: {error}\n")
            raise
        except typer.Exit:
            raise
        except Exception:
            file.write(traceback.format_exc())
            raise
