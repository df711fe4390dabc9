"""The viewer paints what the server renders, pixel by pixel: all kinds of pixels, made and real.

The viewport of the viewer is used outside of its page, so that an image is a matter of milliseconds.
"""

from __future__ import annotations

import base64
import hashlib
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
import rendered_objects
import viewer_objects as objects
from PIL import Image as Pillow
from viewer_page import Viewer, served, watched

import ours
import state_objects
from isocenter.pixels.render import render

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

MADE = rendered_objects.every()

# The same slice: unsigned by its header and signed by its codestream, and signed by both
SIGNED = [f"pylibjpeg-data/ds/JPEG2000Lossless/TOSHIBA_J2K_{name}.dcm" for name in ("SIZ1_PixRep0", "SIZ0_PixRep1")]
# Real files by their place in the corpus: enhanced CT and MR, palettes, multi-frame ultrasound, JPEG of 12 bits, YBR,
# dose of 32 bits, overlays within pixels
REAL = [
    *SIGNED,
    "pydicom-data/emri_small_jpeg_2k_lossless.dcm",
    "pydicom-data/emri_small_jpeg_ls_lossless.dcm",
    "cornerstoneWADO/CT0012.fragmented_no_bot_jpeg_baseline.51.dcm",
    "dicomParser/testImages/encapsulated/multi-frame/CT0012.not_fragmented_bot_jpeg_ls.80.dcm",
    "pydicom-data/OBXXXX1A_rle_2frame.dcm",
    "pydicom/test_files/examples_palette.dcm",
    "pydicom/test_files/examples_ybr_color.dcm",
    "dicomParser/testImages/encapsulated/multi-frame/IM00001.fragmented_no_bot_jpeg_baseline.50.dcm",
    "peer-generated/dcmtk/CT_small_jpeg12ext.dcm",
    "dicom-test-files/WG04/J2KI/US1_J2KI",
    "pydicom/test_files/GDCMJ2K_TextGBR.dcm",
    "pydicom/test_files/dicomdirtests/77654033/CR2/6247",
    "pydicom/test_files/rtdose.dcm",
    "pydicom-data/MR-SIEMENS-DICOM-WithOverlays.dcm",
]

SETUP = """async () => {
  const [{ Image }, { FrameLoader }, { Viewport }, { DicomWeb }] = await Promise.all(
    ['image', 'loader', 'viewport', 'dicomweb'].map((name) => import(`/js/${name}.js`)));
  const client = new DicomWeb('/dicomweb');
  const loader = new FrameLoader(client);
  let last;
  globalThis.painted = async ([study, series, instance, frame]) => {
    const metadata = await client.seriesMetadata(study, series);
    const image = new Image(metadata.find((ds) => ds['00080018'].Value[0] === instance));
    const viewport = new Viewport(loader);
    const [width, height] = [`${image.columns}px`, `${image.rows}px`];
    Object.assign(viewport.element.style, { position: 'fixed', top: '0', left: '0', width, height });
    last?.remove();
    document.body.append((last = viewport.element));
    viewport.setStack({ study, series, images: [image], entries: [{ image, frame }], label: '' }, 0);
    const message = viewport.element.querySelector('.viewport-message');
    while (!viewport.painted && message.hidden) await new Promise(requestAnimationFrame);
    if (!viewport.painted) throw new Error(message.textContent);
    // Painting was asked for before this: it is done in the next frame.
    await new Promise(requestAnimationFrame);
    // The picture before it is laid on the screen, where pixels that are not square are stretched
    const { picture } = viewport;
    const canvas = Object.assign(document.createElement('canvas'), { width: picture.width, height: picture.height });
    const context = canvas.getContext('2d');
    context.drawImage(picture, 0, 0);
    return { image, canvas, context, viewport };
  };
}"""
# Of pictures too large for a PNG: the digest of their greys
DIGEST = """async (which) => {
  const { image, canvas, context } = await painted(which);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const greys = new Uint8Array(data.length / 4);
  for (let i = 0; i < greys.length; i += 1) greys[i] = data[4 * i];
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', greys));
  return [image.kind, canvas.width, canvas.height, Array.from(digest, (v) => v.toString(16).padStart(2, '0')).join('')];
}"""
VALUES = """async (which) => {
  const { image, viewport } = await painted(which);
  const values = [];
  for (let row = 0; row < image.rows; row += 7) {
    for (let column = 0; column < image.columns; column += 7) values.push(viewport.values.at(column, row));
  }
  return { signed: image.signed, values: values.filter((v) => v !== null) };
}"""
PNG = """async (which) => {
  const { image, canvas } = await painted(which);
  return [image.kind, canvas.toDataURL('image/png')];
}"""


def real_file(corpus: Path, name: str) -> bytes:
    data = (corpus / name).read_bytes()
    if name == SIGNED[1]:
        # Both have one SOP Instance UID: this one gets its own, as long as the other's.
        uid = str(pydicom.dcmread(corpus / name, stop_before_pixels=True).SOPInstanceUID).encode()
        data = data.replace(uid, uid[:-1] + b"9")
    return data


def header(corpus: Path, name: str) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on odd files
        return pydicom.dcmread(BytesIO(real_file(corpus, name)), stop_before_pixels=True)


@contextmanager
def bench(chromium: Browser, folder: Path, files: list[bytes]) -> Iterator[Viewer]:
    """The list of an archive of `files`, with a viewport of its own over it."""
    with ours.background(lambda: served(folder, files)) as address, watched(chromium, address) as viewer:
        viewer.list()
        viewer.page.evaluate(SETUP)
        yield viewer


@pytest.fixture(scope="module")
def made(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    with bench(chromium, tmp_path_factory.mktemp("made"), [objects.encoded(ds) for ds in MADE.values()]) as viewer:
        yield viewer


@pytest.fixture(scope="module")
def real(chromium: Browser, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    files = [real_file(corpus, name) for name in REAL]
    with bench(chromium, tmp_path_factory.mktemp("real"), files) as viewer:
        yield viewer


def rendered(address: str, which: list[Any]) -> np.ndarray[Any, Any]:
    study, series, instance, frame = which
    path = f"/dicomweb/studies/{study}/series/{series}/instances/{instance}/frames/{frame}/rendered"
    request = urllib.request.Request(address + path, headers={"Accept": "image/png"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return np.array(Pillow.open(BytesIO(response.read())).convert("RGB"))


def same(viewer: Viewer, ds: pydicom.Dataset) -> list[str]:
    """Who makes the greys of the frames: the viewer ("grey", "palette", "rgb") or the server ("rendered")."""
    kinds, greys = [], 0
    for frame in range(1, int(ds.get("NumberOfFrames", 1) or 1) + 1)[:3]:
        which = [str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID), frame]
        kind, url = viewer.page.evaluate(PNG, which)
        # As when its study is opened once more: the frame is here still, and the metadata are new.
        assert [kind, url] == viewer.page.evaluate(PNG, which)
        shown = np.array(Pillow.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")).astype(int)
        expected = rendered(viewer.address, which)
        assert expected.shape == shown.shape
        difference = np.abs(expected - shown)
        assert (0, 0) == (difference.max(), np.count_nonzero(difference)), f"frame {frame}"
        kinds.append(kind)
        greys += len(np.unique(expected))
    assert greys > len(kinds)
    return kinds


# Which layouts and presentations the viewer leaves to the server
SERVERS = {
    "high bit 15 of 12 bits", "one bit", "32 bits signed", "floating point", "Presentation LUT of entries",
    "greys of which some are colours", "segmented palette", "RGB by plane", "RGB of 16 bits", "YBR_FULL",
    "YBR_FULL_422", "an overlay among the bits of pixels", "an overlay that is a shutter",
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_every_kind_of_pixels(made: Viewer, name: str) -> None:
    kinds = set(same(made, MADE[name]))
    assert ({"rendered"} if name in SERVERS else kinds - {"rendered"}) == kinds, kinds


@pytest.mark.parametrize("name", REAL)
def test_real_images(real: Viewer, corpus: Path, name: str) -> None:
    same(real, header(corpus, name))


def test_a_signed_codestream_under_an_unsigned_header_is_signed(real: Viewer, corpus: Path) -> None:
    """The server says so with the frame; values, too, are what the other file says, and not 65,536 more."""
    said = []
    for name in SIGNED:
        ds = header(corpus, name)
        which = [str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID), 1]
        said.append(real.page.evaluate(VALUES, which))
    assert said[0] == said[1]
    assert min(said[0]["values"]) < -1000
    assert said[0]["signed"]


def test_a_radiograph_of_15_megapixels(chromium: Browser, tmp_path: Path) -> None:
    ds = rendered_objects.radiograph()
    expected = render(state_objects.loaded(ds))
    with bench(chromium, tmp_path, [objects.encoded(ds)]) as viewer:
        which = [str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID), 1]
        kind, columns, rows, digest = viewer.page.evaluate(DIGEST, which)
    assert ("grey", 3520, 4280) == (kind, columns, rows)
    assert hashlib.sha256(expected.tobytes()).hexdigest() == digest
