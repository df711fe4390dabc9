"""The pages that are made from the running objects are those that would be made now."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from isocenter.cli import exit_codes
from isocenter.cli.main import COMMANDS
from isocenter.settings import rows

TOOL = Path(__file__).resolve().parents[2] / "tools" / "generate_docs.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_page_is_stale(tool: ModuleType) -> None:
    assert tool.stale() == [], "run: python tools/generate_docs.py"


def test_a_changed_page_would_be_noticed(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "docs" / "reference"
    folder.mkdir(parents=True)
    monkeypatch.setattr(tool, "FOLDER", folder)
    assert tool.stale() == list(tool.PAGES)
    assert {"settings.md", "cli.md", "exit-codes.md", "interop.md", "codecs.md", "dicomweb.md", "README.md"} <= set(
        tool.PAGES
    )
    for name, page in tool.PAGES.items():
        tool.place(name).write_text(page(), "utf-8")
    assert tool.stale() == []
    (folder / "cli.md").write_text("something else", "utf-8")
    assert tool.stale() == ["cli.md"]


def test_nothing_is_left_out(tool: ModuleType) -> None:
    assert [row.env for row in rows() if f"`{row.env}`" not in tool.settings_page()] == []
    assert [name for name in COMMANDS if f"\n## isocenter {name}\n" not in tool.cli_page()] == []
    assert [code for code in exit_codes.MEANINGS if f"\n| {code} | " not in tool.exit_codes_page()] == []
