"""Real files by STOW-RS and back by WADO-RS: every file DCMTK's dcmftest takes for DICOM keeps its data set's bytes.

A file may be refused only for a reason that another reader confirms: pydicom finds no valid UIDs for the levels of the
hierarchy that its class has, or DCMTK's dcmdump cannot read it to its end.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx
import pydicom
import pytest

import ours
import peers
from isocenter.names import is_uid
from isocenter.std.non_patient import NON_PATIENT_KEYS
from isocenter.wire.part10 import read_header

pytestmark = [pytest.mark.interop, pytest.mark.slow, pytest.mark.timeout(1200)]

LARGEST = 64 * 1024 * 1024
SAME, VERSION = "same", "another version of it is stored"


@pytest.fixture(scope="module")
def accepted(corpus: Path) -> list[Path]:
    """The files dcmftest says yes to, each content once."""
    files = sorted(path for path in corpus.rglob("*") if path.is_file() and 0 < path.stat().st_size <= LARGEST)
    yes: dict[str, Path] = {}
    for start in range(0, len(files), 200):
        for line in peers.run("dcmftest", *files[start : start + 200], check=False).stdout.splitlines():
            if line.startswith("yes: "):
                path = Path(line.removeprefix("yes: "))
                yes.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)
    assert len(yes) > 500
    return sorted(yes.values())


def fate_of(client: httpx.Client) -> Callable[[Path], str]:
    """Stores one file, gets it back, and says what became of it."""

    def fate(path: Path) -> str:
        data = path.read_bytes()
        answer = client.post("/dicomweb/studies", content=data, headers={"content-type": "application/dicom"})
        if answer.status_code not in (200, 202):
            return f"refused {answer.status_code}"
        (item,) = answer.json()["00081199"]["Value"]
        if "00081196" in item:
            return VERSION
        got = client.get(item["00081190"]["Value"][0], headers={"accept": "application/dicom"}).content
        same = got[read_header(got).data_set_offset :] == data[read_header(data).data_set_offset :]
        return SAME if same else "different"

    return fate


def has_unfit_uids(data: bytes) -> bool:
    """Whether pydicom finds a UID missing or malformed, or cannot read the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data_set = pydicom.dcmread(BytesIO(data), stop_before_pixels=True, force=True)
            keywords = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
            if data_set.get("SOPClassUID") in NON_PATIENT_KEYS:
                del keywords[2:]
            uids = [str(data_set.get(keyword, "")) for keyword in keywords]
        except (NotImplementedError, ValueError, TypeError, EOFError):
            return True
    return not all(map(is_uid, uids))


def is_unreadable(path: Path) -> bool:
    return peers.run("dcmdump", "--quiet", path, check=False).returncode != 0


def test_data_sets_come_back_byte_for_byte(accepted: list[Path], corpus: Path, tmp_path: Path) -> None:
    fates: dict[Path, str] = {}
    waiting = accepted
    for number in range(60):  # many of the files are versions of one object: each gets an archive in which it is first
        with (
            ours.node(tmp_path / str(number), archive_minimum_free=0) as node,
            httpx.Client(base_url=node.url, timeout=120) as client,
            ThreadPoolExecutor(8) as threads,
        ):
            fates.update(zip(waiting, threads.map(fate_of(client), waiting), strict=True))
        waiting = [path for path in waiting if fates[path] == VERSION]
        if not waiting:
            break
    refused = {path for path, fate in fates.items() if fate in ("refused 400", "refused 409")}
    unexplained = [path for path in refused if not has_unfit_uids(path.read_bytes()) and not is_unreadable(path)]
    assert [str(path.relative_to(corpus)) for path in unexplained] == []
    others = {
        str(path.relative_to(corpus)): fate for path, fate in fates.items() if fate != SAME and path not in refused
    }
    # Sequences nested a hundred deep are over limits.nesting, whatever else is right with them.
    assert set(others.values()) <= {"refused 413"}, others
    assert len(others) < 5
    assert list(fates.values()).count(SAME) > 700
