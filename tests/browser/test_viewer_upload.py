"""Dropping ZIP files on the study list: opened in the browser, sent a few at a time, and said what became of each."""

from __future__ import annotations

import base64
import struct
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
import viewer_objects as objects
from viewer_page import Viewer, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

DROP = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, data] of Object.entries(files)) {
    transfer.items.add(new File([Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0))], name));
  }
  const drop = (name) => dispatchEvent(new DragEvent(name, { dataTransfer: transfer, cancelable: true }));
  ["dragenter", "dragover", "drop"].forEach(drop);
}"""


def drop(viewer: Viewer, **files: bytes) -> str:
    """What the card says when the upload of these is over."""
    viewer.page.evaluate("() => { document.querySelector('.upload-card').hidden = true; }")
    viewer.page.evaluate(DROP, {name: base64.b64encode(data).decode() for name, data in files.items()})
    viewer.page.wait_for_selector(".upload-card[aria-busy=false]")
    card: str = viewer.page.inner_text(".upload-card")
    return card


def zipped(**how: bool) -> bytes:
    """Slices of the stack in folders, stored and deflated, beside what media have and what is no DICOM at all; with
    `large`, sizes stand where those over 4 GB do."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.mkdir("DICOM")
        for number, ds in enumerate(objects.stack()[:4]):
            entry = zipfile.ZipInfo(f"DICOM/사진 {number}")
            entry.compress_type = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
            with archive.open(entry, "w", force_zip64=how.get("large", False)) as out:
                out.write(objects.encoded(ds))
        archive.writestr("DICOMDIR", b"a list of the medium")
        archive.writestr("__MACOSX/DICOM/._0", b"of a file system")
        archive.writestr("DICOM/read me.txt", b"not DICOM at all", zipfile.ZIP_DEFLATED)
        archive.comment = b"a comment that hides the end of the file"
    return file.getvalue()


def zipped_text() -> bytes:
    """Two files that are no DICOM."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("first", "second"):
            archive.writestr(name, " ".join(str(number**3) for number in range(300)))
    return file.getvalue()


def test_a_zip_file_is_opened_and_what_became_of_it_is_told(chromium: Browser, empty_address: str) -> None:
    # A request of nothing but what is no DICOM is answered by 4xx, which Chromium tells on the console.
    with watched(chromium, empty_address, tolerate="status of 4") as viewer:
        viewer.page.goto(f"{empty_address}/")
        viewer.page.wait_for_selector("text=The archive is empty")
        told = drop(viewer, scans=zipped())
        assert "Upload finished" in told
        assert "4 objects stored · 1 refused" in told
        assert "1 × not a DICOM file" in told
        viewer.page.wait_for_selector("tbody tr[data-study]")
        assert ["STACK"] == viewer.rows()
        again = drop(viewer, **{"scans.zip": zipped(large=True), "more.dcm": objects.encoded(objects.stack()[4])})
        assert "1 object stored · 4 already there · 1 refused" in again
        cut = drop(viewer, **{"scans.zip": zipped()[:-200]})
        assert "Nothing was stored" in cut
        assert "1 × the ZIP file is cut off" in cut
        damaged = bytearray(zipped())
        at = damaged.index("DICOM/사진 1".encode()) + 60
        damaged[at : at + 40] = bytes(40)
        assert "3 already there · 2 refused" in drop(viewer, scans=bytes(damaged))
        # Where the rest is refused as a whole, what could not be opened counts once.
        nothing = bytearray(zipped_text())
        nothing[nothing.index(b"PK\1\2") + 8] |= 1  # the first is encrypted
        viewer.page.route("**/dicomweb/studies", lambda route: route.fulfill(status=403, json={"error": "not allowed"}))
        told = drop(viewer, scans=bytes(nothing))
        assert "2 refused" in told
        assert "Nothing was stored" in told


def entries(stored: bool, *images: bytes) -> bytearray:
    """Images in a ZIP file that was written without going back: lengths and CRC-32 stand behind each."""

    class Line(BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    file = Line()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for number, data in enumerate(images):
            archive.writestr(f"image{number}", data)
    return bytearray(file.getvalue())


def changed(data: bytearray, at: int, field: str, add: int) -> bytes:
    """With a number of the ZIP file counted up."""
    value = struct.unpack_from(field, data, at)[0] + add
    struct.pack_into(field, data, at, value)
    return bytes(data)


DAMAGED = "1 × the ZIP file is damaged"


@pytest.mark.parametrize("stored", [True, False])
def test_an_image_that_was_damaged_in_its_zip_file_is_not_stored(
    chromium: Browser, empty_address: str, stored: bool
) -> None:
    images = [objects.encoded(ds) for ds in objects.stack()[:2]]
    with watched(chromium, empty_address) as viewer:
        viewer.page.goto(f"{empty_address}/")
        viewer.page.wait_for_selector("text=The archive is empty")
        whole = entries(stored, *images)
        assert whole[6] & 8, "it has data descriptors"
        told = drop(viewer, scans=bytes(whole))
        assert "2 objects stored" in told
        first = whole.index(b"PK\1\2")  # of the directory
        second = whole.index(b"PK\1\2", first + 4)
        end = whole.rindex(b"PK\5\6")
        for at, field, add in ((16, "<I", 1), (20, "<I", -2), (24, "<I", -2), (24, "<I", 2)):  # CRC-32, both lengths
            told = drop(viewer, scans=changed(bytearray(whole), first + at, field, add))
            assert DAMAGED in told, (at, add)
            assert "1 already there · 1 refused" in told
        if stored:  # one grey value that nobody else would miss
            pixel = bytearray(whole)
            pixel[whole.index(images[0][-64:]) + 10] ^= 1
            assert DAMAGED in drop(viewer, scans=bytes(pixel))
        told = drop(viewer, scans=changed(bytearray(whole), second, "<I", 1))  # no entry: those after it are unknown
        assert DAMAGED in told
        assert "already there" not in told
        told = drop(viewer, scans=changed(bytearray(whole), end + 4, "<H", 1))
        assert "1 × one part of a ZIP file in several parts" in told


# A request that goes as far as the test says
SLOW = """() => {
  window.XMLHttpRequest = class {
    upload = {};
    open() {}
    setRequestHeader() {}
    getResponseHeader() { return null; }
    send(body) { window.request = this; window.whole = body.size; }
    go(loaded) { this.upload.onprogress({ loaded }); }
  };
}"""


def test_how_much_of_each_file_has_gone_is_told(chromium: Browser, empty_address: str) -> None:
    with watched(chromium, empty_address) as viewer:
        viewer.page.goto(f"{empty_address}/")
        viewer.page.wait_for_selector("text=The archive is empty")
        viewer.page.evaluate(SLOW)
        files = {"one.dcm": bytes(1000), "two.dcm": bytes(200_000), "three.dcm": bytes(500)}
        viewer.page.evaluate(DROP, {name: base64.b64encode(data).decode() for name, data in files.items()})
        viewer.page.wait_for_function("() => window.request")
        close = viewer.page.locator(".upload-card button")
        close.focus()
        # Around each file is a head and a line's end, which are no part of it; at the end stands the boundary alone.
        around = viewer.page.evaluate("() => window.whole") - sum(map(len, files.values()))
        boundary = (around - 3 * (len("--\r\nContent-Type: application/dicom\r\n\r\n") + 2) - len("----\r\n")) // 4
        head = boundary + len("--\r\nContent-Type: application/dicom\r\n\r\n")
        said = []
        for gone in (head + 500, (head + 1002) + head + 50_000, (head + 1002) + (head + 200_002) + head + 100):
            viewer.page.evaluate("(gone) => window.request.go(gone)", gone)
            said.append([viewer.page.inner_text(f".upload-card .upload-{part}") for part in ("name", "share", "line")])
        assert [["one.dcm", "50 %"], ["two.dcm", "25 %"], ["three.dcm", "20 %"]] == [one[:2] for one in said]
        assert [f"file {at} of 3" for at in (1, 2, 3)] == [line.partition(" · ")[2] for *_, line in said]
        viewer.page.evaluate("() => window.request.go(window.whole)")
        assert "being stored" == viewer.page.inner_text(".upload-card .upload-share")
        assert viewer.page.evaluate("() => document.activeElement.getAttribute('aria-label') === 'Cancel the upload'")
