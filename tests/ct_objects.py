"""The same CT image under UIDs of its own, for tests of who gets how many of them and when."""

from __future__ import annotations

from pathlib import Path

from pydicom.data import get_testdata_file

from isocenter.wire.command import CommandSet

RAW = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
_UID = b"1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"


def objects(count: int) -> list[bytes]:
    """Files of so many, all of them in STUDY."""
    assert RAW.count(_UID) == 2
    return [RAW.replace(_UID, _UID[:-5] + b"%05d" % (10000 + n)) for n in range(count)]


def number_of(sop_instance: str) -> int:
    """Which of objects() it is."""
    return int(sop_instance[-5:]) - 10000


def number(command: CommandSet) -> int:
    """The same of a C-STORE request."""
    return number_of(str(command["AffectedSOPInstanceUID"]))
