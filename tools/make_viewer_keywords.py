"""Writes web/static/data/keywords.json, the names the viewer's header panel shows, from pydicom's dictionary.

Group to element to keyword, four hex digits each; repeating groups (50xx, 60xx) are left out, the panel shows their
tags alone. Run it after an update of pydicom: `python tools/make_viewer_keywords.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydicom.datadict import DicomDictionary

TARGET = Path(__file__).parent.parent / "src/isocenter/web/static/data/keywords.json"


def keywords() -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for tag, (_vr, _vm, _name, _retired, keyword) in sorted(DicomDictionary.items()):
        if keyword:
            table.setdefault(f"{tag >> 16:04X}", {})[f"{tag & 0xFFFF:04X}"] = keyword
    return table


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(keywords(), separators=(",", ":")) + "\n", "ascii")
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")
