"""Imports go one way, as CONTRIBUTING.md says, also those inside functions; what only type checkers see is free."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import bigseg

PACKAGE = Path(bigseg.__file__).parent
CHECKOUT = Path(__file__).parents[2]
OF_ARRAYS = {"bioimage_cpp", "numba", "numpy", "pandas", "scipy"}
"""What kernels are made with."""
HEAVY = {*OF_ARRAYS, "dask", "h5py", "matplotlib", "onnxruntime", "pyarrow", "tifffile", "torch", "zarr", "zarrs"}
"""What no planner may import: it plans in every job."""
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


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def names_in(tree: ast.AST, *, at_once: bool = False) -> Iterator[str]:
    """Dotted names of all that is imported at run time; ``at_once``: as soon as the module is imported itself."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if at_once and isinstance(node, ast.FunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from names_in(node, at_once=at_once)


def imported(path: Path) -> Iterator[str]:
    """The packages and modules of bigseg that a module imports at run time."""
    for name in names_in(parsed(path)):
        first, _, rest = name.partition(".")
        if first == "bigseg":
            room = rest.partition(".")[0]
            yield room if room in DEPTH else "__init__"


def path_of(name: str) -> Path | None:
    """The file of a module of bigseg, or of the package that a dotted name is of; None for other names."""
    parts = name.split(".")
    place = PACKAGE.joinpath(*parts[1:])
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


@cache
def loaded(path: Path) -> frozenset[Path | str]:
    """Files of bigseg, and other libraries, that are imported as soon as a module is, one step far."""
    found: set[Path | str] = set()
    for name in names_in(parsed(path), at_once=True):
        parts = name.split(".")
        if parts[0] != "bigseg":
            found.add(parts[0])
            continue
        found |= {file for n in range(1, len(parts) + 1) if (file := path_of(".".join(parts[:n]))) is not None}
    return frozenset(found - {path})


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room):
    folder = PACKAGE / room
    paths = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    for path in paths:
        for name in set(imported(path)) - {room}:
            assert DEPTH[name] > DEPTH[room], f"{path.relative_to(PACKAGE)} imports bigseg.{name}"


def test_modules_that_import_each_other_do_so_inside_functions():
    """Of two modules in a circle neither could be imported first."""
    graph = {}
    for path in PACKAGE.rglob("*.py"):
        own = {parent / "__init__.py" for parent in path.parents}  # begun before the module itself
        graph[path] = {found for found in loaded(path) if isinstance(found, Path)} - own
    TopologicalSorter(graph).prepare()


def test_kernels_know_nothing_of_the_rest():
    for path in (PACKAGE / "kernels").rglob("*.py"):
        assert set(imported(path)) <= {"kernels", "geometry"}, path.name
        others = {name.partition(".")[0] for name in names_in(parsed(path))}
        assert others - {"bigseg"} <= OF_ARRAYS | sys.stdlib_module_names, path.name


def test_planning_imports_no_library_of_arrays():
    """What the rules import, Snakemake imports in every job; what is needed now and then is imported by functions."""
    rules = (CHECKOUT / "workflow" / "rules" / "common.smk").read_text(encoding="utf-8")
    waiting = {path_of(name) for name in re.findall(r"^from (bigseg[.\w]*) import", rules, re.MULTILINE)}
    seen: set[Path | str | None] = set()
    while waiting:
        seen |= waiting
        waiting = {found for path in waiting if isinstance(path, Path) for found in loaded(path)} - seen
    assert PACKAGE / "stages" / "segment.py" in seen
    assert {name for name in seen if isinstance(name, str)} & HEAVY == set()


def test_every_room_is_on_the_map():
    """The table of folders in CONTRIBUTING.md."""
    table = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Rules of the house")[0]
    for room in ROOMS:
        if not room.startswith("__"):
            assert re.search(rf"`(src/bigseg/)?{room}(/|\.py)`", table), room
