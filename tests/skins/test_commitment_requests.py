"""What is answered to requests for Storage Commitment that are none, too large or not allowed; they leave no job."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import ours
from commitment_scu import (
    CT,
    QUICK,
    ask,
    associated,
    jobs,
    modality,
    send,
)
from isocenter.services.normalized import encoded
from isocenter.services.storage_commitment import (
    Reference,
)
from isocenter.std.sop_classes import STORAGE_COMMITMENT_PUSH
from isocenter.ul import events
from isocenter.wire.command import Verb
from raw_scu import EXPLICIT, raw_scu

ITEM = {"00081150": {"vr": "UI", "Value": [CT]}, "00081155": {"vr": "UI", "Value": ["1.2.3"]}}
UID = {"00081195": {"vr": "UI", "Value": ["1.2.3.4"]}}


def sequence(*items: dict[str, Any]) -> dict[str, Any]:
    return {"00081199": {"vr": "SQ", "Value": list(items)}}


@pytest.mark.parametrize(
    ("expected", "information", "changes"),
    [
        (0x0123, {**UID, **sequence(ITEM)}, {"ActionTypeID": 2}),
        (0x0123, {**UID, **sequence(ITEM)}, {"ActionTypeID": None}),
        (0x0112, {**UID, **sequence(ITEM)}, {"RequestedSOPInstanceUID": "1.2.3"}),
        (0x0117, {**UID, **sequence(ITEM)}, {"RequestedSOPInstanceUID": None}),
        (0x0117, {**UID, **sequence(ITEM)}, {"RequestedSOPInstanceUID": "1.2.x"}),
        (0x0118, {**UID, **sequence(ITEM)}, {"RequestedSOPClassUID": CT}),
        (0x0118, {**UID, **sequence(ITEM)}, {"RequestedSOPClassUID": None}),
        (0x0211, {**UID, **sequence(ITEM)}, {"CommandField": int(Verb.N_SET)}),
        (0x0211, {**UID, **sequence(ITEM)}, {"CommandField": int(Verb.N_EVENT_REPORT)}),
        (0x0211, {**UID, **sequence(ITEM)}, {"CommandField": int(Verb.C_FIND)}),
        (0x0115, None, {}),
        (0x0115, UID, {}),
        (0x0115, {**UID, **sequence()}, {}),
        (0x0115, {**UID, "00081199": {"vr": "UI", "Value": ["1.2"]}}, {}),
        (0x0115, sequence(ITEM), {}),
        (0x0115, {"00081195": {"vr": "UI", "Value": ["1.2", "1.3"]}, **sequence(ITEM)}, {}),
        (0x0115, {"00081195": {"vr": "UI", "Value": ["1.2/../3"]}, **sequence(ITEM)}, {}),
        (0x0115, {**UID, **sequence(ITEM, {"00081150": ITEM["00081150"]})}, {}),
        (0x0115, {**UID, **sequence({**ITEM, "00081155": {"vr": "UI", "Value": ["DROP TABLE"]}})}, {}),
        (0x0115, b"\x08\x00\x95\x11UI\xff\xff1.2", {}),
        (0x0213, {**UID, **sequence(*({**ITEM, "00081155": {"vr": "UI", "Value": [f"1.{n}"]}} for n in range(5)))}, {}),
        (0x0213, {**UID, **sequence(ITEM), "00081030": {"vr": "UT", "Value": ["x" * 5000]}}, {}),
    ],
)
def test_what_is_no_request_is_refused_and_leaves_no_job(
    tmp_path: Path, expected: int, information: Any, changes: dict[str, Any]
) -> None:
    limits = {"commitment_references": 4, "limits_identifier_bytes": 4096}
    with ours.node(tmp_path, **QUICK, **limits) as node, raw_scu(node.dimse[1]) as scu:
        associated(scu)
        raw = encoded(information, EXPLICIT, ()) if isinstance(information, dict) else information
        answer = send(scu, raw, **changes)
        assert f"{expected:04X}" == f"{answer['Status']:04X}", answer.get("ErrorComment")
        if expected == 0x0123:
            assert changes["ActionTypeID"] or 0 == answer["ActionTypeID"]
        # and the association stands
        assert 0 == ask(scu, [Reference(CT, "1.2.3")])["Status"]
        assert 1 == len(jobs(node))


def test_what_is_owed_is_bounded_and_then_refused(tmp_path: Path) -> None:
    wait = {**QUICK, "commitment_delay": 60.0, "commitment_pending": 3}
    with ours.node(tmp_path, **wait) as node, raw_scu(node.dimse[1]) as scu:
        associated(scu)
        first, second = ([Reference(CT, f"1.2.{n}"), Reference(CT, f"1.3.{n}")] for n in range(2))
        assert [0, 0x0213, 0] == [ask(scu, some)["Status"] for some in (first, second, second[:1])]
        assert [1, 2] == [job.total for job in jobs(node)]


def test_a_peer_without_the_right_to_ask_is_not_heard(tmp_path: Path) -> None:
    stranger = dataclasses.replace(modality(1), services=frozenset({"echo", "store"}))
    with ours.node(tmp_path, peers=[stranger], **QUICK) as node, raw_scu(node.dimse[1]) as scu:
        accepted = scu.associate((STORAGE_COMMITMENT_PUSH, (EXPLICIT,)), calling="MODALITY")
        assert isinstance(accepted, events.AssociationAccepted)
        assert [3] == [context.result for context in accepted.ac.contexts]
