"""Files of the batches of a step, whatever number of batches the configuration asks for now, known by their names."""

from __future__ import annotations

from pathlib import Path


def batch_files(folder: Path, step: str, suffix: str) -> dict[range, Path]:
    """The files ``STEP-FIRST-LAST`` of a step, in the order of their names, by the pieces that each tells of.

    ``image1`` is not ``image10``; the file of a step of a single piece is not among them.

    Args:
        folder: of a stage and time point.
        step: name of the step.
        suffix: of the files, with its dot.
    """
    found = {}
    for path in sorted(folder.glob(f"{step}-*{suffix}")):
        first, _, last = path.stem.removeprefix(f"{step}-").partition("-")
        if first.isdecimal() and last.isdecimal():
            found[range(int(first), int(last) + 1)] = path
    return found
