"""What isocenter.create makes, judged by dciodvfy: no errors, and no warning but about what it cannot know."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import isocenter
import peers
from isocenter.demo.objects import chest
from isocenter.demo.phantom import Phantom

pytestmark = pytest.mark.interop

NAME = "Hong^Gildong=洪^吉洞=홍^길동"
PLACED = {"pixel_spacing": (0.9, 0.7), "slice_thickness": 2.5, "image_position_patient": (-10, -20.5, 30)}
CT = {"modality": "CT", **PLACED}
OBLIQUE = {"image_orientation_patient": (0.8, 0.6, 0, 0, 0, -1)}
PATIENT = {
    "patient_name": NAME, "patient_id": "1", "patient_birth_date": "19700101", "patient_sex": "F",
    "study_description": "Étude", "referring_physician_name": "Müller^Jörg", "accession_number": "A1",
}  # fmt: skip

# dciodvfy's dictionary of 2022 knows no Image Plane Module in Secondary Capture (added by CP-1957); DICOMDIR keys and
# laterality are what the caller did not tell.
KNOWN = (
    "needed to build DICOMDIR",
    "attribute <Laterality>",
    "Attribute is not present in standard DICOM IOD",
    "this is a Standard Extended SOP Class",
)


def judged(pixels: Any, folder: Path, **arguments: Any) -> list[str]:
    """The findings of dciodvfy on the first and last object."""
    made = isocenter.create(pixels, **arguments)
    objects = made if isinstance(made, list) else [made]
    findings = []
    for ds in (objects[0], objects[-1]):
        path = folder / "object.dcm"
        ds.save_as(path, enforce_file_format=True)
        done = peers.run("dciodvfy", path, check=False)
        lines = done.stdout.splitlines()
        assert any("Image" in line for line in lines), done.stdout  # it did recognise the IOD
        findings += [line for line in lines if line.startswith(("Error", "Warning")) or done.returncode != 0]
    return [line for line in findings if not any(known in line for known in KNOWN)]


SHAPES = [(5, 7), (3, 6, 6), (1, 9, 2)]
DTYPES = ["u1", "i1", "u2", ">i2", "i4", "f4", "f8"]


@pytest.mark.parametrize(("shape", "dtype"), list(itertools.product(SHAPES, DTYPES)), ids=str)
@pytest.mark.parametrize(
    "arguments", [{}, PLACED, {**PLACED, "multi_frame": True}, CT], ids=["SC", "placed", "MF", "CT"]
)
def test_grey(shape: tuple[int, ...], dtype: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    pixels = (np.arange(np.prod(shape)).reshape(shape) * (0.1 if dtype[0] == "f" else 1)).astype(dtype)
    assert judged(pixels, tmp_path, color=False, **arguments) == []


@pytest.mark.parametrize("shape", [(5, 7, 3), (3, 5, 7, 3), (1, 2, 1, 3)], ids=str)
@pytest.mark.parametrize("arguments", [{}, PLACED, {**PLACED, "multi_frame": True}], ids=["SC", "placed", "MF"])
def test_colour(shape: tuple[int, ...], arguments: dict[str, Any], tmp_path: Path) -> None:
    assert judged(np.zeros(shape, np.uint8), tmp_path, **arguments) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {**CT, **PATIENT},
        {**CT, **OBLIQUE, "spacing_between_slices": -2},
        {**CT, "window": (40, 400), "rescale": (0.5, -1000), "patient_position": "HFS", "body_part_examined": "CHEST"},
        {**CT, "image_type": ("ORIGINAL", "PRIMARY", "AXIAL"), "laterality": "L"},
        {**CT, "derivation": "Sum of two", "uid_root": "1.2.826.0.1.3680043.10.1"},
        {**PATIENT, "frame_time": 40.0, "burned_in_annotation": True},
        {**PATIENT, "pixel_spacing": (0.1, 0.1), "conversion_type": "SYN"},
        {"window": (0.5, 0.25), "slice_thickness": 3, "pixel_spacing": (1, 1)},
        {"multi_frame": False},
    ],
    ids=range(9),
)
def test_arguments(arguments: dict[str, Any], tmp_path: Path) -> None:
    pixels = np.arange(3 * 6 * 6, dtype=np.int16).reshape(3, 6, 6)
    assert judged(pixels, tmp_path, **arguments) == []


def test_a_series_that_joins_a_study(tmp_path: Path) -> None:
    study = isocenter.create(np.zeros((4, 4), "u1"), **PATIENT)
    assert judged(np.zeros((4, 4), "u1"), tmp_path, study=study) == []


def test_the_demo_chest_has_nothing_to_remark_at_all(tmp_path: Path) -> None:
    ds = next(chest(Phantom(size=64, slices=6)))
    ds.save_as(tmp_path / "slice.dcm", enforce_file_format=True)
    assert peers.run("dciodvfy", tmp_path / "slice.dcm").stdout.strip() == "CTImage"
