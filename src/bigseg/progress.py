"""Progress of work on blocks, on standard error: a bar on a terminal, now and then a line in a log file."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Never, Self, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm


class Progress:
    """Blocks done of a known number, Mvox/s since the start, and the time left at that speed.

    Use it as a context manager, and call :meth:`done` from any thread.
    """

    def __init__(
        self, total: int, label: str, *, unit: str = "block", stream: TextIO | None = None, interval: float = 30.0
    ) -> None:
        """Prepare; time counts from the start of the ``with`` block.

        Args:
            total: blocks to do.
            label: what is being done, for example the name of a stage.
            unit: what is counted, in the singular.
            stream: where to write; standard error if left out.
            interval: least seconds between two lines where ``stream`` is not a terminal.
        """
        self._total = total
        self._label = label
        self._unit = unit
        self._stream = sys.stderr if stream is None else stream
        self._interval = interval
        self._lock = threading.Lock()
        self._blocks = 0
        self._voxels = 0
        self._bar: tqdm[Never] | None = None

    def __enter__(self) -> Self:
        """Start the clock."""
        self._start = self._last_line = time.monotonic()
        if self._stream.isatty():
            from tqdm import tqdm  # a log file does not need it, and every job would pay for the import

            self._bar = tqdm(total=self._total, desc=self._label, unit=self._unit, file=self._stream)
        return self

    def done(self, voxels: int) -> None:
        """Count one more block, of ``voxels`` voxels."""
        with self._lock:
            self._blocks += 1
            self._voxels += voxels
            now = time.monotonic()
            if self._bar is not None:
                self._bar.set_postfix_str(self._speed(now), refresh=False)
                self._bar.update()
            elif now - self._last_line >= self._interval and self._blocks < self._total:
                self._last_line = now
                left = (now - self._start) / self._blocks * (self._total - self._blocks)
                self._write(f"{self._speed(now)}, {_duration(left)} left")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the bar or write the last line, which tells whether the work ended or was stopped."""
        with self._lock:
            if self._bar is not None:
                self._bar.close()
            else:
                now = time.monotonic()
                ending = "in" if kind is None else "stopped after"
                self._write(f"{self._speed(now)}, {ending} {_duration(now - self._start)}")

    def _speed(self, now: float) -> str:
        """Voxels a second, or pieces where these stand for no voxels."""
        seconds = max(now - self._start, 1e-9)
        return f"{self._voxels / 1e6 / seconds:.1f} Mvox/s" if self._voxels else f"{self._blocks / seconds:.1f} /s"

    def _write(self, text: str) -> None:
        print(f"{self._label}: {self._blocks}/{self._total} {self._unit}s, {text}", file=self._stream, flush=True)


def _duration(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}"
