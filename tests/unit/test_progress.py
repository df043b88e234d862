"""Progress on a terminal, in a log file, and from several threads."""

from __future__ import annotations

import io
import threading

import pytest

from bigseg.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_file_gets_a_last_line_and_few_others():
    stream = io.StringIO()
    with Progress(3, "segment", stream=stream) as progress:
        for _ in range(3):
            progress.done(10**6)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("segment: 3/3 blocks, ")
    assert line.endswith(" Mvox/s, in 0:00:00")


def test_lines_of_a_log_file_tell_the_time_left(monkeypatch):
    now = 100.0
    monkeypatch.setattr("bigseg.progress.time.monotonic", lambda: now)
    stream = io.StringIO()
    with Progress(10, "graph", stream=stream) as progress:
        for _ in range(10):
            now += 20.0
            progress.done(40_000_000)
    assert stream.getvalue().splitlines() == [
        "graph: 2/10 blocks, 2.0 Mvox/s, 0:02:40 left",
        "graph: 4/10 blocks, 2.0 Mvox/s, 0:02:00 left",
        "graph: 6/10 blocks, 2.0 Mvox/s, 0:01:20 left",
        "graph: 8/10 blocks, 2.0 Mvox/s, 0:00:40 left",
        "graph: 10/10 blocks, 2.0 Mvox/s, in 0:03:20",
    ]


def test_a_terminal_gets_a_bar():
    stream = Terminal()
    with Progress(2, "predict", stream=stream) as progress:
        progress.done(10**6)
        progress.done(10**6)
    assert "\r" in stream.getvalue()
    last = stream.getvalue().rstrip().split("\r")[-1]
    assert last.startswith("predict: 100%")
    assert "2/2" in last
    assert "Mvox/s" in last


def test_an_error_is_told_apart_from_an_end():
    stream = io.StringIO()

    def fail() -> None:
        with Progress(5, "graph", stream=stream) as progress:
            progress.done(1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "graph: 1/5 blocks" in stream.getvalue()
    assert "stopped after" in stream.getvalue()


def test_threads_count_together():
    stream = io.StringIO()
    with Progress(4000, "measure", stream=stream) as progress:
        threads = [threading.Thread(target=lambda: [progress.done(1) for _ in range(1000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert "measure: 4000/4000 blocks" in stream.getvalue()
