"""Which services were shown to work with whom: from the tests' own marks, and from the run in which they passed.

A test says what it shows, once for each service, peer and role of ours:

    @pytest.mark.interop(service="C-FIND, Study Root", peer="DCMTK findscu", role="SCP")

`pytest --interop-table` writes what passed to tests/interop/table.json, of which tools/generate_docs.py makes
docs/reference/interop.md. A test of several parameters has passed when all of them have. tests/docs compares the marks
with the record, so that neither can be forgotten.

What a peer cannot do has no test. It stands in LACKS with its reason, and tests/docs wants each cell of MATRIX to have
a test or a reason.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Generator, Iterable, Iterator
from dataclasses import astuple, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "tests" / "interop" / "table.json"
OPTION = "--interop-table"


@dataclass(frozen=True, order=True)
class Case:
    """One thing that a test shows. `role` is ours, "SCP" or "SCU"; `test` its path and name."""

    service: str
    peer: str
    role: str
    test: str


@dataclass(frozen=True)
class Lack:
    """What a peer has not, and so nobody can show: some services in one role of ours."""

    peer: str
    role: str
    services: tuple[str, ...]
    why: str


MATRIX = (
    "Verification",
    "Storage",
    *(f"{verb}, {root} Root" for verb in ("C-FIND", "C-GET", "C-MOVE") for root in ("Patient", "Study")),
    *(f"{verb}, Composite Instance Root" for verb in ("C-GET", "C-MOVE")),
    "C-GET, Without Bulk Data",
    "Storage Commitment",
)
"""The services of which each of PEERS is wanted in both roles."""

PEERS = ("DCMTK", "Orthanc", "pynetdicom")

_NEWER = ("C-GET, Composite Instance Root", "C-MOVE, Composite Instance Root", "C-GET, Without Bulk Data")
_GET = ("C-GET, Patient Root", "C-GET, Study Root")
LACKS = (
    Lack("DCMTK", "SCP", _NEWER, "`getscu` and `movescu` have no option for it."),
    Lack("DCMTK", "SCU", _NEWER, "`dcmqrscp` does not provide it."),
    Lack("DCMTK", "SCP", ("Storage Commitment",), "DCMTK has no tool that asks for it."),
    Lack("DCMTK", "SCU", ("Storage Commitment",), "DCMTK has no tool that provides it."),
    Lack("Orthanc", "SCP", _GET, "Orthanc asks for C-GET since 1.12.6; the recorded version does not propose it."),
    Lack(
        "Orthanc",
        "SCP",
        ("C-MOVE, Patient Root",),
        "Orthanc asks for C-MOVE in the Study Root alone, also for a whole patient. The Study Root has no such level, "
        "so that request is refused (A900); move the patient's studies instead.",
    ),
    Lack("Orthanc", "SCP", _NEWER, "Orthanc does not ask for it."),
    Lack("Orthanc", "SCU", _NEWER, "Orthanc does not provide it."),
)


def lacking(cases: Iterable[Case]) -> list[tuple[str, str, str]]:
    """The cells of MATRIX, as service, peer and role, that have neither a test nor a reason; or both."""
    tested = {(case.service, peer, case.role) for case in cases for peer in PEERS if case.peer.startswith(peer)}
    excused = {(service, lack.peer, lack.role) for lack in LACKS for service in lack.services}
    cells = {(service, peer, role) for service in MATRIX for peer in PEERS for role in ("SCP", "SCU")}
    return sorted((cells | excused) - (tested ^ excused))


def marked_cases(folder: Path = ROOT / "tests" / "interop") -> list[Case]:
    """What the tests of a folder are marked with, read from their text."""
    return sorted(case for path in folder.glob("test_*.py") for case in _of_file(path))


def _of_file(path: Path) -> Iterator[Case]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.interop":
                given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in mark.keywords}
                yield _case(f"{path.relative_to(ROOT)}::{node.name}", given)


def _case(test: str, given: dict[Any, Any]) -> Case:
    case = Case(test=test, **given)
    if case.role not in ("SCP", "SCU"):
        raise ValueError(f"{test}: role {case.role!r}")
    return case


def read_record(file: Path = RECORD) -> tuple[dict[str, str], list[Case]]:
    """Versions of the peers, and the cases of the last recorded runs."""
    record = json.loads(file.read_text("utf-8"))
    return record["versions"], [Case(**case) for case in record["cases"]]


def write_record(versions: dict[str, str], cases: Iterable[Case], file: Path = RECORD) -> None:
    """One line for each case, so that a change shows which."""
    lines = [
        json.dumps(dict(zip(Case.__dataclass_fields__, astuple(case), strict=True))) for case in sorted(set(cases))
    ]
    text = ",\n".join(f"  {line}" for line in lines)
    file.write_text(f'{{"versions": {json.dumps(versions)},\n "cases": [\n{text}\n]}}\n', "utf-8")


class Recorder:
    """The plug-in of `--interop-table`: notes what ran, and what of it passed."""

    def __init__(self, record: Path = RECORD) -> None:
        self._record = record
        self._passed: dict[str, bool] = {}
        self._cases: dict[str, list[Case]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        marks = [mark.kwargs for mark in item.iter_markers("interop") if mark.kwargs]
        if marks:
            test = item.nodeid.partition("[")[0]
            self._cases[test] = [_case(test, mark) for mark in marks]
            if report.when == "call" or not report.passed:
                self._passed[test] = report.passed and self._passed.get(test, True)
        return report

    def pytest_sessionfinish(self) -> None:
        """Put what ran in the place of what is known of the same tests."""
        _, known = read_record(self._record) if self._record.exists() else ({}, [])
        kept = [case for case in known if case.test not in self._cases]
        passed = [case for test, cases in self._cases.items() if self._passed.get(test) for case in cases]
        marked = set(marked_cases())
        write_record(peer_versions(), [case for case in (*kept, *passed) if case in marked], self._record)


def peer_versions() -> dict[str, str]:
    """The software that is installed here."""
    import re
    import subprocess

    import peers

    found = {}
    for name, program in (("DCMTK", "storescp"), ("Orthanc", "Orthanc"), ("OpenSSL", "openssl"), ("curl", "curl")):
        path = peers.find_program(program)
        if path is not None:
            flag = "version" if program == "openssl" else "--version"
            text = subprocess.run([path, flag], capture_output=True, text=True, check=False).stdout
            number = re.search(r"\d+\.\d+(?:\.\d+)?", text)
            found[name] = number.group() if number else "?"
    if peers.find_program("odil") and peers.find_program("dpkg-query"):  # odil does not tell its version
        text = subprocess.run(
            ["dpkg-query", "-W", "-f=${Version}", "odil"], capture_output=True, text=True, check=False
        )
        found["odil"] = text.stdout.partition("-")[0]
    for package in ("pydicom", "pynetdicom", "dicomweb-client"):
        found[package] = version(package)
    return found
