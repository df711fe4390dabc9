"""What the browser tests put into the archive: pydicom's packaged files, and objects made from one of them.

Every made object has its own study, so that a test finds it by its Patient ID.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from copy import deepcopy
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from isocenter.iod.presentation_state import Graphic, presentation_state

FOLDER = Path(pydicom.__file__).parent / "data" / "test_files"
SLICES = 12
MARK = "xss-was-run"

# Ways in which text becomes markup or script, one in every text attribute the pages show.
HOSTILE = {
    "PatientName": f"<script>window['{MARK}']++</script>",
    "PatientID": f"\"><svg onload=window['{MARK}']=1>",
    "StudyDescription": f"<iframe srcdoc='<script>parent[\"{MARK}\"]=1</script>'>",
    "SeriesDescription": f"'onmouseover='window[\"{MARK}\"]=1",
    "AccessionNumber": f"${{self['{MARK}']=1}}",
    "InstitutionName": f"javascript:window['{MARK}']=1//<a href=javascript:1>",
    "PatientAge": "<b>1",
    "WindowCenterWidthExplanation": f"<details open ontoggle=window['{MARK}']=1>",
}


def packaged() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every packaged file that could be a DICOM object; the archive refuses what is not one."""
    for path in sorted(FOLDER.glob("*.dcm")):
        yield path.name, path.read_bytes()


def encoded(ds: Dataset) -> bytes:
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hostile values are meant to be wrong
        ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _ct() -> Dataset:
    ds = pydicom.dcmread(FOLDER / "CT_small.dcm")
    ds.decode()
    return ds


def ct(number: int, patient_id: str, **attributes: object) -> Dataset:
    """CT_small (128 x 128, signed 16 bit) as an object of its own; `number` keeps the UIDs apart."""
    ds = deepcopy(_ct())
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.StudyInstanceUID = f"2.25.7000{number}"
    ds.SeriesInstanceUID = f"2.25.7000{number}.1"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.7000{number}.1.1"
    ds.PatientID = patient_id
    for name, value in attributes.items():
        setattr(ds, name, value)
    return ds


def stack() -> list[Dataset]:
    """A series of SLICES images, stored in an order that is not theirs; each has one bright row, its own."""
    made = []
    for k in range(SLICES):
        pixels = np.full((128, 128), -100, np.int16) + 1024
        pixels[8 * k : 8 * k + 4] = 400 + 1024
        ds = ct(
            1,
            "STACK",
            SpecificCharacterSet="ISO_IR 192",
            PatientName="Hong^Gildong=洪^吉洞=홍^길동",
            PatientBirthDate="19700101",
            StudyDate="20240514",
            StudyTime="0930",
            StudyDescription="Chest with contrast",
            AccessionNumber="ACC-4711",
            SeriesDescription="Axial",
            SeriesNumber=2,
            InstanceNumber=k + 1,
            ImagePositionPatient=[-64, -64, 5 * k],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            WindowCenter=[40, -600],
            WindowWidth=[400, 1500],
            WindowCenterWidthExplanation=["SOFT", "AIR"],
            RescaleIntercept=-1024,
            PixelData=pixels.astype("<i2").tobytes(),
        )
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.70001.1.{k + 1}"
        made.append(ds)
    return made[1::2] + made[::2]


def lut_item(first: int, entries: np.ndarray, bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS", [len(entries), first, bits])
    item.LUTExplanation = "HOCKEY STICK"
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return item


def greys() -> list[Dataset]:
    """One object for every way from stored value to grey."""
    curve = (np.linspace(0, 1, 2000) ** 2 * 4095).astype(np.uint16)
    padded = ct(16, "PADDED", WindowCenter=40, WindowWidth=400, PhotometricInterpretation="MONOCHROME1")
    padded.add_new("PixelPaddingValue", "SS", int(np.median(_ct().pixel_array)))
    twelve = ct(17, "TWELVE", WindowCenter=40, WindowWidth=400, BitsStored=12, HighBit=11, PixelRepresentation=0)
    twelve.PixelData = (_ct().pixel_array.astype("<u2") & 0x0FFF | 0xA000).tobytes()  # rubbish in the unused bits
    return [
        ct(10, "LINEAR", WindowCenter=40, WindowWidth=400),
        ct(11, "MONO1", WindowCenter=40, WindowWidth=400, PhotometricInterpretation="MONOCHROME1"),
        ct(12, "EXACT", WindowCenter=40.5, WindowWidth=333.3, VOILUTFunction="LINEAR_EXACT"),
        ct(13, "SIGMOID", WindowCenter=0, WindowWidth=600, VOILUTFunction="SIGMOID"),
        ct(14, "TABLE", WindowCenter=40, WindowWidth=400, VOILUTSequence=[lut_item(-1000, curve, 12)]),
        ct(15, "SHAPE", WindowCenter=40, WindowWidth=400, PresentationLUTShape="INVERSE"),
        padded,
        twelve,
        ct(18, "NARROW", WindowCenter=40, WindowWidth=1),
        shuttered(),
        overlaid(),
        state(),
        angiogram(),
        ct(19, "SLOPE", WindowCenter=-10, WindowWidth=77.7, RescaleSlope="0.37", RescaleIntercept="-400.5"),
    ]


def deep() -> Dataset:
    """Signed values of 32 bits, which only the server makes greys of."""
    ds = ct(28, "DEEP", WindowCenter=0, WindowWidth=30000000, BitsAllocated=32, BitsStored=32, HighBit=31)
    pixels = (_ct().pixel_array.astype("<i4") - 1024) * 30000
    ds.RescaleIntercept = 0
    ds.add_new("PixelData", "OW", pixels.astype("<i4").tobytes())
    return ds


def angiogram() -> Dataset:
    """Its Modality LUT leads back to the beam, with all greys turned, and is not to be displayed (C.8.7.1.1.2)."""
    ds = ct(27, "ANGIO", WindowCenter=1000, WindowWidth=1500, RescaleSlope="-2", RescaleIntercept="3000", Modality="XA")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.12.1"
    return ds


def shuttered() -> Dataset:
    """Three shutters, of which the polygon cuts two corners off."""
    return ct(
        20,
        "SHUTTER",
        WindowCenter=40,
        WindowWidth=400,
        ShutterShape=["RECTANGULAR", "CIRCULAR", "POLYGONAL"],
        ShutterLeftVerticalEdge=20,
        ShutterRightVerticalEdge=120,
        ShutterUpperHorizontalEdge=10,
        ShutterLowerHorizontalEdge=110,
        CenterOfCircularShutter=[60, 66],
        RadiusOfCircularShutter=58,
        VerticesOfThePolygonalShutter=[1, 30, 1, 128, 128, 128, 128, 1, 50, 1],
        ShutterPresentationValue=0x6000,
    )


def overlaid() -> Dataset:
    """Graphics that begin outside of the image and a region of interest."""
    ds = ct(21, "OVERLAY", WindowCenter=40, WindowWidth=400)
    rows, columns = np.mgrid[:61, :45]
    ring = np.abs(np.hypot(rows - 30, columns - 22) - 18) < 2
    disc = np.hypot(rows - 30, columns - 22) < 20
    for group, kind, bits, origin in ((0x6000, "G", ring, [-9, 20]), (0x600A, "R", disc, [60, 70])):
        for number, vr, value in ((0x10, "US", 61), (0x11, "US", 45), (0x40, "CS", kind), (0x50, "SS", origin)):
            ds.add_new((group, number), vr, value)
        ds.add_new((group, 0x100), "US", 1)
        ds.add_new((group, 0x102), "US", 0)
        data = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
        ds.add_new((group, 0x3000), "OW", data + b"\0" * (len(data) % 2))
    return ds


def state() -> Dataset:
    """A presentation state of the image LINEAR in a series of its own: a part of it, turned and marked."""
    image = ct(10, "LINEAR", WindowCenter=40, WindowWidth=400)
    mark = Graphic("CIRCLE", [(64, 64), (84, 64)])
    made = presentation_state(image, rotation=90, area=((11, 21), (110, 100)), graphics=[mark], invert=True)
    made.SeriesInstanceUID = "2.25.700010.2"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = "2.25.700010.2.1"
    return made


def hostile() -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ct(90, "unused", WindowCenter=40, WindowWidth=400, StudyDate="20010101", **HOSTILE)
