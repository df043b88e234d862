"""The block runner: the one way in which every stage works through its pieces.

It decides which pieces must run, runs them in threads, records each in the ledger as soon as its output is durable, and
writes the marker when all are done. A piece runs if its key is new, or if its output is gone.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from bigseg.errors import UserError
from bigseg.geometry.batches import parse_batch
from bigseg.machine import Machine
from bigseg.progress import Progress
from bigseg.resume.digest import digest_json
from bigseg.resume.ledger import Ledger, Record, step_ledgers, youngest
from bigseg.resume.locks import pieces_locked
from bigseg.resume.marker import Marker, upstream_digests, upstream_empty, withdraw
from bigseg.stages.empty import EVIDENCE, EmptyPieces
from bigseg.stages.step import Step
from bigseg.stages.upstream import markers_there, need_time

Digests = Mapping[tuple[str, int | None], Mapping[int, str]]


@dataclass(frozen=True)
class Summary:
    """What a job did."""

    done: int
    skipped: int


class StoppedError(Exception):
    """The job was asked to stop (SIGTERM) and did so after the blocks in hand; what is done is recorded."""


def run_unit(step: Step, blocks: str | None, threads: int, machine: Machine | None = None) -> Summary:
    """Run one job: a batch of the step's pieces, or its only piece.

    Args:
        step: the step, bound to sample, time point and parameters.
        blocks: name of the batch, ``FIRST-LAST``; None for a step of a single piece.
        threads: pieces that are worked on at the same time.
        machine: what a network runs on; the defaults if left out.

    Raises:
        UserError: a piece cannot be processed; pieces that were done before are recorded.
        StoppedError: SIGTERM came.
    """
    pieces = range(step.number_of_pieces) if blocks is None else parse_batch(blocks, step.number_of_pieces)
    step.machine = machine or Machine(threads)
    time_point = step.time if step.per_time else None
    stop = threading.Event()
    lock = step.layout.pieces_lock(step.stage, time_point, step.step)
    with _on_sigterm(stop.set), pieces_locked(lock, pieces, stop.is_set) as held:
        if not held:
            raise StoppedError(f"{step.name}: stopped before the first block; run again to go on")
        return _run_pieces(step, blocks, pieces, threads, stop)


def _run_pieces(step: Step, blocks: str | None, pieces: range, threads: int, stop: threading.Event) -> Summary:
    """Work through pieces that no other process works on, until all are done or ``stop`` is set."""
    unit = step.unit(blocks)
    time_point = step.time if step.per_time else None
    digests, empty = read_upstream(step, pieces)
    ledger_path = step.layout.ledger(step.stage, time_point, unit)
    # Ledgers of other batches count too: a change of the number of batches must not run anything again.
    known = youngest(step_ledgers(ledger_path.parent, step.step, pieces))
    ledger = Ledger(ledger_path)
    records: dict[int, tuple[Record, bool]] = {}
    marker_path = step.layout.marker(step.stage, time_point, unit)
    lock = threading.Lock()
    begun = False

    def begin(piece: int) -> None:
        """Take back whatever says that the store holds another output of the piece."""
        nonlocal begun
        with lock:
            if not begun:
                withdraw(marker_path, step.step, pieces, step.number_of_pieces)
                begun = True
        # After a kill an old record must not be taken for what the store holds. Where there is none, the line only
        # tells which blocks were in hand, and need not outlive a loss of power.
        ledger.append(Record.begun(piece), durable=piece in known)

    def work(piece: int) -> None:
        if stop.is_set():
            return
        try:
            records[piece] = _run_piece(step, piece, digests, known.get(piece), begin, ledger, empty)
        except BaseException:
            stop.set()
            raise
        progress.done(step.voxels(piece))

    try:
        with (
            Progress(len(pieces), _label(step)) as progress,
            ThreadPoolExecutor(max_workers=max(1, step.workers(threads))) as pool,
        ):
            futures = [pool.submit(work, piece) for piece in pieces]
            try:
                finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
            except BaseException:  # Ctrl-C: leaving the pool would work through the whole batch first
                stop.set()
                raise
            for future in finished:
                future.result()
    finally:
        ledger.close()
        step.close()
    results = {piece: record.digest for piece, (record, _) in records.items()}
    if len(results) < len(pieces):
        raise StoppedError(f"{step.name}: stopped after {len(results)} of {len(pieces)} blocks; run again to go on")
    nothing = [piece for piece, (record, _) in records.items() if record.empty]
    marker = Marker(step.name, time_point, step.version, digest_json(step.dependence), results, nothing)
    marker.write(marker_path)
    done = sum(fresh for _, fresh in records.values())
    return Summary(done=done, skipped=len(pieces) - done)


def _run_piece(
    step: Step,
    piece: int,
    digests: Digests,
    record: Record | None,
    begin: Callable[[int], None],
    ledger: Ledger,
    empty: EmptyPieces,
) -> tuple[Record, bool]:
    """Process a piece unless its record tells that this was done; the record of its output, and whether it is new."""
    started = time.perf_counter()
    try:
        key = piece_key(step, piece, digests, empty)
        if record is not None and record.key == key and step.intact(piece, record):
            return record, False
        begin(piece)
        outcome = empty.process(piece) if piece in empty else step.process(piece)
        record = Record(piece, key, outcome.digest, round(time.perf_counter() - started, 4), outcome.note)
        ledger.append(record, durable=False)
    except UserError as error:
        raise UserError(f"{step.name}, {step.describe(piece)}: {error.problem}", error.remedy) from error
    except MemoryError as error:
        raise UserError(
            f"{step.name}, {step.describe(piece)}: not enough memory",
            "choose a smaller blocks.block_shape or fewer execution.threads, or give the job more memory",
        ) from error
    return record, True


def read_upstream(step: Step, pieces: range) -> tuple[Digests, EmptyPieces]:
    """What markers tell of the pieces that some pieces of a step need: digests, and which of the step's are empty.

    Raises:
        UserError: a marker is missing or damaged.
    """
    markers = [Marker.read(path) for path in markers_there(step, pieces, keys_only=True)]
    return upstream_digests(markers), EmptyPieces(step, upstream_empty(markers))


def piece_key(step: Step, piece: int, digests: Digests, empty: EmptyPieces) -> str:
    """Fingerprint of everything that the output of a piece depends on.

    Raises:
        UserError: a marker that the piece needs was not given.
    """
    used = []
    for need in step.needs(piece):
        if not need.in_key:
            continue
        time_point = need_time(step, need)
        found = digests.get((need.step, time_point), {})
        missing = [number for number in need.pieces if number not in found]
        if missing:
            raise UserError(
                f"no marker tells of {need.step}, block {missing[0]}", "run the stages in order: use snakemake"
            )
        used.append([need.step, time_point, [found[number] for number in need.pieces]])
    evidence = EVIDENCE if piece in empty else step.evidence(piece)
    return digest_json([step.name, step.version, step.key_parameters, used, evidence])


def _label(step: Step) -> str:
    return f"{step.name}, time point {step.time}" if step.per_time else step.name


@contextmanager
def _on_sigterm(action: Callable[[], None]) -> Iterator[None]:
    """Call ``action`` on SIGTERM (a scheduler's warning before it kills) while the context lasts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        action()

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
