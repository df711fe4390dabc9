"""The table of interoperability says what the marked tests show, all of it and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

import interop_table
from interop_table import Case

pytest_plugins = ["pytester"]

MARKED = """
import pytest

@pytest.mark.interop(service="C-ECHO", peer="Somebody", role="SCP")
@pytest.mark.parametrize("number", [1, 2])
def test_it(number):
    assert number < LIMIT
"""


def test_every_marked_test_has_its_row_and_every_row_its_test() -> None:
    marked, (_, recorded) = interop_table.marked_cases(), interop_table.read_record()
    assert [case for case in marked if case not in recorded] == [], "run: pytest tests/interop --interop-table"
    assert [case for case in recorded if case not in marked] == []
    page = (interop_table.ROOT / "docs" / "reference" / "interop.md").read_text("utf-8")
    assert [case for case in marked if f"| {case.service} | {case.peer} |" not in page] == []


def test_each_peer_is_tried_in_both_roles_with_each_service_or_cannot_do_it() -> None:
    cases = interop_table.marked_cases()
    assert interop_table.lacking(cases) == []
    one = next(case for case in cases if (case.service, case.peer, case.role) == ("Verification", "Orthanc", "SCP"))
    assert interop_table.lacking(case for case in cases if case != one) == [("Verification", "Orthanc", "SCP")]
    both = Case("C-GET, Study Root", "Orthanc", "SCP", "test_x.py::test_orthanc_has_learned_it")
    assert interop_table.lacking([*cases, both]) == [("C-GET, Study Root", "Orthanc", "SCP")]


def test_roles_are_those_of_dimse(tmp_path: Path) -> None:
    for role, fine in (("SCP", True), ("server", False)):
        file = interop_table.ROOT / "tests" / "docs" / "no" / "test_x.py"
        given = {"service": "C-ECHO", "peer": "Somebody", "role": role}
        if fine:
            assert interop_table._case(str(file), given).role == role
        else:
            with pytest.raises(ValueError, match="role"):
                interop_table._case(str(file), given)


@pytest.mark.parametrize(("limit", "rows"), [(3, 1), (2, 0)])
def test_a_row_is_recorded_when_all_parameters_pass(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, limit: int, rows: int
) -> None:
    record = pytester.path / "table.json"
    stale = Case("C-ECHO", "Somebody", "SCP", "test_it.py::test_it")
    interop_table.write_record({}, [stale, Case("C-FIND", "Nobody", "SCU", "test_gone.py::test_gone")], record)
    monkeypatch.setattr(interop_table, "marked_cases", lambda: [stale])
    monkeypatch.setattr(interop_table, "peer_versions", lambda: {"Somebody": "1"})
    pytester.makepyfile(test_it=MARKED.replace("LIMIT", str(limit)))
    pytester.inline_run("-p", "no:cacheprovider", "-p", "no:asyncio", plugins=[interop_table.Recorder(record)])
    versions, cases = interop_table.read_record(record)
    assert (versions, len(cases)) == ({"Somebody": "1"}, rows)
