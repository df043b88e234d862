"""Threads: how many there may be, and work that they do in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


_LIBRARIES = ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM", "NUMEXPR", "NUMBA", "RAYON")


def limit_libraries() -> None:
    """Keep libraries from starting threads of their own; to be called before any of them is imported.

    Blocks are the unit of parallelism: a thread per core inside each block would only fight the others. What the
    environment says is overruled: many clusters set ``OMP_NUM_THREADS`` to the cores of a job, which work on that many
    blocks at once already. Networks are given their threads by name.
    """
    for library in _LIBRARIES:
        os.environ[f"{library}_NUM_THREADS"] = "1"


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(work: Callable[[Item], Found], items: Iterable[Item], workers: int) -> Iterator[Found]:
    """What ``work`` gives for each item, in order, by a pool of threads; few results wait at any time."""
    waiting: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
