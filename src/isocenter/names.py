"""The forms of what names systems and objects: AE titles and UIDs.

Apart from `model`, whose many classes take longer to make than a short command has: this is all that calling needs.
"""

from __future__ import annotations

import re
from typing import NewType

AETitle = NewType("AETitle", str)

_AE_FORBIDDEN = re.compile(r"[^\x20-\x5b\x5d-\x7e]")


def ae_title(text: str) -> AETitle:
    """An AE title as in PS3.5 section 6.2 (VR AE): 1 to 16 characters, outer spaces without meaning.

    Raises ValueError for anything else.
    """
    title = text.strip(" ")
    if not title or len(title) > 16 or _AE_FORBIDDEN.search(title):
        raise ValueError(f"not an AE title: {text!r} (1 to 16 printable ASCII characters, no backslash)")
    return AETitle(title)


_UID = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))*", re.ASCII)


def is_uid(text: str) -> bool:
    """Whether `text` has the form of PS3.5 section 9.1 (at most 64 characters, no leading zeros)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None
