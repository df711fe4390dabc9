"""What an SCU asks: keywords and values of a caller made into an Identifier (PS3.4 C.4.1.1.3.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any

from isocenter.errors import DataSetError, UsageError
from isocenter.model import UNIQUE_KEY, Level, zone_minutes
from isocenter.std.dictionary import keyword_of, tag_of, vr_of
from isocenter.std.non_patient import MODEL_NAMED
from isocenter.std.sop_classes import PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.wire.encode import encode_dataset

ROOTS: dict[str, str] = {"PATIENT": PATIENT_ROOT_FIND, "STUDY": STUDY_ROOT_FIND}
ROOTS |= {name: model.find for name, model in MODEL_NAMED.items()}
"""The SOP classes of C-FIND by their root's name, or that of a model of non-patient objects."""

_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")


def tag_named(name: str) -> int:
    """The tag of a keyword, or of "00100020", "0010,0020" and "(0010,0020)". UsageError for what is none of these."""
    written = _TAG.fullmatch(name)
    tag = int(written[1] + written[2], 16) if written else tag_of(name)
    if tag is None:
        raise UsageError(f"{name!r} is neither a keyword of the data dictionary nor a tag")
    return tag


def question(
    level: str,
    keys: Mapping[str, Any],
    transfer_syntax_uid: str,
    *,
    charset: str | Sequence[str] = "ISO_IR 192",
    root: str = "STUDY",
) -> bytes:
    """The Identifier for `keys`: names as tag_named() takes them; values as text, numbers, dates, or several in a list.

    None and "" only ask for the attribute; the level's unique key is always asked for. A mapping is the item of a
    sequence key. Text is written in `charset`, which the peer is asked to answer in; "" leaves it out. A `root` of
    non-patient objects has the IMAGE level alone, which is not written (PS3.4 U.4.1, X.4.1 ...). Raises UsageError for
    what cannot be asked.
    """
    if level not in Level.__members__:
        raise UsageError(f"{level!r} is no level: {', '.join(Level.__members__)}")
    model = model_of(keys)
    if root not in MODEL_NAMED:
        model["00080052"] = {"vr": "CS", "Value": [level]}
    elif level != Level.IMAGE.name:
        raise UsageError(f"{root} has no level but IMAGE")
    unique = UNIQUE_KEY[Level[level]]
    model.setdefault(f"{unique:08X}", {"vr": vr_of(unique)})
    syntax = transfer_syntax(transfer_syntax_uid)
    terms = tuple(charset.split("\\")) if isinstance(charset, str) and charset else tuple(charset)
    try:
        return encode_dataset(model, little=syntax.little, explicit=syntax.explicit, charset=terms)
    except DataSetError as error:
        raise UsageError(error.message, tag_path=error.tag_path) from None


def check_zone(zone: str) -> None:
    """UsageError unless it is an offset from UTC, or ""."""
    if zone and zone_minutes(zone) is None:
        raise UsageError(f"{zone!r} is no offset from UTC as +0900 (PS3.3 C.12.1.1)")


def model_of(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The DICOM JSON model of keywords with values, as question() takes them. Raises UsageError."""
    model: dict[str, Any] = {}
    for name, value in keys.items():
        tag = tag_named(name)
        vr = vr_of(tag)
        values = list(value) if isinstance(value, list | tuple) else [] if value is None or value == "" else [value]
        items = [isinstance(one, Mapping) for one in values]
        if values and (vr == "SQ") != all(items):
            raise UsageError(f"{keyword_of(tag) or name}: a mapping is the value of a sequence, and of nothing else")
        entry: dict[str, Any] = {"vr": vr}
        if values:
            entry["Value"] = [model_of(one) if vr == "SQ" else _value(one) for one in values]
        model[f"{tag:08X}"] = entry
    return model


def _value(value: Any) -> Any:
    if isinstance(value, date):
        return value.strftime("%Y%m%d")
    if isinstance(value, time):
        return value.strftime("%H%M%S")
    return value if isinstance(value, int | float) else str(value)
