"""Which SOP Classes appear as which others (PS3.4 Table C.3.5-1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """One modality's classes, the ids of their IODs in isocenter.iod.tables, the sequence of its frame type, and what
    Bits Allocated and Bits Stored may be in enhanced images (PS3.3 C.8.15.2, C.8.13.1, C.8.22.3)."""

    modality: str
    classic: str
    enhanced: str
    legacy: str
    classic_iod: str
    legacy_iod: str
    frame_type: str
    allocated: tuple[int, ...]
    stored: tuple[int, ...]


KINDS: Final = (
    Kind(
        "CT", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2",
        "ct-image", "legacy-converted-enhanced-ct-image", "CTImageFrameTypeSequence", (16,), (12, 16),
    ),
    Kind(
        "MR", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4",
        "mr-image", "legacy-converted-enhanced-mr-image", "MRImageFrameTypeSequence", (8, 16), (8, 12, 16),
    ),
    Kind(
        "PT", "1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.130", "1.2.840.10008.5.1.4.1.1.128.1",
        "positron-emission-tomography-image", "legacy-converted-enhanced-pet-image",
        "PETFrameTypeSequence", (16,), (16,),
    ),
)  # fmt: skip

CLASSIC: Final = {kind.classic: kind for kind in KINDS}
MULTI_FRAME: Final = {uid: kind for kind in KINDS for uid in (kind.enhanced, kind.legacy)}
