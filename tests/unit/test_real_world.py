"""Real World Value Mapping as data: slopes, tables, ranges, units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from isocenter.errors import PixelError
from isocenter.pixels.image import Image
from isocenter.pixels.real_world import Code, real_world_values
from isocenter.wire.part10 import read_header
from pixel_objects import data_set, element, image, sequence

VALUES = np.arange(24, dtype="<i2") - 4
UNITS = sequence(
    0x004008EA,
    element(0x00080100, "SH", "mm2/s") + element(0x00080102, "SH", "UCUM") + element(0x00080104, "LO", "mm2/s"),
)  # fmt: skip


def mapping(first: int, last: int, *rest: bytes, label: str = "ADC") -> bytes:
    return (
        element(0x00283003, "LO", "Diffusion")
        + UNITS
        + element(0x00409210, "SH", label)
        + element(0x00409211, "SS", last)
        + b"".join(rest[:1])
        + element(0x00409216, "SS", first)
        + b"".join(rest[1:])
    )


def linear(slope: float, intercept: float) -> tuple[bytes, bytes]:
    return b"", element(0x00409224, "FD", intercept) + element(0x00409225, "FD", slope)


def loaded(extra: bytes, frames: int = 1) -> Image:
    return image(data_set(VALUES.tobytes() * frames, allocated=16, signed=1, frames=frames, last=extra))


def test_slope_and_intercept_in_their_range() -> None:
    (found,) = real_world_values(loaded(sequence(0x00409096, mapping(-2, 10, *linear(0.5, 3)))))
    assert (found.label, found.explanation, found.first, found.last) == ("ADC", "Diffusion", -2, 10)
    assert found.units == Code("mm2/s", "UCUM", "mm2/s")
    real = found.apply(VALUES)
    assert real[2:15].tolist() == [v * 0.5 + 3 for v in range(-2, 11)]
    assert np.isnan(real[:2]).all()
    assert np.isnan(real[15:]).all()


def test_a_table_and_a_second_mapping() -> None:
    table = element(0x00409212, "FD", [1.5, 2.5, 9.0])
    found = real_world_values(
        loaded(sequence(0x00409096, mapping(0, 2, table), mapping(-4, 19, *linear(2, 0), label="B")))
    )
    assert [one.label for one in found] == ["ADC", "B"]
    assert found[0].apply(VALUES)[4:7].tolist() == [1.5, 2.5, 9.0]
    assert found[1].apply(VALUES).tolist() == (VALUES * 2.0).tolist()


def test_the_frames_own_goes_before_the_shared() -> None:
    shared = sequence(0x00409096, mapping(-4, 19, *linear(1, 0), label="ALL"))
    own = sequence(0x00409096, mapping(-4, 19, *linear(3, 0), label="OWN"))
    found = loaded(sequence(0x52009229, shared) + sequence(0x52009230, b"", own), frames=2)
    assert [[one.label for one in real_world_values(found, n)] for n in (1, 2)] == [["ALL"], ["OWN"]]
    assert real_world_values(loaded(b"")) == []


@pytest.mark.parametrize(
    "item",
    [
        mapping(0, 5),
        mapping(0, 5, element(0x00409212, "FD", [1.0, 2.0])),
        UNITS + element(0x00409225, "FD", 1.0) + element(0x00409224, "FD", 1.0),
    ],
    ids=["no slope", "short table", "no range"],
)
def test_mappings_that_are_not_complete(item: bytes) -> None:
    with pytest.raises(PixelError, match="real world value"):
        real_world_values(loaded(sequence(0x00409096, item)))


def test_quantity() -> None:
    def code(tag: int, value: str) -> bytes:
        return sequence(tag, element(0x00080100, "SH", value) + element(0x00080102, "SH", "SCT"))

    quantity = sequence(0x00409220, code(0x0040A043, "246205007") + code(0x0040A168, "113041"))
    item = mapping(0, 5, b"", quantity + linear(1, 0)[1])
    (found,) = real_world_values(loaded(sequence(0x00409096, item)))
    assert found.quantity == Code("113041", "SCT", "")


@pytest.mark.parametrize(
    "name", ["pydicom-data/eCT_Supplemental.dcm", "peer-generated/highdicom/parametric_map_float.dcm"]
)
def test_mappings_of_the_corpus_are_as_pydicom_reads_them(name: str, corpus: Path) -> None:
    data = (corpus / name).read_bytes()
    meta = read_header(data)
    found = real_world_values(Image.of(data, meta.transfer_syntax, meta.data_set_offset))
    ds = pydicom.dcmread(corpus / name)
    expected = ds.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    assert len(found) == len(expected) > 0
    for one, item in zip(found, expected, strict=True):
        assert one.units.value == item.MeasurementUnitsCodeSequence[0].CodeValue
        if "RealWorldValueSlope" in item:
            assert (one.slope, one.intercept) == (item.RealWorldValueSlope, item.RealWorldValueIntercept)
