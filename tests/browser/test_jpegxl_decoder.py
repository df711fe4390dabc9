"""JPEG XL beside a decoder that shares nothing with ours: Chromium reads it with jxl-rs, which is not libjxl.

Of what a canvas gives back, 8 bits: deeper samples would go through its colour management.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, Page

from isocenter.pixels.codecs import decode, encode, kept
from isocenter.pixels.encoders import Loss
from isocenter.pixels.layout import Layout

pytestmark = pytest.mark.browser

LOSSLESS, RECOMPRESSED, LOSSY = (f"1.2.840.10008.1.2.4.{number}" for number in (110, 111, 112))
BASELINE = "1.2.840.10008.1.2.4.50"

# Red, green, blue and opacity of each pixel, or why the browser does not read it
PIXELS = """async stream => {
  const blob = await (await fetch(`data:image/jxl;base64,${stream}`)).blob();
  let image;
  try { image = await createImageBitmap(blob, { colorSpaceConversion: "none" }); }
  catch (error) { return String(error); }
  const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
  canvas.drawImage(image, 0, 0);
  return [image.height, image.width, [...canvas.getImageData(0, 0, image.width, image.height).data]];
}"""


@pytest.fixture(scope="module")
def page(chromium: Browser) -> Iterator[Page]:
    with chromium.new_context() as context:
        yield context.new_page()


def shown(page: Page, stream: bytes) -> np.ndarray:
    """RGB as the browser has it."""
    answer = page.evaluate(PIXELS, base64.b64encode(stream).decode())
    if isinstance(answer, str):
        pytest.skip(f"this Chromium reads no JPEG XL: {answer}")
    rows, columns, samples = answer
    return np.array(samples, np.uint8).reshape(rows, columns, 4)[..., :3]


def picture(rows: int, columns: int, samples: int) -> tuple[np.ndarray, Layout]:
    """Gradients, an edge and some noise."""
    y, x, channel = np.mgrid[0:rows, 0:columns, 0:samples]
    noise = np.random.default_rng(rows).integers(0, 5, y.shape)
    values = (3 * x + (1 + channel) * y) % 200 + 40 * (x > columns // 2) + noise
    pixels = values.astype(np.uint8)
    layout = Layout(rows, columns, samples, photometric="RGB" if samples == 3 else "MONOCHROME2")
    return pixels if samples == 3 else pixels[..., 0], layout


def colours(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (40, 60), (257, 300)])
def test_lossless_is_exactly_what_went_in(page: Page, rows: int, columns: int, samples: int) -> None:
    pixels, layout = picture(rows, columns, samples)
    stream = encode(LOSSLESS, pixels, layout)
    assert (decode(LOSSLESS, stream, layout).pixels == pixels).all()
    assert (shown(page, stream) == colours(pixels)).all()


@pytest.mark.parametrize("quality", [60, 95])
@pytest.mark.parametrize("samples", [1, 3])
def test_what_is_lossy_differs_by_roundings(page: Page, samples: int, quality: int) -> None:
    pixels, layout = picture(257, 300, samples)
    stream = encode(LOSSY, pixels, layout, Loss(quality=quality))
    ours = colours(decode(LOSSY, stream, layout).pixels).astype(int)
    assert np.abs(ours - pixels.reshape(*pixels.shape[:2], -1)).max() > 2  # there is a loss to be agreed on
    assert np.abs(ours - shown(page, stream)).max() <= 1


@pytest.mark.parametrize("samples", [1, 3])
def test_a_recompressed_jpeg_is_the_same_picture(page: Page, samples: int) -> None:
    pixels, layout = picture(257, 300, samples)
    stream = kept(RECOMPRESSED, BASELINE, encode(BASELINE, pixels, layout, Loss(quality=90)))
    ours = colours(decode(RECOMPRESSED, stream, layout).pixels).astype(int)
    assert np.abs(ours - shown(page, stream)).max() <= 1
