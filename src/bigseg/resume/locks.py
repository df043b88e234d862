"""Locks between processes, which the system releases when a process ends, however it ends.

Snakemake locks the folder in which it runs. What that does not cover is covered here: two jobs on the same blocks, two
Snakemakes in different folders with the same intermediates, and an array that many jobs need and one has to make.

Where a file system knows no locks, work goes on without them. Two jobs that make the same array at once may then take
blocks from each other, which whoever reads these notices: every block has its file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from bigseg.errors import UserError

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems say that know no locks (Lustre mounted without ``flock``, some NFS)."""
_POLL = 0.2
"""Seconds between two looks at a lock that another process holds."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file while the context lasts; waits for it.

    Also between threads of one process, which the locks of :func:`pieces_locked` are not.

    Raises:
        UserError: the file cannot be made.
    """
    with _opened(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
        yield


@contextmanager
def pieces_locked(path: Path, pieces: range, stopped: Callable[[], bool]) -> Iterator[bool]:
    """Hold the lock of some pieces of a step; wait while another process works on any of them.

    Args:
        path: lock file of the step and time point.
        pieces: numbers of the pieces, which are the bytes of the file that are locked.
        stopped: whether to give up waiting.

    Yields:
        Whether the lock is held; False if ``stopped``.

    Raises:
        UserError: the file cannot be made.
    """
    with _opened(path) as file:
        told = False
        while not _try_lock(file, pieces):
            if stopped():
                yield False
                return
            if not told:
                sys.stderr.write(f"another process works on blocks of {path.stem}: waiting for it\n")
                told = True
            time.sleep(_POLL)
        yield True


@contextmanager
def run_locked(path: Path, sample: str) -> Iterator[None]:
    """Hold the lock of a sample's intermediates, so that no other run changes them meanwhile.

    Args:
        path: its lock file.
        sample: name of the sample, for the message.

    Raises:
        UserError: another run holds it, or the file cannot be made.
    """
    with _opened(path) as file:
        if not _try_lock(file, range(1)):
            holder = path.read_text(encoding="utf-8").strip() or "unknown"
            raise UserError(
                f"{path.parent.parent}: another run works on sample {sample!r} ({holder})",
                "wait until it has ended, or give this one a `work:` folder and a `results:` folder of its own",
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            with suppress(OSError):
                file.truncate(0)


def _try_lock(file: IO[str], part: range) -> bool:
    """Lock bytes of a file unless another process holds one of them; True where the file system knows no locks."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, len(part), part.start)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        if error.errno not in _WITHOUT_LOCKS:
            raise
    return True


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{path.parent}: cannot be written ({error.strerror or error})",
            "make the folder writable or choose others with `results:` and `work:`",
        ) from error
    with file:
        yield file
