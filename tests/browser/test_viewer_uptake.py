"""Standardized uptake values and real world values: what PET pixels measure, against the same computed in Python."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
import viewer_objects as objects
from pydicom import Dataset
from test_viewer_measure import numbers, press, words
from viewer_page import Viewer, served, watched

import ours

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

HALF_LIFE = 6586.2  # s, fluorine-18
DOSE = 370e6  # Bq
WEIGHT = 72.5  # kg
SLOPE = 3.5


def pet(number: int, patient_id: str, **attributes: object) -> Dataset:
    """CT_small's pixels as activity, 58 minutes after the injection."""
    ds = objects.ct(number, patient_id, RescaleSlope=str(SLOPE), RescaleIntercept="0")
    ds.WindowCenter, ds.WindowWidth = 3000, 6000
    return injected(ds, **attributes)


def injected(ds: Dataset, **attributes: object) -> Dataset:
    """The image as one of PET, in Bq/ml, with all that makes uptake of them."""
    dose = Dataset()
    dose.RadiopharmaceuticalStartTime = "101500.000000"
    dose.RadionuclideTotalDose = f"{DOSE:.0f}"
    dose.RadionuclideHalfLife = str(HALF_LIFE)
    ds.Modality = "PT"
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.128"
    ds.Units = "BQML"
    ds.DecayCorrection = "START"
    ds.CorrectedImage = ["ATTN", "DECY", "SCAT"]
    ds.PatientWeight = str(WEIGHT)
    ds.SeriesDate = ds.AcquisitionDate = "20240514"
    ds.SeriesTime = "111300"
    ds.AcquisitionTime = "111530.250000"
    ds.RadiopharmaceuticalInformationSequence = [dose]
    for name, value in attributes.items():
        setattr(ds, name, value)
    return ds


def mapping(slope: float, intercept: float, first: int, last: int) -> Dataset:
    """A Real World Value Mapping of diffusion."""
    item = Dataset()
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = first, last
    item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, intercept
    units = Dataset()
    units.CodeValue, units.CodingSchemeDesignator, units.CodeMeaning = "mm2/s", "UCUM", "square millimeter per second"
    item.MeasurementUnitsCodeSequence = [units]
    return item


def by_weight(seconds: float, dose: float = DOSE, half_life: float = HALF_LIFE, weight: float = WEIGHT) -> float:
    """g/Bq: grams of the patient over what is left of the dose."""
    return weight * 1000 / (dose * math.exp(-math.log(2) * seconds / half_life))


def since(start: str, end: str = "20240514111300") -> float:
    """Seconds; all moments here are of one time zone."""
    first, last = (datetime.strptime(f"{moment}+0000", "%Y%m%d%H%M%S%z") for moment in (start, end))
    return (last - first).total_seconds()


INJECTED = since("20240514101500")


def change(**attributes: object) -> Callable[[Dataset], None]:
    def made(ds: Dataset) -> None:
        for name, value in attributes.items():
            if value is None:
                del ds[name]
            else:
                setattr(ds, name, value)

    return made


def dosed(**attributes: object) -> Callable[[Dataset], None]:
    return lambda ds: change(**attributes)(ds.RadiopharmaceuticalInformationSequence[0])


def philips(**elements: str) -> Callable[[Dataset], None]:
    def made(ds: Dataset) -> None:
        ds.Units = "CNTS"
        block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
        for name, value in elements.items():
            block.add_new(int(name[1:], 16), "DS", value)

    return made


def reconstructed_later(ds: Dataset) -> None:
    ds.SeriesDate, ds.SeriesTime = "20240520", "090000"


def ge(ds: Dataset) -> None:
    reconstructed_later(ds)
    ds.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20240514111300")


def frame_time(ds: Dataset) -> None:
    reconstructed_later(ds)
    ds.FrameReferenceTime, ds.ActualFrameDuration = "212000", "120000"


def from_frame() -> float:
    """The scan's start by the frame's: the mean of its count rate lies before its middle."""
    rate = math.log(2) / HALF_LIFE
    seconds = np.linspace(0, 120, 200_001)
    counted = np.exp(-rate * seconds)
    mean = counted.mean()
    average = -math.log(mean) / rate
    return since("20240514101500", "20240514111530") + 0.25 - 212 + average


FACTORS: dict[str, tuple[Callable[[Dataset], None], float]] = {
    "start": (change(), by_weight(INJECTED)),
    "admin": (change(DecayCorrection="ADMIN"), by_weight(0)),
    "the word decay": (change(CorrectedImage=["DECAY", "ATTN"]), by_weight(INJECTED)),
    "whole moment": (
        dosed(RadiopharmaceuticalStartDateTime="20240514095959.000000", RadiopharmaceuticalStartTime=None),
        by_weight(since("20240514095959")),
    ),
    "evening before": (
        lambda ds: (
            dosed(RadiopharmaceuticalStartTime="235000")(ds),
            change(SeriesTime="003000", AcquisitionTime="003000")(ds),
        )[0],
        by_weight(40 * 60),
    ),
    "ge": (ge, by_weight(INJECTED)),
    "frame": (frame_time, by_weight(from_frame())),
    "grams": (change(Units="GML"), 1.0),
    "philips to suv": (philips(_00="0.00031"), 0.00031),
    "philips to activity": (philips(_09="1.75"), 1.75 * by_weight(INJECTED)),
}

REFUSED: dict[str, tuple[Callable[[Dataset], None], str]] = {
    "weight": (change(PatientWeight=None), "Patient's Weight is missing"),
    "no weight": (change(PatientWeight="0"), "Patient's Weight is missing"),
    "dose": (dosed(RadionuclideTotalDose=None), "Radionuclide Total Dose is missing"),
    "half life": (dosed(RadionuclideHalfLife=None), "Radionuclide Half Life is missing"),
    "start": (dosed(RadiopharmaceuticalStartTime=None), "Radiopharmaceutical Start Time is missing"),
    "sequence": (
        change(RadiopharmaceuticalInformationSequence=None),
        "Radiopharmaceutical Information is missing",
    ),
    "correction": (change(DecayCorrection="NONE"), "Decay Correction is neither START nor ADMIN"),
    "attenuation": (change(CorrectedImage=["DECY"]), "not corrected for attenuation"),
    "decay": (change(CorrectedImage=["ATTN"]), "not corrected for decay"),
    "counts": (philips(), "counts, and no factor to activity"),
    "unit": (change(Units="PROPCNTS"), "Units are not of activity"),
    "no unit": (change(Units=None), "Units are missing"),
    "type": (change(Units="GML", SUVType="ODD"), "SUV Type is not known"),
    "future": (
        dosed(RadiopharmaceuticalStartDateTime="20240514120000"),
        "the radiopharmaceutical was given after the scan",
    ),
    "younger series": (
        reconstructed_later,
        "the series is younger than its images, and their frame's time is missing",
    ),
    "acquisition": (change(AcquisitionTime=None), "Acquisition Date or Time is missing"),
}


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    mapped = objects.ct(73, "MAPPED", WindowCenter=40, WindowWidth=400)
    mapped.RealWorldValueMappingSequence = [mapping(1e-6, 1e-4, 0, 1500)]
    light = pet(72, "LIGHT")
    del light.PatientWeight
    files = [objects.encoded(ds) for ds in (pet(71, "UPTAKE"), light, mapped)]
    with ours.background(lambda: served(tmp_path_factory.mktemp("uptake"), files)) as url:
        yield url


@pytest.fixture
def viewer(chromium: Browser, pets: str) -> Iterator[Viewer]:
    with watched(chromium, pets) as page:
        yield page


def computed(viewer: Viewer, sets: list[Dataset]) -> list[dict[str, Any]]:
    """What the viewer makes of each header: a factor, or why there is none."""
    models = [{k: v for k, v in json.loads(ds.to_json()).items() if k != "7FE00010"} for ds in sets]
    viewer.page.goto(viewer.address)
    found: list[dict[str, Any]] = viewer.page.evaluate(
        """async (models) => {
          const { suvFactor } = await import('/js/quantity.js');
          return models.map((ds) => { try { return suvFactor(ds); } catch (e) { return { refused: e.message }; } });
        }""",
        models,
    )
    return found


def test_factors_are_those_of_the_pseudo_code(viewer: Viewer) -> None:
    made = []
    for alter, _ in FACTORS.values():
        ds = pet(70, "HEADER")
        alter(ds)
        made.append(ds)
    for name, one in zip(FACTORS, computed(viewer, made), strict=True):
        assert one == {**one, "factor": pytest.approx(FACTORS[name][1], rel=1e-9), "name": "SUVbw"}, name


def test_what_is_missing_is_told(viewer: Viewer) -> None:
    made = []
    for alter, _ in REFUSED.values():
        ds = pet(70, "HEADER")
        alter(ds)
        made.append(ds)
    reasons = [one.get("refused") for one in computed(viewer, made)]
    assert [reason for _, reason in REFUSED.values()] == reasons


def test_pet_of_the_corpus(viewer: Viewer, corpus: Path, corpus_index: list[dict[str, str]]) -> None:
    rows = [row for row in corpus_index if row["modality"] == "PT"]
    sets = [pydicom.dcmread(corpus / row["source"] / row["path"], stop_before_pixels=True) for row in rows]
    assert sets
    for ds, found in zip(sets, computed(viewer, sets), strict=True):
        (dose,) = ds.RadiopharmaceuticalInformationSequence
        start = float(dose.RadiopharmaceuticalStartTime[4:])
        start += 60 * int(dose.RadiopharmaceuticalStartTime[2:4]) + 3600 * int(dose.RadiopharmaceuticalStartTime[:2])
        scan = float(ds.SeriesTime[4:]) + 60 * int(ds.SeriesTime[2:4]) + 3600 * int(ds.SeriesTime[:2])
        factor = by_weight(
            scan - start, float(dose.RadionuclideTotalDose), float(dose.RadionuclideHalfLife), float(ds.PatientWeight)
        )
        assert found["factor"] == pytest.approx(factor, rel=1e-9)


def stored() -> np.ndarray:
    values: np.ndarray = pydicom.dcmread(objects.FOLDER / "CT_small.dcm").pixel_array
    return values


def test_regions_probes_and_windows_are_in_suv(viewer: Viewer) -> None:
    viewer.open("2.25.700071")
    suv = stored() * SLOPE * by_weight(INJECTED)
    viewer.press("k")
    press(viewer, (64.5, 40.5))
    assert words(viewer)[0].endswith(" SUVbw")
    assert numbers(words(viewer)[0])[0] == pytest.approx(suv[40, 64], abs=0.006)
    viewer.press("q")
    press(viewer, (40.2, 30.2), (90.2, 80.2))
    mean, deviation, least, most = numbers(words(viewer)[1])[:4]
    inside = suv[30:80, 40:90]
    assert mean == pytest.approx(inside.mean(), rel=0.02)
    assert deviation == pytest.approx(inside.std(), rel=0.03)
    assert (least, most) == (pytest.approx(inside.min(), abs=0.006), pytest.approx(inside.max(), abs=0.006))
    # The window of the header is in Bq/ml; it is told, and chosen, in what is measured.
    factor = by_weight(INJECTED)
    shown = numbers(viewer.text("bottom-right").splitlines()[0])
    assert [6000 * factor, 3000 * factor] == pytest.approx(shown, abs=0.06)
    viewer.press("1")
    assert "W 5.0  L 2.5 SUVbw" in viewer.text("bottom-right").replace("W 5 ", "W 5.0 ")
    viewer.page.wait_for_function("() => location.search.includes('window=')")
    window = [float(v) for v in viewer.page.url.partition("window=")[2].partition("&")[0].split(",")]
    assert [2.5 / factor, 5 / factor] == pytest.approx(window, rel=1e-6)


def test_without_the_weight_there_is_activity_and_the_reason(viewer: Viewer) -> None:
    viewer.open("2.25.700072")
    assert "no SUV: Patient's Weight is missing" in viewer.text("bottom-right")
    viewer.press("k")
    press(viewer, (64.5, 40.5))
    assert words(viewer) == [f"{stored()[40, 64] * SLOPE:g} Bq/ml"]


def test_a_real_world_value_has_the_unit_of_its_code(viewer: Viewer) -> None:
    viewer.open("2.25.700073")
    viewer.press("k")
    press(viewer, (64.5, 40.5))
    (text,) = words(viewer)
    assert text.endswith(" mm2/s")
    assert float(text.split()[0]) == pytest.approx(stored()[40, 64] * 1e-6 + 1e-4, rel=0.005)
    # Outside of the mapped values there is none: of a region only those count that have one.
    viewer.press("q")
    press(viewer, (0.2, 0.2), (127.8, 127.8))
    real = stored()[stored() <= 1500] * 1e-6 + 1e-4
    assert numbers(words(viewer)[1])[0] == pytest.approx(real.mean(), rel=0.02)
