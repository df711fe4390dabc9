"""Imports point down, in a circle never, and the protocol rooms touch no socket, clock or thread."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp
from source_tree import ROOT, Module, package_modules

PURE_ROOMS = ("isocenter.wire", "isocenter.ul", "isocenter.services")
NOT_IN_PURE_ROOMS = {
    "asyncio", "socket", "select", "selectors", "ssl", "threading", "multiprocessing", "concurrent", "subprocess",
    "time", "sqlite3", "sqlalchemy", "numpy", "pydicom", "anyio", "uvloop",
}  # fmt: skip


def test_imports_point_down() -> None:
    """The contracts of pyproject.toml, [tool.importlinter]."""
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_import_cycle() -> None:
    graph = grimp.build_graph("isocenter", exclude_type_checking_imports=True, cache_dir=None)
    edges = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    assert sorted(cycles(edges)) == []


def cycles(edges: dict[str, set[str]]) -> Iterator[tuple[str, ...]]:
    """Modules that import each other: what is left after taking away, again and again, all leaves and roots."""
    left = dict(edges)
    while True:
        used = set().union(*(left[module] & left.keys() for module in left)) if left else set()
        gone = [module for module in left if not left[module] & left.keys() or module not in used]
        if not gone:
            break
        for module in gone:
            del left[module]
    if left:
        yield tuple(sorted(left))


def test_the_cycle_search_finds_a_cycle() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}
    assert list(cycles(edges)) == [("b", "c")]


def test_protocol_rooms_are_pure() -> None:
    found = [
        f"{module.name}:{line} imports {name}"
        for module in package_modules()
        if module.name.startswith(PURE_ROOMS)
        for name, line in imported(module)
        if name.partition(".")[0] in NOT_IN_PURE_ROOMS
    ]
    assert found == []


def imported(module: Module) -> Iterator[tuple[str, int]]:
    """Names of absolute imports anywhere in the file, inside functions too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno


def test_importing_the_package_loads_nothing_heavy() -> None:
    """What makes `import isocenter` fast, asked without a stopwatch."""
    heavy = ("numpy", "pydicom", "sqlalchemy", "alembic", "imagecodecs", "starlette", "uvicorn", "typer", "rich")
    program = "import sys, isocenter; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "isocenter" in loaded
    assert [name for name in heavy if name in loaded] == []


def test_help_loads_no_array_or_database_library() -> None:
    program = "import sys, isocenter.cli.main; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert [name for name in ("numpy", "pydicom", "sqlalchemy", "imagecodecs", "uvicorn") if name in loaded] == []
