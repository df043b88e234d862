"""Imports go one way, as CONTRIBUTING.md says, also those inside functions; what only type checkers see is free."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bigseg

PACKAGE = Path(bigseg.__file__).parent
LAYERS = [
    {"__main__"},
    {"cli"},
    {"sweeping", "labels", "local", "training", "upkeep", "calibrate"},
    {"planning", "runner"},
    {"stages"},
    {"reporting"},
    {"networks", "tracks"},
    {"kernels", "volumes"},
    {"config", "resume", "geometry", "layout", "machine", "progress", "threads"},
    {"errors", "__init__"},
]
"""From the command line down."""
DEPTH = {name: depth for depth, names in enumerate(LAYERS) for name in names}
ROOMS = sorted({path.relative_to(PACKAGE).with_suffix("").parts[0] for path in PACKAGE.rglob("*.py")})


def imported(path: Path) -> Iterator[str]:
    """The packages and modules of bigseg that a module imports at run time."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in for_types:
            first, *rest = (node.module or "").split(".")
            if first == "bigseg":
                yield rest[0] if rest else "__init__"


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room):
    folder = PACKAGE / room
    paths = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    for path in paths:
        for name in set(imported(path)) - {room}:
            assert DEPTH[name] > DEPTH[room], f"{path.relative_to(PACKAGE)} imports bigseg.{name}"


def test_kernels_know_nothing_of_the_rest():
    for path in (PACKAGE / "kernels").rglob("*.py"):
        assert set(imported(path)) <= {"kernels", "geometry"}, path.name
