"""Sizes: files and functions a reader can hold in mind."""

from __future__ import annotations

import ast
import statistics

from source_tree import Module, all_modules, package_modules

MEDIAN_FILE = 200
LONG_FILE = 500
LONGEST_FILE = 800
LONGEST_FUNCTION = 80


def test_the_median_file_is_short() -> None:
    lengths = [module.lines for module in package_modules() if module.path.name != "__init__.py"]
    assert statistics.median(lengths) < MEDIAN_FILE


def test_a_long_file_says_why() -> None:
    silent = [
        f"{module.name}: {module.lines} lines"
        for module in all_modules()
        if module.lines > LONG_FILE and not says_why(module)
    ]
    assert silent == [], "a docstring line beginning 'Long because' is needed"


def says_why(module: Module) -> bool:
    return any(line.strip().startswith("Long because") for line in module.docstring.splitlines())


def test_no_file_is_very_long() -> None:
    assert [f"{module.name}: {module.lines}" for module in all_modules() if module.lines > LONGEST_FILE] == []


def test_functions_fit_a_screen() -> None:
    """A released migration is a frozen list of statements, which nobody has to hold in mind."""
    long = [
        f"{module.name}.{node.name}: {length} lines"
        for module in all_modules()
        if ".migrations.versions." not in module.name
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert long == []


def test_constructors_take_few_parameters() -> None:
    """More than eight says that a class does more than one thing; a frozen dataclass of values is no constructor."""
    many = [
        f"{module.name}:{node.lineno}"
        for module in package_modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef)
        and node.name == "__init__"
        and len(node.args.args) + len(node.args.kwonlyargs) - 1 > 8
    ]
    assert many == []
