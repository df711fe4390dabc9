"""Habits a linter does not know: swallowed errors, undocumented names, traces of somebody's machine."""

from __future__ import annotations

import ast
import importlib
import inspect
import re

from source_tree import ROOT, all_modules, package_modules, repository_files

import isocenter

# Joined at run time, so that this file does not find itself
MACHINE_TRACES = [
    re.compile(pattern)
    for pattern in (
        r"(?<![\w.])/" + r"(?:root|home/\w+|work)/",
        r"(?:pypi|pythonhosted)" + r"\.org",
        r"registry\." + r"(?:npmjs|yarnpkg)",
        r"(?:deb|security)\." + r"debian\.org",
        r"\." + r"library/",
        r"shared/" + r"(?:hooks|DESIGN|standard)",
        r"issues " + r"show",
    )
]
BINARY = {".png", ".jpg", ".dcm", ".ico", ".woff2", ".zip", ".gz", ".icc"}


def test_no_error_is_swallowed() -> None:
    """`except Exception: pass` (and bare, and BaseException, and `...`) hides what an operator must see."""
    found = [
        f"{module.name}:{handler.lineno}"
        for module in all_modules()
        for handler in ast.walk(module.tree)
        if isinstance(handler, ast.ExceptHandler) and is_broad(handler.type) and does_nothing(handler.body)
    ]
    assert found == []


def is_broad(kind: ast.expr | None) -> bool:
    if isinstance(kind, ast.Tuple):
        return any(is_broad(one) for one in kind.elts)
    return kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))


def does_nothing(body: list[ast.stmt]) -> bool:
    return all(
        isinstance(statement, ast.Pass | ast.Continue)
        or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for statement in body
    )


def test_every_module_says_what_it_is() -> None:
    """An __init__.py without content may be without a docstring."""
    assert [module.name for module in all_modules() if module.tree.body and not module.docstring] == []


def test_public_classes_are_documented() -> None:
    """Functions whose name and signature say it all may go without: a docstring that repeats them is noise."""
    silent = [
        f"{module.name}.{node.name}"
        for module in package_modules()
        for node in module.tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and ast.get_docstring(node) is None
    ]
    assert silent == []


def test_the_names_we_publish_are_documented() -> None:
    """All of `isocenter.__all__`, and the public methods of the classes among them."""
    things = {name: getattr(isocenter, name) for name in isocenter.__all__ if name != "__version__"}
    silent = [name for name, thing in things.items() if not (thing.__doc__ or "").strip()]
    silent += [
        f"{name}.{method}"
        for name, thing in things.items()
        if inspect.isclass(thing)
        for method, function in vars(thing).items()
        if not method.startswith("_") and inspect.isroutine(function) and not (inspect.getdoc(function) or "").strip()
    ]
    assert silent == []


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    drawers = ("utils.py", "util.py", "helpers.py", "common.py", "misc.py")
    assert [module.name for module in all_modules() if module.path.name in drawers] == []


def test_tests_have_names_of_their_own() -> None:
    """Without __init__.py two test files of the same name would hide each other in a traceback."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_no_trace_of_a_machine() -> None:
    found = []
    for path in repository_files():
        if path.suffix in BINARY:
            continue
        text = path.read_text("utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {m.group()}" for trace in MACHINE_TRACES for m in trace.finditer(text)]
    assert found == []


def test_every_module_can_be_imported() -> None:
    """But migrations/env.py, which is Alembic's to run."""
    for module in package_modules():
        if not module.name.endswith(("__main__", "migrations.env")):
            importlib.import_module(module.name)
