"""The source tree as the architecture tests see it: files git knows or would add, and their syntax trees."""

from __future__ import annotations

import ast
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "isocenter"


@dataclass(frozen=True)
class Module:
    """One Python file. `name` is dotted for the package ("isocenter.wire.scan"), else the path from the root."""

    path: Path
    name: str
    lines: int
    tree: ast.Module

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""


def _parse(path: Path) -> Module:
    text = path.read_text("utf-8")
    if path.is_relative_to(PACKAGE):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    else:
        name = str(path.relative_to(ROOT))
    return Module(path, name, text.count("\n"), ast.parse(text, str(path)))


@cache
def package_modules() -> tuple[Module, ...]:
    """Every module of src/isocenter."""
    return tuple(_parse(path) for path in sorted(PACKAGE.rglob("*.py")))


@cache
def all_modules() -> tuple[Module, ...]:
    """Every Python file of the repository: package, tests, bench, fuzz and tools."""
    folders = [ROOT / name for name in ("tests", "bench", "fuzz", "tools")]
    rest = tuple(_parse(path) for folder in folders for path in sorted(folder.rglob("*.py")))
    return package_modules() + rest


@cache
def repository_files() -> tuple[Path, ...]:
    """Files git tracks, and new ones it does not ignore; every file below the root in a tree without git."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        hidden = {".venv", ".git", ".cache", "__pycache__"}
        return tuple(p for p in sorted(ROOT.rglob("*")) if p.is_file() and not hidden & set(p.relative_to(ROOT).parts))
    return tuple(path for name in sorted(set(filter(None, listed.split("\0")))) if (path := ROOT / name).is_file())
