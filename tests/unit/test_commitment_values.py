"""Requests and reports of Storage Commitment as attributes: what is read, what is forgiven, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from isocenter.errors import InvalidArgument, LimitExceeded
from isocenter.services.normalized import encoded
from isocenter.services.storage_commitment import (
    CommitmentReport,
    CommitmentRequest,
    Reference,
    read_report,
    read_request,
    report_model,
    request_model,
)
from isocenter.wire.dicomjson import dataset_json

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
SYNTAXES = [f"1.2.840.10008.1.2{end}" for end in (".1", "", ".2", ".1.99")]
GOOD, BAD, WORSE = Reference(CT, "1.2.1"), Reference(MR, "1.2.2"), Reference(CT, "1.2.30")


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_requests_and_reports_in_every_transfer_syntax(syntax: str) -> None:
    def received(model: dict[str, Any]) -> dict[str, Any]:
        return dataset_json(encoded(model, syntax, ()), syntax)

    request = CommitmentRequest("2.25.1", (GOOD, BAD, WORSE))
    assert request == read_request(received(request_model(request)), most=3)
    mixed = CommitmentReport("2.25.1", frozenset({GOOD}), {BAD: 0x0112, WORSE: 0x0131})
    assert (2, mixed) == (mixed.event_type, read_report(received(report_model(mixed, "PACS"))))
    fine = CommitmentReport("2.25.1", frozenset({GOOD, BAD}), {})
    assert (1, fine) == (fine.event_type, read_report(received(report_model(fine, "PACS"))))
    nothing = CommitmentReport("2.25.1", frozenset(), {GOOD: 0x0110})
    assert (2, nothing) == (nothing.event_type, read_report(received(report_model(nothing, "PACS"))))
    assert "00081199" not in report_model(nothing, "PACS")
    assert "00081198" not in report_model(fine, "PACS")


def test_a_reference_counts_once_and_keeps_its_place() -> None:
    model = request_model(CommitmentRequest("2.25.1", (BAD, GOOD, BAD)))
    assert (BAD, GOOD) == read_request(model, most=3).references
    with pytest.raises(LimitExceeded, match="at most 2"):
        read_request(model, most=2)


def test_what_is_said_to_be_committed_and_to_have_failed_has_failed() -> None:
    model = report_model(CommitmentReport("2.25.1", frozenset({GOOD, BAD}), {WORSE: 0x0110}), "PACS")
    model["00081198"]["Value"].append({key: model["00081199"]["Value"][0][key] for key in ("00081150", "00081155")})
    twice = model["00081199"]["Value"][0]["00081155"]["Value"][0]
    report = read_report(model)
    assert {twice: 0x0110, WORSE.instance: 0x0110} == {one.instance: why for one, why in report.failed.items()}
    assert {GOOD.instance, BAD.instance} - {twice} == {one.instance for one in report.committed}


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("(0008,1195)", {"00081195": {"vr": "UI"}}),
        ("(0008,1195)", {"00081195": {"vr": "LO", "Value": ["2.25.1"]}}),
        ("(0008,1195)", {"00081195": {"vr": "UI", "Value": ["2.25." + "1" * 64]}}),
        ("(0008,1199)", {"00081199": {"vr": "SQ"}}),
        ("(0008,1199)[0].(0008,1150)", {"00081199": {"vr": "SQ", "Value": [{}]}}),
        (
            "(0008,1199)[0].(0008,1155)",
            {"00081199": {"vr": "SQ", "Value": [{"00081150": {"vr": "UI", "Value": [CT]}, "00081155": {"vr": "UI"}}]}},
        ),
    ],
)
def test_refusals_name_the_element(path: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as raised:
        read_request({**request_model(CommitmentRequest("2.25.1", (GOOD,))), **changes}, most=9)
    assert path == raised.value.tag_path


def test_uids_with_leading_zeros_are_only_repeated() -> None:
    legacy = CommitmentRequest("1.2.0034", (Reference(CT, "1.2.05"),))
    assert legacy == read_request(request_model(legacy), most=1)
