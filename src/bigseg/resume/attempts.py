"""Attempts: what became of the last attempt at each job, for ``bigseg status``; no job depends on them.

A job that is at work holds a lock on its file, which the system releases however the process ends: a file that says
"at work" and is not locked tells of a job that was killed. The file of a job that ended well is removed.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

State = Literal["failed", "stopped", "killed", "running"]

_AT_WORK = "at work"


@contextmanager
def attempt(path: Path, stopped: type[BaseException]) -> Iterator[None]:
    """Record at ``path`` how the body ends; where that cannot be written, it is not recorded.

    Args:
        path: file of the job's attempts.
        stopped: the exception by which a job ends that was asked to stop; it is no failure.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError:  # the job itself will tell that the folder cannot be written
        yield
        return
    with file:
        with suppress(OSError):  # a file system without locks: a killed job then counts as running
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

        def tell(state: str, message: str = "") -> None:
            with suppress(OSError):
                file.seek(0)
                file.truncate()
                json.dump({"state": state, "message": message}, file)
                file.flush()

        tell(_AT_WORK)
        try:
            yield
        except stopped:
            tell("stopped")
            raise
        except BaseException as error:
            tell("failed", str(error) or type(error).__name__)
            raise
        with suppress(OSError):
            path.unlink()


def read_attempt(path: Path) -> tuple[State, str] | None:
    """How the last attempt ended, and the message of a failure; None where it ended well or there was none."""
    try:
        with path.open("r", encoding="utf-8") as file:
            told = json.load(file)
            state, message = told["state"], str(told["message"])
            if state == _AT_WORK:
                return ("running" if _locked(file.fileno()) else "killed"), message
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (state, message) if state in ("failed", "stopped") else None


def _locked(descriptor: int) -> bool:
    """Whether another process holds the lock of a file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
