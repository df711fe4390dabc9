"""Presentation states and other people's software: dcmp2pgm's pictures, dcmpsmk's and highdicom's states, dciodvfy.

dcmp2pgm (3.6.7) applies greys, BITMAP shutters, rotation and flip. It neither cuts the displayed area out nor draws
graphics and overlays, applies no other shutters and takes every VOI LUT Function for LINEAR. For the displayed area
stands dcmj2pnm, which cuts, turns and flips by options.
"""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

import isocenter
import peers
from isocenter.errors import IsocenterError
from isocenter.iod.presentation_state import Graphic, Label, Layer, Mask, ShutterShape, presentation_state
from isocenter.pixels.image import Image
from isocenter.pixels.render import render
from isocenter.pixels.state import PresentationState
from isocenter.wire.part10 import read_header

pytestmark = pytest.mark.interop

CT, MR = "pydicom/test_files/CT_small.dcm", "pydicom/test_files/MR_small.dcm"
OVERLAY, VOI_LUT, MODALITY_LUT = (
    "pydicom-data/MR-SIEMENS-DICOM-WithOverlays.dcm", "pydicom-data/vlut_04.dcm", "pydicom-data/mlut_18.dcm",
)  # fmt: skip
# As in test_render_dcmtk.py, where a one-bit image, whose 1 is half grey to DCMTK, is told of, too
DIFFERENCES = {"pydicom/test_files/rtdose_expb_1frame.dcm": "words of 32-bit samples in big endian"}
# What dciodvfy's dictionary of 2022 asks of every object, and what our images do not tell
KNOWN = ("attribute <Laterality>", "Module=<GeneralSeries>", "Patient's Weight", "needed to build DICOMDIR")


def ours(image: Path, state: Path, number: int = 1) -> np.ndarray:
    picture, presented = image.read_bytes(), state.read_bytes()
    head, kept = read_header(picture), read_header(presented)
    found = Image.of(picture, head.transfer_syntax, head.data_set_offset)
    return render(
        found, number, state=PresentationState.of(presented, kept.transfer_syntax, kept.data_set_offset), notes=[]
    )


def dcmp2pgm(image: Path, state: Path, folder: Path) -> np.ndarray:
    target = folder / "theirs.pgm"
    peers.run("dcmp2pgm", "-p", state, image, target)
    return pgm(target)


def pgm(path: Path) -> np.ndarray:
    kind, columns, rows, top = path.read_bytes()[:60].split(maxsplit=4)[:4]
    assert (kind, top) == (b"P5", b"255")
    return np.frombuffer(path.read_bytes()[-int(rows) * int(columns) :], np.uint8).reshape(int(rows), int(columns))


def saved(ds: Dataset, path: Path) -> Path:
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"window": (40, 400)},
        {"window": (40, 400), "invert": True},
        {"rotation": 90},
        {"rotation": 180, "flip": True},
        {"rotation": 270, "flip": True},
        {"flip": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", [CT, MR])
def test_greys_and_turns_equal_dcmp2pgms(name: str, arguments: dict[str, Any], corpus: Path, tmp_path: Path) -> None:
    image = corpus / name
    state = saved(presentation_state(pydicom.dcmread(image), **arguments), tmp_path / "state.dcm")
    theirs = dcmp2pgm(image, state, tmp_path)
    assert len(np.unique(theirs)) > 8
    assert np.abs(ours(image, state).astype(int) - theirs).max() <= 1


def test_sigmoid_is_what_dcmj2pnm_makes_of_it(corpus: Path, tmp_path: Path) -> None:
    image = corpus / CT
    state = saved(presentation_state(pydicom.dcmread(image), window=(40, 400), function="SIGMOID"), tmp_path / "s.dcm")
    peers.run("dcmj2pnm", "+op", "+Wfs", "+Ww", "40", "400", image, tmp_path / "theirs.pgm")
    assert np.abs(ours(image, state).astype(int) - pgm(tmp_path / "theirs.pgm")).max() <= 1


@pytest.mark.parametrize("name", [OVERLAY, VOI_LUT, MODALITY_LUT])
@pytest.mark.parametrize("option", ["+Vl", "-V", "+oa", "-o"])
def test_states_of_dcmpsmk_look_as_in_dcmp2pgm(name: str, option: str, corpus: Path, tmp_path: Path) -> None:
    """States that DCMTK writes: with VOI LUT Sequence, Modality LUT Sequence, overlays of its own or the image's."""
    image, state = corpus / name, tmp_path / "state.dcm"
    peers.run("dcmpsmk", option, image, state)
    picture, theirs = ours(image, state), dcmp2pgm(image, state, tmp_path)
    assert len(np.unique(theirs)) > 8
    different = np.abs(picture.astype(int) - theirs) > 1
    # The overlay, which dcmp2pgm leaves out; dcmpsmk copies it into the state, or activates that of the image.
    graphics = np.zeros(picture.shape, bool)
    if name == OVERLAY and option != "-o":
        graphics = pydicom.dcmread(image).overlay_array(0x6000).astype(bool)
        assert graphics.sum() > 300
    assert not different[~graphics].any()
    assert (picture[graphics] == 255).all()


def test_presentation_lut_of_entries_equals_dcmp2pgms(corpus: Path, tmp_path: Path) -> None:
    image = corpus / CT
    ds = presentation_state(pydicom.dcmread(image), window=(40, 400))
    del ds.PresentationLUTShape
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [256, 0, 12])
    item.add_new("LUTData", "OW", (np.linspace(0, 1, 256) ** 2 * 4095).astype("<u2").tobytes())
    ds.PresentationLUTSequence = [item]
    state = saved(ds, tmp_path / "state.dcm")
    difference = np.abs(ours(image, state).astype(int) - dcmp2pgm(image, state, tmp_path))
    # 256 entries for 400 greys: where one falls between two entries, DCMTK takes the lower, we the nearer
    assert difference.max() <= 3


def test_bitmap_shutter_equals_dcmp2pgms(corpus: Path, tmp_path: Path) -> None:
    image = corpus / CT
    ds = presentation_state(pydicom.dcmread(image), window=(40, 400))
    hidden = np.hypot(*(np.indices((128, 128)) - 64)) > 50
    for element, vr, value in (
        (0x10, "US", 128), (0x11, "US", 128), (0x40, "CS", "G"), (0x50, "SS", [1, 1]), (0x100, "US", 1),
        (0x102, "US", 0), (0x3000, "OW", np.packbits(hidden.reshape(-1), bitorder="little").tobytes()),
    ):  # fmt: skip
        ds.add_new((0x6000, element), vr, value)
    ds.ShutterShape, ds.ShutterOverlayGroup, ds.ShutterPresentationValue = "BITMAP", 0x6000, 0x8000
    state = saved(ds, tmp_path / "state.dcm")
    picture = ours(image, state)
    assert (picture[hidden] == 128).all()
    assert np.abs(picture.astype(int) - dcmp2pgm(image, state, tmp_path)).max() <= 1


@pytest.mark.parametrize(("rotation", "turn"), [(0, None), (90, "+Rr"), (180, "+Rtd"), (270, "+Rl")])
@pytest.mark.parametrize("flip", [False, True])
def test_displayed_areas_equal_what_dcmj2pnm_cuts(
    rotation: int, turn: str | None, flip: bool, corpus: Path, tmp_path: Path
) -> None:
    image = corpus / CT
    state = presentation_state(
        pydicom.dcmread(image), window=(40, 400), rotation=rotation, flip=flip, area=((11, 21), (90, 100))
    )
    options = ["+C", "10", "20", "80", "80", "+Ww", "40", "400", *([turn] if turn else []), *(["+Lh"] if flip else [])]
    peers.run("dcmj2pnm", "+op", *options, image, tmp_path / "theirs.pgm")
    picture = ours(image, saved(state, tmp_path / "state.dcm"))
    assert np.abs(picture.astype(int) - pgm(tmp_path / "theirs.pgm")).max() <= 1


@pytest.mark.slow
def test_every_grey_image_under_a_state_equals_dcmp2pgms(
    corpus: Path, corpus_index: list[dict[str, str]], tmp_path: Path
) -> None:
    """The corpus's images of one frame, as they are: Modality LUT, VOI LUT and polarity go into the state.

    Those are left out that dcmp2pgm does not take: compressed ones, and patients without a name. Pixel padding, which
    we show black (C.7.5.1.1.2), is a grey as any other to dcmp2pgm.
    """
    different: dict[str, int] = {}
    seen: Counter[str] = Counter()
    for row in corpus_index:
        name = f"{row['source']}/{row['path']}"
        plain = row["ts_uid"] in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
        grey = row["photometric"].startswith("MONOCHROME")
        if not (plain and grey) or row["frames"] not in ("", "1") or "fuzz" in name or row["path"].endswith(".gz"):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = pydicom.dcmread(corpus / name)
                made = presentation_state(image, overlays=False)
                # dcmp2pgm leaves pixels as they are where they are not square.
                made.DisplayedAreaSelectionSequence[0].PresentationPixelAspectRatio = [1, 1]
                made.DisplayedAreaSelectionSequence[0].pop("PresentationPixelSpacing", None)
                state = saved(made, tmp_path / "state.dcm")
            picture = ours(corpus / name, state)
            theirs = dcmp2pgm(corpus / name, state, tmp_path)
        except (IsocenterError, peers.PeerFailed, ValueError, OSError, KeyError, AttributeError, TypeError):
            continue
        seen[row["photometric"]] += 1
        difference = np.abs(picture.astype(int) - theirs)
        if "PixelPaddingValue" in image:
            difference[(picture == 0) & (image.pixel_array == image.PixelPaddingValue)] = 0
        if difference.max() > 1 and image.BitsAllocated != 1 and name not in DIFFERENCES:
            different[name] = int(difference.max())
    assert different == {}
    assert seen["MONOCHROME2"] >= 40
    assert seen["MONOCHROME1"] >= 1


def test_states_of_the_corpus_are_applied(corpus: Path) -> None:
    """dcmpsmk's in the corpus, for CT_small; highdicom's and one of a vendor refer to images that are not there."""
    state = corpus / "peer-generated/dcmtk/gsps_ct.dcm"
    assert ours(corpus / CT, state).shape == (128, 128)
    for name in ("peer-generated/highdicom/gsps_annot.dcm", "dicom-swift/ClinicalInterop/gsps_annotation.dcm"):
        data = (corpus / name).read_bytes()
        meta = read_header(data)
        read = PresentationState.of(data, meta.transfer_syntax, meta.data_set_offset)
        stand_in = isocenter.create(
            np.zeros((128, 128), np.uint16), modality="CT", pixel_spacing=(1, 1), slice_thickness=1
        )
        assert isinstance(stand_in, Dataset)
        stand_in.SOPInstanceUID = stand_in.file_meta.MediaStorageSOPInstanceUID = read.references[0].instance
        notes: list[str] = []
        buffer = pydicom.filebase.DicomBytesIO()
        stand_in.save_as(buffer, enforce_file_format=True)
        head = read_header(buffer.getvalue())
        image = Image.of(buffer.getvalue(), head.transfer_syntax, head.data_set_offset)
        picture = render(image, state=read, notes=notes)
        assert notes == []
        assert len(np.unique(picture)) > 1, "the annotation is seen"


HOT = np.stack([np.arange(256), np.arange(256) ** 2 // 255, np.arange(256)[::-1]], axis=1).astype(np.uint8)


def full(image: Dataset, **more: Any) -> Dataset:
    graphics = [
        Graphic("CIRCLE", [(64, 64), (84, 64)]),
        Graphic("ELLIPSE", [(70, 90), (100, 90), (85, 80), (85, 95)], filled=True, layer="RED"),
        Graphic("POLYLINE", [(20, 30), (40, 30), (40, 50), (20, 30)], filled=True),
        Graphic("INTERPOLATED", [(30, 60), (40, 80), (60, 85), (50, 95)]),
        Graphic("POINT", [(0.5, 0.5)], units="DISPLAY"),
        Label("Heart 12.5 mm\r\n홍길동", box=((66, 20), (108, 44)), anchor=(64, 64), justification="CENTER"),
        Label("A", anchor=(10, 10)),
    ]
    return presentation_state(
        image, graphics=graphics, layers=[Layer("RED", 0x8000, (35000, 53000, 50000))], rotation=90, flip=True,
        area=((1, 1), (100, 90)), label="FINDINGS", description="Étude", creator="Hong^Gildong=洪^吉洞", **more,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["grayscale", "magnified", "pseudo-color", "color", "blending", "plain", "mask"])
def test_dciodvfy_finds_nothing(kind: str, corpus: Path, tmp_path: Path) -> None:
    grey = pydicom.dcmread(corpus / CT)
    if kind == "color":
        made = isocenter.create(np.zeros((128, 128, 3), np.uint8), patient_name="A^B", patient_id="1")
        assert isinstance(made, Dataset)
        ds = full(made, shutter=ShutterShape(circle=(50, 50, 40)))
    elif kind == "pseudo-color":
        ds = full(grey, window=(40, 400), palette=HOT)
    elif kind == "blending":
        ds = full(grey, window=(40, 400), palette=HOT, blend=grey, opacity=0.3)
    elif kind == "plain":
        ds = presentation_state(grey)
    elif kind == "mask":
        cine = isocenter.create(np.zeros((9, 64, 64), np.uint16), frame_time=40.0, patient_name="A^B", patient_id="1")
        assert isinstance(cine, Dataset)
        ds = presentation_state(cine, window=(0, 100), mask=Mask((1, 2), averaged=2, shift=(0.5, -0.25)))
    else:
        shutter = ShutterShape((5, 100, 3, 90), (50, 50, 40), [(1, 1), (1, 100), (100, 50)], 0x1000)
        ds = full(grey, window=(40, 400), shutter=shutter, magnification=2.0 if kind == "magnified" else None)
    done = peers.run("dciodvfy", saved(ds, tmp_path / "state.dcm"), check=False)
    lines = done.stdout.splitlines()
    assert any("SoftcopyPresentationState" in line.replace(" ", "") for line in lines), lines
    assert [
        line for line in lines if line.startswith(("Error", "Warning")) and not any(known in line for known in KNOWN)
    ] == []


SHUTTERS = {
    "none": None,
    "rectangle": ShutterShape((5, 100, 3, 90)),
    "circle": ShutterShape(circle=(50, 50, 40), grey=0x8000),
    "all": ShutterShape((5, 100, 3, 90), (50, 50, 40), [(1, 1), (1, 100), (100, 50)], 0x1000),
}


@pytest.mark.parametrize("shutter", SHUTTERS)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"window": (40, 400), "invert": True},
        {"rotation": 90, "flip": True, "area": ((5, 5), (100, 110)), "magnification": 2.0},
        {"graphics": [Graphic("POLYLINE", [(1, 1), (9, 9)]), Label("A", box=((10, 10), (60, 30)), anchor=(5, 5))]},
    ],
    ids=["plain", "greys", "space", "graphics"],
)
def test_dcmpschk_finds_nothing(arguments: dict[str, Any], shutter: str, corpus: Path, tmp_path: Path) -> None:
    """DCMTK's checker of grayscale states, all three passes: the last one reads the state as its viewer would."""
    state = presentation_state(pydicom.dcmread(corpus / CT), shutter=SHUTTERS[shutter], **arguments)
    done = peers.run("dcmpschk", "-v", saved(state, tmp_path / "state.dcm"))
    told = done.stdout + (done.stderr or "")
    assert "Pass 3" in told
    assert "Test passed" in told, told
