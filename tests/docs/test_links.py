"""Links inside the documentation lead somewhere, every page is reached, and every setting has its place."""

from __future__ import annotations

import re
from pathlib import Path

from pages import ROOT, pages

from isocenter import settings

_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages()
        for target in links(page)
        if not target.startswith(("http://", "https://", "mailto:")) and not leads_somewhere(page, target)
    ]
    assert broken == []


def links(page: Path) -> list[str]:
    return [match["target"] for match in _LINK.finditer(_CODE.sub("", page.read_text("utf-8")))]


def leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists():
        return False
    return not anchor or file.suffix != ".md" or anchor in anchors(file)


def anchors(page: Path) -> set[str]:
    """Anchors as GitHub makes them of headings."""
    headings = re.findall(r"^#+ +(.+?)\s*$", page.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_setting_is_documented() -> None:
    """Name, environment variable and default of each row of the settings table."""
    page = (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8")
    missing = [row.env for row in settings.rows() if row.env not in page or row.text not in page]
    assert missing == []


def test_every_page_can_be_reached() -> None:
    """From README.md by following links, so that nothing is written for nobody."""
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        waiting += [(page.parent / target.partition("#")[0]).resolve() for target in links(page) if "://" not in target]
    assert [str(page.relative_to(ROOT)) for page in pages() if page not in reached] == []
