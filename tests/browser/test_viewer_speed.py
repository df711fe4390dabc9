"""What comes before the first image, and repaint. The limit is far above what was measured, and three of four times may
be above it, so that a busy machine passes; how soon the first image comes is for bench/viewer.py."""

from __future__ import annotations

import statistics

import pydicom
import pytest
import viewer_objects as objects
from viewer_page import Viewer

pytestmark = pytest.mark.browser

LOADED = """() => performance.getEntriesByType('resource').map((e) => [e.name, e.transferSize, e.responseEnd])"""
FIRST = """() => performance.getEntriesByName('isocenter-first-image')[0].startTime"""
REPAINTS = """async () => {
  const times = [];
  for (let i = 0; i < 60; i += 1) {
    document.dispatchEvent(new KeyboardEvent('keydown', { key: String(1 + (i % 2)), bubbles: true }));
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    times.push(performance.getEntriesByName('isocenter-paint')[0].duration);
  }
  return times;
}"""


def test_the_first_image_comes_with_little(viewer: Viewer) -> None:
    viewer.open("2.25.70001/2.25.70001.1/2.25.70001.1.6")
    first = viewer.page.evaluate(FIRST)
    before = [(name, size) for name, size, end in viewer.page.evaluate(LOADED) if end <= first]
    code = sum(size for name, size in before if "/dicomweb/" not in name)
    print(f"first image after {first:.0f} ms, {code} bytes of code in {len(before)} requests")
    assert code < 200_000
    assert not any("/studies.js" in name or "keywords.json" in name for name, _ in before)


def test_repaint_of_512_by_512(viewer: Viewer) -> None:
    ds = pydicom.dcmread(objects.FOLDER / "693_J2KI.dcm", stop_before_pixels=True)
    viewer.open(f"{ds.StudyInstanceUID}/{ds.SeriesInstanceUID}/{ds.SOPInstanceUID}")
    assert "512 × 512" in viewer.text("bottom-right")
    times = viewer.page.evaluate(REPAINTS)
    print(f"repaint: median {statistics.median(times):.2f} ms, longest {max(times):.2f} ms")
    assert statistics.quantiles(times)[0] < 8
