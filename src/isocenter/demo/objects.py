"""The demo objects as Part 10 files, in the order in which they make a good first page."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom.data import DATA_ROOT
from pydicom.dataset import Dataset

from isocenter.demo.phantom import FIRST, Phantom
from isocenter.iod.create import create
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.wire.part10 import file_meta, read_header
from isocenter.wire.scan import scan

# Of pydicom's packaged files (MIT), those that are whole and show something of their own. They lie in the wheel:
# nothing is fetched. No two have the same SOP Instance UID.
PYDICOM_FILES = (
    "CT_small.dcm",
    "693_J2KI.dcm",  # CT, JPEG 2000
    "MR_small_RLE.dcm",
    "examples_overlay.dcm",  # MR with an overlay
    "examples_ybr_color.dcm",  # ultrasound, 30 frames, JPEG Baseline
    "examples_rgb_color.dcm",
    "examples_jpeg2k.dcm",
    "examples_palette.dcm",
    "JPEG2000.dcm",  # NM
    "SC_rgb_jpeg_gdcm.dcm",  # JPEG Lossless
    "SC_rgb_dcmtk_+eb+cr.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "image_dfl.dcm",  # deflated
    "liver_1frame.dcm",  # segmentation
    "rtplan.dcm",
    "rtdose_rle.dcm",
    "reportsi.dcm",  # structured report
    "test-SR.dcm",
    "waveform_ecg.dcm",
)
_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_SEED = "isocenter demo, chest, 1"  # a new number for a new shape: one UID never names two sets of pixels


def _file(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def chest(phantom: Phantom | None = None) -> Iterator[Dataset]:
    """The slices of the computed chest CT (60 unless told), the same UIDs every time, from the feet to the head."""
    phantom = phantom or Phantom()
    spacing = phantom.grid.spacing
    volume = np.empty((len(phantom.heights), phantom.grid.size, phantom.grid.size), np.uint16)
    for target, plane in zip(volume, phantom.planes(), strict=True):
        target[...] = np.rint(plane + 1024)
    half = (phantom.grid.size - 1) / 2 * spacing
    slices = create(
        volume,
        modality="CT",
        patient_name="Hong^Gildong=洪^吉洞=홍^길동",
        patient_id="DEMO-0001",
        patient_birth_date="19700101",
        patient_sex="M",
        study_date="20240131",
        study_time="0930",
        study_description="CT chest with contrast (computed phantom)",
        accession_number="DEMO1",
        series_description="Chest 5 mm, soft tissue",
        body_part_examined="CHEST",
        patient_position="HFS",
        pixel_spacing=(spacing, spacing),
        slice_thickness=phantom.step,
        spacing_between_slices=phantom.step,
        image_position_patient=(-half, -half, FIRST),
        rescale=(1, -1024),
        window=(40, 400),
        derivation="Computed by isocenter.demo; no person was scanned",
        uid_seed=_SEED,
    )
    assert isinstance(slices, list)
    for ds in slices:
        ds.ContrastBolusAgent = ""  # the blood is computed as bright as with one (C.7.6.4)
        yield ds


def demo_objects(phantom: Phantom | None = None) -> Iterator[bytes]:
    """Every demo object as the bytes of a DICOM file; the first takes seconds, so iterate in a thread."""
    for ds in chest(phantom):
        yield _file(ds)
    folder = Path(DATA_ROOT) / "test_files"
    for name in PYDICOM_FILES:
        yield _consistent((folder / name).read_bytes())


def _consistent(data: bytes) -> bytes:
    """The file with a header that names the object its data set holds; rtplan.dcm's names another."""
    meta = read_header(data)
    syntax = transfer_syntax(meta.transfer_syntax)
    if syntax.deflated:
        return data
    wanted = frozenset((_SOP_CLASS, _SOP_INSTANCE))
    found = scan(
        data, little=syntax.little, explicit=syntax.explicit, start=meta.data_set_offset, wanted=wanted, stop=0x00080020
    ).elements
    sop_class, instance = (
        data[found[tag].offset : found[tag].offset + found[tag].length].decode("ascii").rstrip("\0 ")
        for tag in (_SOP_CLASS, _SOP_INSTANCE)
    )
    if (sop_class, instance) == (meta.sop_class, meta.sop_instance):
        return data
    return file_meta(sop_class, instance, meta.transfer_syntax) + data[meta.data_set_offset :]
