"""A cache of decoded pieces of files, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future

import numpy as np

CACHE_BYTES = 256 * 2**20
"""Budget of the decoded pieces that one source keeps."""


class ByteCache:
    """Least recently used arrays, at most ``capacity`` bytes of them; safe to share between threads.

    A piece that several threads ask for at once is loaded once.
    """

    def __init__(self, capacity: int = CACHE_BYTES) -> None:
        """Start empty."""
        self._capacity = capacity
        self._bytes = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, Future[np.ndarray]] = OrderedDict()

    def get(self, key: Hashable, load: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of ``key``, loaded unless it is there; not to be written to. Errors of ``load`` pass through."""
        with self._lock:
            entry = self._entries.get(key)
            mine = entry is None
            if entry is None:
                entry = self._entries[key] = Future()
            else:
                self._entries.move_to_end(key)
        if mine:
            try:
                array = load()
            except BaseException as error:
                with self._lock:
                    del self._entries[key]
                entry.set_exception(error)
                raise
            with self._lock:
                entry.set_result(array)
                self._bytes += array.nbytes
                self._shrink()
        return entry.result()

    def _shrink(self) -> None:
        while self._bytes > self._capacity:
            key, entry = next(iter(self._entries.items()))
            if entry.done():
                del self._entries[key]
                self._bytes -= entry.result().nbytes
            else:
                self._entries.move_to_end(key)  # still loading; what is over budget lies behind it
