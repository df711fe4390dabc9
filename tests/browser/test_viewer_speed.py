"""What comes before the first image. How soon it comes, and how long a repaint takes, is for bench/viewer.py."""

from __future__ import annotations

import pytest
from viewer_page import Viewer

pytestmark = pytest.mark.browser

LOADED = """() => performance.getEntriesByType('resource').map((e) => [e.name, e.transferSize, e.responseEnd])"""
FIRST = """() => performance.getEntriesByName('isocenter-first-image')[0].startTime"""


def test_the_first_image_comes_with_little(viewer: Viewer) -> None:
    viewer.open("2.25.70001/2.25.70001.1/2.25.70001.1.6")
    first = viewer.page.evaluate(FIRST)
    before = [(name, size) for name, size, end in viewer.page.evaluate(LOADED) if end <= first]
    code = sum(size for name, size in before if "/dicomweb/" not in name)
    print(f"first image after {first:.0f} ms, {code} bytes of code in {len(before)} requests")
    assert code < 200_000
    assert not any("/studies.js" in name or "keywords.json" in name for name, _ in before)
