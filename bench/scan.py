"""Finding the index keys in an object's bytes: our scan beside pydicom.

Both get the same Part 10 files in memory. `keys` is what the index needs of each object: on our side the scan that
walks the data set to its end and gives the value bytes of the kept attributes, on pydicom's dcmread of the same
attributes (`specific_tags`, `stop_before_pixels`) and a look at each value. pydicom steps over sequences of defined
length that are not asked for, while ours proves that they are whole, elements of items included: what is acknowledged
must be readable later. `whole header` asks pydicom for all elements before the pixels, as a program that does not know
its keys in advance does, and `sequences too` also for those of all items, which is as much as ours looks at. `keys as
JSON` is all of ingest's look at an object, the DICOM JSON of the kept attributes included, beside pydicom's to_json of
them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

import harness
from isocenter.archive.examine import Announced, examine
from isocenter.index.keys import CHARACTER_SET, KEPT_TAGS
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.wire.limits import DEFAULT_LIMITS
from isocenter.wire.part10 import read_header
from isocenter.wire.scan import scan

GOAL = 10.0
REPEAT = 200
WANTED = KEPT_TAGS | {CHARACTER_SET}
# Ordinary headers: the first two with many elements, in explicit and implicit VR
FILES = ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "examples_overlay.dcm")


def our_keys(content: bytes) -> None:
    """Part 10 header, scan to the end, value bytes."""
    meta = read_header(content)
    syntax = transfer_syntax(meta.transfer_syntax)
    found = scan(content, little=syntax.little, explicit=syntax.explicit, start=meta.data_set_offset, wanted=WANTED)
    for element in found.elements.values():
        content[element.offset : element.offset + element.length]


def our_json(content: bytes) -> None:
    """All that ingest does with the bytes: scan, checks, text decoded, the JSON and columns of the index row."""
    meta = read_header(content)
    announced = Announced("", "", meta.transfer_syntax)
    examine(memoryview(content), meta.data_set_offset, announced, DEFAULT_LIMITS)


def pydicom_keys(content: bytes) -> None:
    """The same attributes by pydicom, each converted when it is looked at."""
    _look(dcmread(BytesIO(content), stop_before_pixels=True, specific_tags=sorted(WANTED)))


def pydicom_header(content: bytes) -> None:
    """All attributes before the pixels."""
    _look(dcmread(BytesIO(content), stop_before_pixels=True))


def pydicom_everything(content: bytes) -> None:
    """All attributes before the pixels, and those of the items of all sequences."""
    for element in dcmread(BytesIO(content), stop_before_pixels=True).iterall():
        element.value  # noqa: B018


def pydicom_json(content: bytes) -> None:
    """The same attributes as DICOM JSON."""
    dcmread(BytesIO(content), stop_before_pixels=True, specific_tags=sorted(WANTED)).to_json()


def _look(ds: Dataset) -> None:
    for element in ds:
        element.value  # noqa: B018 - the conversion happens here


def microseconds(work: Callable[[bytes], None], content: bytes) -> float:
    """CPU time of one object, in the mean of many: what else the machine does is not in it."""
    work(content)
    start = time.process_time()
    for _ in range(REPEAT):
        work(content)
    return (time.process_time() - start) / REPEAT * 1e6


def comparisons(name: str, content: bytes) -> list[harness.Comparison]:
    """Keys and JSON of one file."""
    elements = len(dcmread(BytesIO(content), stop_before_pixels=True))
    what = f"{name}, {elements} elements"
    return [
        harness.Comparison(
            f"keys of {what}",
            "us CPU",
            lambda: microseconds(our_keys, content),
            {"pydicom": lambda: microseconds(pydicom_keys, content)},
            GOAL,
            "lower",
            {
                "pydicom, whole header": lambda: microseconds(pydicom_header, content),
                "pydicom, sequences too": lambda: microseconds(pydicom_everything, content),
            },
        ),
        harness.Comparison(
            f"keys as JSON of {what}",
            "us CPU",
            lambda: microseconds(our_json, content),
            {"pydicom": lambda: microseconds(pydicom_json, content)},
            None,
            "lower",
        ),
    ]


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    contents = [(name, Path(str(get_testdata_file(name))).read_bytes()) for name in FILES]
    wanted = [one for name, content in contents for one in comparisons(name, content)]
    harness.run("scan", "Index keys from the bytes", wanted, options, Path(tempfile.gettempdir()))


if __name__ == "__main__":
    main()
