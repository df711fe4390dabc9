"""What a list of studies is searched by and sorted by: the words that a person types, and the columns that are shown.

Neither is of the standard, whose queries name an attribute for each value and leave the order of answers open
(PS3.4 C.4.1.3, PS3.18 section 8.3.4). A list of a hundred thousand studies needs both where the studies are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isocenter.index.normal import fold, name_groups, normal, vr_of_key

NAME = 0x00100010
_DATE = 0x00080020
# Patient ID, Accession Number, Study Description: compared without regard to case here, as names are.
_TEXTS = (0x00100020, 0x00080050, 0x00081030)

ORDERS: dict[int, str] = {
    NAME: "patient_name",
    0x00100020: "patient_id",
    _DATE: "study_date",
    0x00080030: "study_time",
    0x00080050: "accession_number",
    0x00080061: "modalities",
    0x00081030: "study_description",
    0x00201206: "series_count",
    0x00201208: "instance_count",
}
"""The attributes that studies can be sorted by, and the columns that do it."""

_BETWEEN = str.maketrans("^=,", "   ")


def listed(attributes: Mapping[str, Any]) -> str:
    """The text in which words are looked for, of a study's attributes as DICOM JSON: name in all writings, Patient ID,
    Accession Number, description and date, a line each. A date is there as it is stored and as it is shown."""
    name, *others = (attributes.get(f"{tag:08X}", {}).get("Value") or () for tag in (NAME, *_TEXTS, _DATE))
    lines = [_name(group) for group in name_groups((name or ("",))[0] or "")]
    for tag, values in zip((*_TEXTS, _DATE), others, strict=True):
        lines.append(" ".join(fold(normal(vr_of_key(tag), value)) for value in values if value))
    day = lines[-1]
    if len(day) == 8:
        lines.append(f"{day[:4]}-{day[4:6]}-{day[6:]}")
    return "\n".join(filter(None, lines))


def _name(group: str) -> str:
    words = group.translate(_BETWEEN).split()
    # Names in Hangul and Han characters are shown, and typed, without a space between their parts.
    together = ["".join(words)] if len(words) > 1 and any(sign >= "\u1100" for sign in group) else []
    return " ".join(words + together)


def typed(text: str) -> tuple[str, ...]:
    """The words of what was typed, folded; signs that names are written with are spaces."""
    return tuple(word for word in fold(text).translate(_BETWEEN).split() if word.strip("*"))


def is_pattern(word: str) -> bool:
    """Whether a word has wildcards."""
    return "*" in word or "?" in word
