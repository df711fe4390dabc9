"""Take the pictures of the documentation: every page and tool of the viewer over the demo data, in Debian's Chromium.

    .venv/bin/python tools/take_pictures.py                  all of them, into docs/images
    .venv/bin/python tools/take_pictures.py --into /tmp list  those whose names begin with "list", to look at

Needs what the tests need. A picture is a function of SHOTS: it opens a page, does what a reader would do, and is called
like its file. Look at each one before you commit it. Those of volumes, OHIF and presentation states are not made here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright
from pydicom.dataset import Dataset

import isocenter
from isocenter.demo.objects import chest
from isocenter.iod.create import create

ROOT = Path(__file__).parents[1]
LAPTOP = {"width": 1366, "height": 768}
PHONE = {"width": 390, "height": 780}
COLOURS = 160  # more are not told apart in these pictures, and a clone is half as large

SETTINGS = """
[web]
open_scopes = "read,write,delete"

[jobs]
retry_first = 600
retry_longest = 600

[[peer]]
name = "reading-room"
aet = "READING"
host = "127.0.0.1"
port = {away}

[[peer]]
name = "teaching-files"
aet = "TEACHING"
host = "127.0.0.1"
port = {there}
"""


@dataclass
class Studio:
    """A page before the camera; `studies` are the Study Instance UIDs of the demo data by Patient ID."""

    page: Page
    address: str
    studies: dict[str, str]

    def list(self, query: str = "") -> None:
        self.page.goto(f"{self.address}/{query}")
        self.page.wait_for_selector("tbody tr")
        self.page.wait_for_selector(".studies-page[data-scopes]")

    def open(self, patient: str, *keys: str) -> None:
        self.page.goto(f"{self.address}/view/{self.studies[patient]}")
        self.shown()
        self.press(*keys)

    def shown(self) -> None:
        self.page.wait_for_function(
            "() => { const v = document.querySelector('.viewport'); return v && !v.classList.contains('is-empty') && "
            "!v.classList.contains('is-loading') && v.querySelector('.bottom-right').textContent !== '' }"
        )
        self.page.wait_for_load_state("networkidle")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.page.wait_for_timeout(60)

    def drag(self, *way: tuple[float, float]) -> None:
        """From place to place, in parts of the first cell's width and height."""
        box = self.page.locator(".viewport").first.bounding_box()
        assert box is not None
        for number, (x, y) in enumerate(way):
            self.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=6)
            if number == 0:
                self.page.mouse.down()
        self.page.mouse.up()
        self.page.wait_for_timeout(60)

    def click(self, *way: tuple[float, float]) -> None:
        for place in way:
            self.drag(place)


Shot = Callable[[Studio], None]
SHOTS: dict[str, tuple[Shot, dict[str, int]]] = {}


def shot(name: str, size: dict[str, int] = LAPTOP) -> Callable[[Shot], Shot]:
    def keep(take: Shot) -> Shot:
        SHOTS[name] = take, size
        return take

    return keep


@shot("study-list")
def _list(at: Studio) -> None:
    at.list()
    at.press("ArrowDown")


@shot("list-empty")
def _empty(at: Studio) -> None:
    at.list()
    at.page.fill("input[type=search]", "nobody of this name")
    at.page.wait_for_function("() => document.querySelectorAll('tbody tr .c-id').length === 0")


@shot("list-menu")
def _menu(at: Studio) -> None:
    at.list()
    at.press("ArrowDown", "m")
    at.page.wait_for_selector(".menu.floating")


@shot("list-send")
def _send(at: Studio) -> None:
    at.list()
    at.press("ArrowDown", "s")
    at.page.wait_for_selector(".choice >> nth=1")


@shot("list-queue")
def _queue(at: Studio) -> None:
    at.list()
    for choice, state in ((1, "done"), (0, "waiting")):
        at.press("ArrowDown", "s")
        at.page.click(f".choice >> nth={choice}")
        at.page.click("dialog.send footer .primary")
        at.page.wait_for_selector("dialog.send", state="detached")
        at.press("q")
        at.page.wait_for_selector(f".queue .state.is-{state}")
        if state == "done":
            at.press("Escape")
            at.page.wait_for_selector("dialog", state="detached")


@shot("list-delete")
def _delete(at: Studio) -> None:
    at.list()
    at.press("ArrowDown", "Delete")
    at.page.wait_for_selector("dialog.delete")
    at.page.click("dialog.delete .chip >> nth=1")


@shot("procedures")
def _procedures(at: Studio) -> None:
    schedule(at.address)
    at.page.goto(f"{at.address}/procedures")
    at.page.wait_for_selector("tbody tr")


@shot("display")
def _display(at: Studio) -> None:
    at.page.goto(f"{at.address}/display")
    at.page.wait_for_selector("canvas")
    at.page.get_by_role("button", name="Use these").click()
    at.page.wait_for_load_state("networkidle")


@shot("list-phone", PHONE)
def _phone(at: Studio) -> None:
    at.list()


@shot("viewer")
def _viewer(at: Studio) -> None:
    at.open("DEMO-0001", *["Shift+ArrowDown"] * 3)


@shot("viewer-windows")
def _windows(at: Studio) -> None:
    at.open("DEMO-0001", *["Shift+ArrowDown"] * 3, "2")
    at.page.get_by_role("button", name="Window", exact=True).click()


@shot("viewer-magnify")
def _magnify(at: Studio) -> None:
    at.open("DEMO-0001", *["Shift+ArrowDown"] * 2, "x")
    box = at.page.locator(".viewport").first.bounding_box()
    assert box is not None
    at.page.mouse.move(box["x"] + 0.42 * box["width"], box["y"] + 0.5 * box["height"])
    at.page.mouse.down()
    at.page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.48 * box["height"], steps=4)


@shot("viewer-measure")
def _measure(at: Studio) -> None:
    at.open("DEMO-0001", *["Shift+ArrowDown"] * 3, "m")
    at.drag((0.40, 0.28), (0.60, 0.28))
    at.press("e")
    at.drag((0.36, 0.45), (0.43, 0.58))
    at.press("g")
    at.click((0.50, 0.72), (0.56, 0.62), (0.63, 0.70))


@shot("viewer-header")
def _header(at: Studio) -> None:
    at.open("DEMO-0001", "d")


@shot("viewer-keys")
def _keys(at: Studio) -> None:
    at.open("DEMO-0001", "?")


@shot("viewer-cells")
def _cells(at: Studio) -> None:
    at.open("DEMO-0001", "l", "l", *["Shift+ArrowDown"] * 3)
    for number in (1, 2):
        at.press("Shift+ArrowRight")
        at.page.click(f".series-open >> nth={number}")
        at.press("Shift+ArrowDown", "Shift+ArrowDown")
    at.page.wait_for_timeout(500)


@shot("viewer-layers")
def _layers(at: Studio) -> None:
    at.open("DEMO-0001", *["Shift+ArrowDown"] * 3, "Shift+O")
    at.page.locator(".layer.is-head", has_text="Lungs").click()
    at.page.wait_for_selector("canvas.segment-cover")
    at.page.wait_for_timeout(500)


@shot("viewer-report")
def _report(at: Studio) -> None:
    at.page.goto(f"{at.address}/view/{at.studies['']}")
    at.page.wait_for_load_state("networkidle")


@shot("viewer-phone", PHONE)
def _viewer_phone(at: Studio) -> None:
    at.open("DEMO-0001", *["Shift+ArrowDown"] * 3)


@shot("viewer-ultrasound")
def _ultrasound(at: Studio) -> None:
    at.open("13US1")


@shot("viewer-ecg")
def _ecg(at: Studio) -> None:
    at.page.goto(f"{at.address}/view/{at.studies['642341']}")
    at.page.wait_for_selector(".hosted canvas, .waveform canvas, .viewport canvas")
    at.page.wait_for_load_state("networkidle")


@shot("viewer-korean")
def _korean(at: Studio) -> None:
    at.page.add_init_script("localStorage.setItem('isocenter-language', 'ko')")
    at.open("DEMO-0001", *["Shift+ArrowDown"] * 3)


@shot("viewer-missing")
def _missing(at: Studio) -> None:
    at.page.goto(f"{at.address}/view/1.2.826.0.1.3680043.8.498.1")
    at.page.wait_for_load_state("networkidle")


def more_objects() -> Iterator[Dataset]:
    """What the demo data lack: the chest from the front and from the side, and its lungs and bones as segments."""
    axial = list(chest())
    volume = np.stack([ds.pixel_array for ds in axial])
    first, spacing = axial[0], float(axial[0].PixelSpacing[0])
    x, y, z = (float(value) for value in first.ImagePositionPatient)
    top = z + float(first.SpacingBetweenSlices) * (len(axial) - 1)
    ways = [
        ("Coronal", volume[::-1, 40:-40:8, :].transpose(1, 0, 2), (1, 0, 0, 0, 0, -1), (x, y + 40 * spacing, top)),
        ("Sagittal", volume[::-1, :, 40:-40:8].transpose(2, 0, 1), (0, 1, 0, 0, 0, -1), (x + 40 * spacing, y, top)),
    ]
    for number, (name, pixels, orientation, position) in enumerate(ways, 2):
        made = create(
            np.ascontiguousarray(pixels),
            modality="CT",
            study=first,
            series_number=number,
            series_description=name,
            pixel_spacing=(float(first.SpacingBetweenSlices), spacing),
            slice_thickness=8 * spacing,
            spacing_between_slices=8 * spacing,
            image_orientation_patient=orientation,
            image_position_patient=position,
            frame_of_reference_uid=first.FrameOfReferenceUID,
            rescale=(1, -1024),
            window=(40, 400),
        )
        assert isinstance(made, list)
        yield from made
    yield segments(axial, volume.astype(int) - 1024)


def segments(images: list[Dataset], hounsfield: Any) -> Dataset:
    """Lungs and bones by their density."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    body = hounsfield > -300
    body &= np.roll(body, 4, 1) & np.roll(body, -4, 1)  # without the table
    inside = np.logical_and.reduce(
        [
            np.flip(np.logical_or.accumulate(np.flip(body, ax) if turned else body, ax), ax)
            if turned
            else np.logical_or.accumulate(body, ax)
            for ax in (1, 2)
            for turned in (False, True)
        ]
    )
    masks = np.stack([(hounsfield < -500) & inside, hounsfield > 300], -1)
    automatic = hd.AlgorithmIdentificationSequence("Threshold", codes.DCM.ArtificialIntelligence, "1")
    kinds = (("Lung", codes.SCT.Lung, (65.0, -20.0, -25.0)), ("Bone", codes.SCT.Bone, (85.0, 5.0, 55.0)))
    return hd.seg.Segmentation(
        images,
        masks,
        "BINARY",
        [
            hd.seg.SegmentDescription(
                number,
                name,
                codes.SCT.Organ,
                code,
                "AUTOMATIC",
                automatic,
                display_color=hd.color.CIELabColor(*colour),
            )
            for number, (name, code, colour) in enumerate(kinds, 1)
        ],
        series_instance_uid=hd.UID(),
        series_number=4,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="Isocenter",
        manufacturer_model_name="Pictures",
        software_versions="1",
        device_serial_number="1",
        series_description="Lungs and bones",
    )


@contextlib.contextmanager
def archive(folder: Path) -> Iterator[str]:
    """Address of a running archive with the demo data, two peers of which one is away, and nothing else."""
    sys.path.insert(0, str(ROOT / "tests"))
    import ours  # the tests' servers
    from peers import free_port

    ports = free_port(), free_port()
    with ours.receiver(folder / "received") as there:
        settings = folder / "isocenter.toml"
        settings.write_text(SETTINGS.format(there=there.port, away=free_port()))
        command = [Path(sys.executable).with_name("isocenter"), "serve", "--demo", "--data", str(folder / "data")]
        command += ["--config", str(settings), "--http", f"127.0.0.1:{ports[0]}", "--dimse", f"127.0.0.1:{ports[1]}"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert server.stdout is not None
            said = []
            for line in server.stdout:
                said.append(line)
                if line.startswith("demo data:"):
                    break
            else:
                sys.exit("".join(said))
            with isocenter.sync.connect(f"ISOCENTER@127.0.0.1:{ports[1]}") as pacs:
                for outcome in pacs.store(list(more_objects())):
                    if outcome.status:
                        sys.exit(str(outcome))
            yield f"http://127.0.0.1:{ports[0]}"
        finally:
            server.terminate()
            server.wait(30)


def schedule(address: str) -> None:
    """A morning's work for two modalities, and a work item."""
    today = time.strftime("%Y%m%d")
    names = ("Kim^Minji=金^珉志=김^민지", "Yamada^Tarou=山田^太郎=やまだ^たろう", "Doe^John")
    for number, (name, modality, what) in enumerate(
        zip(names, ("CT", "MR", "CT"), ("Chest with contrast", "Brain", "Abdomen"), strict=True), 1
    ):
        step = Dataset()
        step.Modality, step.ScheduledStationAETitle = modality, f"{modality}1"
        step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = today, f"{8 + number:02}30"
        step.ScheduledProcedureStepDescription, step.ScheduledProcedureStepID = what, f"STEP-{number}"
        ds = Dataset()
        ds.SpecificCharacterSet, ds.PatientName, ds.PatientID = "ISO_IR 192", name, f"P-{number:04}"
        ds.PatientBirthDate, ds.PatientSex, ds.StudyInstanceUID = "19800101", "O", f"2.25.4711{number}"
        ds.AccessionNumber, ds.RequestedProcedureID, ds.RequestedProcedureDescription = (
            f"A-{number}",
            f"R-{number}",
            what,
        )
        ds.ReferringPhysicianName = ""
        ds.ScheduledProcedureStepSequence = [step]
        body = json.dumps(ds.to_json_dict()).encode()
        request = urllib.request.Request(
            f"{address}/dicomweb/modality-scheduled-procedure-steps",
            body,
            {"Content-Type": "application/dicom+json"},
        )
        try:
            urllib.request.urlopen(request).close()
        except urllib.error.HTTPError as error:
            sys.exit(error.read().decode())


def studies_of(address: str) -> dict[str, str]:
    with urllib.request.urlopen(f"{address}/dicomweb/studies?limit=1000") as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return {(study["00100020"].get("Value") or [""])[0]: study["0020000D"]["Value"][0] for study in found}


def save(page: Page, path: Path) -> None:
    """As PNG of few colours: these pages are dark and grey, and pictures stay in a repository for ever."""
    from io import BytesIO

    from PIL import Image

    picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


def take(browser: Browser, address: str, names: list[str], into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    studies = studies_of(address)
    for name, (action, size) in SHOTS.items():
        if names and not name.startswith(tuple(names)):
            continue
        context = browser.new_context(viewport=size, locale="en-GB", has_touch=size is PHONE)  # type: ignore[arg-type]
        page = context.new_page()
        page.on("pageerror", lambda error, name=name: sys.exit(f"{name}: {error}"))
        try:
            action(Studio(page, address, studies))
            page.wait_for_timeout(200)
            save(page, into / f"{name}.png")
            print(name)
        finally:
            context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="beginnings of names; all without")
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "images")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, archive(Path(folder)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        take(browser, address, chosen.names, chosen.into)
        browser.close()


if __name__ == "__main__":
    main()
