"""Which modules an IOD has and which attributes a module has, as in PS3.3, read from tables.json.

tables.json is written by tools/generate_iod_tables.py. Completing a data set from these tables is what makes it
impossible to forget a Type 2 attribute, and what stops an object without a Type 1 attribute from leaving this room.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from isocenter.errors import DataSetError


@dataclass(frozen=True, slots=True)
class IOD:
    """A Composite IOD of PS3.3 Annex A: module id to usage (M, C or U), in the order of the standard's table."""

    name: str
    sop_class: str
    modules: Mapping[str, str]


@cache
def _tables() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(files("isocenter.iod").joinpath("tables.json").read_text("utf-8"))
    return content


@cache
def iod(name: str) -> IOD:
    """The IOD with this id, as "ct-image". KeyError for one that has no builder yet."""
    row = _tables()["iods"][name]
    return IOD(row["name"], row["sop_classes"][0], row["modules"])


def attributes(module: str) -> Mapping[str, str]:
    """Keyword to type (1, 1C, 2, 2C, 3) of a module's top-level attributes."""
    rows: dict[str, str] = _tables()["modules"][module]
    return rows


@dataclass(frozen=True, slots=True)
class BodyPart:
    """The code of a Body Part Examined, and whether people have two of it (PS3.16 Annex L)."""

    scheme: str
    code: str
    meaning: str
    paired: bool


def body_part(term: str) -> BodyPart | None:
    """That of a defined term of Body Part Examined (0018,0015); None for any other."""
    row = _tables()["body_parts"].get(term)
    return None if row is None else BodyPart(*row)


def complete(ds: Dataset, name: str, optional: Iterable[str] = ()) -> None:
    """Give `ds` every missing Type 2 attribute of its mandatory and of the `optional` modules, empty.

    Raises DataSetError when a Type 1 attribute is missing or empty. Conditional attributes (1C, 2C) are the
    builders' business: their conditions are sentences.
    """
    modules = [module for module, usage in iod(name).modules.items() if usage == "M"]
    for module in [*modules, *optional]:
        for keyword, kind in attributes(module).items():
            if kind == "2" and keyword not in ds:
                setattr(ds, keyword, None)
            elif kind == "1" and (keyword not in ds or ds[keyword].is_empty) and not _replaced(ds, module, keyword):
                tag = Tag(tag_for_keyword(keyword) or 0)
                raise DataSetError(f"{keyword} of the module {module} has no value", tag_path=str(tag).replace(" ", ""))


def _replaced(ds: Dataset, module: str, keyword: str) -> bool:
    # C.8.6.3 makes the Multi-frame Module's pointer conditional on more than one frame
    return module == "multi-frame" and keyword == "FrameIncrementPointer" and ds.NumberOfFrames == 1
