"""The TIFF files that a folder, a glob pattern or a pattern with ``{t}``, ``{c}``, ``{z}`` stands for.

The standard library only: the signature of an input uses it, and must be fast.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bigseg.errors import UserError

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf2", ".tf8")

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_TOKENS = re.compile(r"(\{[^{}]*\}|\*\*/|\*|\?)")
_NAMED_AT_MOST = 10
_LONGEST_TIME_LAPSE = 100_000
"""Time points between the first and the last; numbers further apart are no numbers of time points."""


@dataclass(frozen=True)
class FileGrid:
    """Files in the order of what their names count.

    Args:
        files: row by row over ``shape``; None for a file of a time point that is not there.
        axes: letters of ``tcz`` that the names count, in this order; None for a folder or glob pattern, whose files
            count one axis that the names do not tell.
        shape: number of files along each of the axes.
    """

    files: tuple[Path | None, ...]
    axes: str | None
    shape: tuple[int, ...]
    missing_times: Mapping[int, str] = field(default_factory=dict)
    """Time points, counted from 0, of which a file is not there, and what is missing."""

    @property
    def present(self) -> tuple[Path, ...]:
        """The files that are there."""
        return tuple(file for file in self.files if file is not None)

    def time_of(self, number: int) -> int | None:
        """The time point that the file at a place belongs to; None where the names count no time points."""
        if "t" not in (self.axes or ""):
            return None
        return number // (len(self.files) // self.shape[0])  # t is the first of the axes


def is_pattern(text: str) -> bool:
    """Whether a path is meant as a pattern of files."""
    return glob.has_magic(text) or _PLACEHOLDER.search(text) is not None


def find_files(text: str) -> FileGrid:
    """The files of a folder or pattern, in natural order (``s2`` before ``s10``).

    A time point of which a file is missing is told, and is no error; planes and channels may not be missing.

    Raises:
        UserError: there are none, some are no TIFF, an index is missing or there twice, an unknown placeholder.
    """
    if os.path.isdir(text):
        found = [Path(text, name) for name in os.listdir(text) if name.lower().endswith(TIFF_SUFFIXES)]
        files = [file for file in found if not file.name.startswith(".") and file.is_file()]
        if not files:
            raise UserError(
                f"the folder {text} holds no TIFF file",
                "name a TIFF, HDF5 or Zarr inside it, or a pattern such as `slices/*.tif`",
            )
        return _unnamed(files)
    if _PLACEHOLDER.search(text):
        return _indexed(text)
    files = [Path(name) for name in glob.glob(text, recursive=True) if os.path.isfile(name)]
    if not files:
        raise _nothing_matches(text)
    _check_tiff(files, text)
    return _unnamed(files)


def natural_key(path: Path) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key by which numbers in names count as numbers."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part), str(path)


def _unnamed(files: list[Path]) -> FileGrid:
    ordered: list[Path] = sorted(files, key=natural_key)
    return FileGrid(tuple(ordered), None, (len(files),))


def _indexed(text: str) -> FileGrid:
    names = _PLACEHOLDER.findall(text)
    wrong = [name for name in names if name not in ("t", "c", "z")]
    if wrong:
        raise UserError(
            f"`path: {text}` has the placeholder {{{wrong[0]}}}", "allowed are {t}, {c} and {z}; write [*] for a star"
        )
    axes = "".join(axis for axis in "tcz" if axis in names)
    by_index: dict[tuple[int, ...], Path] = {}
    expression = re.compile(_expression(text))
    for name in sorted(glob.glob(_glob(text), recursive=True)):
        match = expression.fullmatch(name)
        if match is None or not os.path.isfile(name):
            continue
        index = tuple(int(match[axis]) for axis in axes)
        if index in by_index:
            which = ", ".join(f"{axis}={number}" for axis, number in zip(axes, index, strict=True))
            raise UserError(
                f"{by_index[index]} and {name} both are {which} of {text}",
                "move one of them away, or write more of the name into the pattern",
            )
        by_index[index] = Path(name)
    if not by_index:
        raise _nothing_matches(text)
    _check_tiff(list(by_index.values()), text)
    numbers = {axis: sorted({index[at] for index in by_index}) for at, axis in enumerate(axes)}
    for axis in axes:
        if axis == "t" and numbers[axis][-1] - numbers[axis][0] < _LONGEST_TIME_LAPSE:
            numbers[axis] = list(range(numbers[axis][0], numbers[axis][-1] + 1))
        elif axis != "c":  # channels may be numbered with gaps; planes may not
            _check_no_gap(text, axis, numbers[axis])
    if "t" not in axes:
        _check_complete(text, axes, numbers, set(by_index))
    indices = list(itertools.product(*(numbers[axis] for axis in axes)))
    missing: dict[int, list[str]] = {}
    if "t" in axes:
        for index in indices:
            if index not in by_index:
                missing.setdefault(index[0] - numbers["t"][0], []).append(_named(axes, index))
    told = {time: "no file for " + _shortened(names) for time, names in missing.items()}
    return FileGrid(tuple(map(by_index.get, indices)), axes, tuple(len(numbers[axis]) for axis in axes), told)


def _glob(text: str) -> str:
    tokens = _TOKENS.split(text)
    return "".join(
        "*" if _PLACEHOLDER.fullmatch(token) else token if _TOKENS.fullmatch(token) else glob.escape(token)
        for token in tokens
    )


def _expression(text: str) -> str:
    wildcards = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    seen: set[str] = set()
    parts = []
    for token in _TOKENS.split(text):
        placeholder = _PLACEHOLDER.fullmatch(token)
        if placeholder is None:
            parts.append(wildcards.get(token, re.escape(token)))
            continue
        axis = placeholder[1]
        parts.append(f"(?P={axis})" if axis in seen else rf"(?P<{axis}>\d+)")
        seen.add(axis)
    return "".join(parts)


def _check_no_gap(text: str, axis: str, numbers: list[int]) -> None:
    absent = numbers[-1] - numbers[0] + 1 - len(numbers)
    if absent:
        present = set(numbers)
        first = itertools.islice((n for n in range(numbers[0], numbers[-1]) if n not in present), _NAMED_AT_MOST)
        raise UserError(
            f"{text}: {_listed(axis, first, absent)} missing between {axis}={numbers[0]} and {axis}={numbers[-1]}",
            "add the missing files, or number the files without gaps",
        )


def _check_complete(text: str, axes: str, numbers: dict[str, list[int]], present: set[tuple[int, ...]]) -> None:
    expected = itertools.product(*(numbers[axis] for axis in axes))
    absent = [index for index in expected if index not in present]
    if absent:
        raise UserError(
            f"{text}: no file for {_shortened([_named(axes, index) for index in absent])}",
            "add the missing files, or leave out the whole channel or plane",
        )


def _named(axes: str, index: tuple[int, ...]) -> str:
    """An index as messages name it: ``(t=3, c=1)``."""
    return "(" + ", ".join(f"{axis}={number}" for axis, number in zip(axes, index, strict=True)) + ")"


def _shortened(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more


def _listed(axis: str, first: itertools.islice[int], count: int) -> str:
    more = f" and {count - _NAMED_AT_MOST} more" if count > _NAMED_AT_MOST else ""
    return f"{axis}=" + ", ".join(map(str, first)) + more + (" is" if count == 1 else " are")


def _check_tiff(files: list[Path], text: str) -> None:
    other = [file for file in files if not file.name.lower().endswith(TIFF_SUFFIXES)]
    if other:
        raise UserError(
            f"{text} also matches {other[0]}, which is not named as a TIFF file",
            "patterns are for TIFF files: end the pattern in .tif or .tiff",
        )


def _nothing_matches(text: str) -> UserError:
    folder = Path(text)
    while is_pattern(str(folder)):
        folder = folder.parent
    if not folder.is_dir():
        return UserError(f"no file matches {text}: the folder {folder} does not exist", "correct the path")
    names = sorted(
        (entry for entry in os.listdir(folder) if not entry.startswith(".")), key=lambda n: natural_key(Path(n))
    )
    holds = f"it holds {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" if names else "it is empty"
    return UserError(f"no file matches {text}", f"compare the pattern with the names in {folder}: {holds}")
