"""What a peer with a list of services may ask for, and what negotiation makes of it."""

from __future__ import annotations

import pytest

from isocenter.dimse.callers import allowed
from isocenter.known_peers import ALL_SERVICES
from isocenter.std import sop_classes as sop
from isocenter.std.non_patient import NON_PATIENT_MODELS
from isocenter.ul.negotiation import Policy, Support, agreed, negotiate
from isocenter.wire.pdu import AssociateAC, AssociateRJ, AssociateRQ, ProposedContext, RoleSelection, UserInformation

CT, PRIVATE, IMPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.3.6.1.4.1.9999.1", "1.2.840.10008.1.2"
ASKED = {
    "echo": sop.VERIFICATION,
    "find": sop.STUDY_ROOT_FIND,
    "get": sop.STUDY_ROOT_GET,
    "move": sop.PATIENT_ROOT_MOVE,
    "ct": CT,
    "private": PRIVATE,
}


def supports(uid: str) -> Support | None:
    return Support(frozenset({IMPLICIT}), scu=uid in (CT, PRIVATE)) if uid in ASKED.values() else None


def policy(**callers: frozenset[str]) -> Policy:
    limited = {title: allowed(supports, services) for title, services in callers.items()}
    return Policy(supports, "1.2.3", "TEST", frozenset({"US"}), callers=limited, check_calling=True)


def accepted(services: set[str], *, role: bool) -> dict[str, tuple[bool, bool]]:
    """What of ASKED is accepted, with the roles SCU and SCP of the caller."""
    contexts = tuple(ProposedContext(2 * n + 1, uid, (IMPLICIT,)) for n, uid in enumerate(ASKED.values()))
    roles = (RoleSelection(CT, True, True), RoleSelection(PRIVATE, True, True)) if role else ()
    rq = AssociateRQ("US", "THEM", contexts, UserInformation(roles=roles))
    answer = negotiate(rq, policy(THEM=frozenset(services)))
    assert isinstance(answer, AssociateAC)
    names = {uid: name for name, uid in ASKED.items()}
    return {names[one.abstract_syntax]: (one.as_scu, one.as_scp) for one in agreed(rq, answer).values()}


def test_services_of_non_patient_objects_go_by_the_same_names() -> None:
    def everything(uid: str) -> Support:
        return Support(frozenset({IMPLICIT}))

    for model in NON_PATIENT_MODELS:
        for name, uid in (("find", model.find), ("move", model.move), ("get", model.get)):
            assert allowed(everything, frozenset({name}))(uid) is not None
            assert allowed(everything, ALL_SERVICES - {name})(uid) is None


@pytest.mark.parametrize(
    ("services", "role", "expected"),
    [
        (set(ALL_SERVICES), False, dict.fromkeys(ASKED, (True, False))),
        (set(ALL_SERVICES), True, {**dict.fromkeys(ASKED, (True, False)), "ct": (True, True), "private": (True, True)}),
        (set(), True, {}),
        ({"echo"}, False, {"echo": (True, False)}),
        ({"store"}, False, {"ct": (True, False), "private": (True, False)}),
        ({"store"}, True, {"ct": (True, False), "private": (True, False)}),
        ({"find", "move"}, True, {"find": (True, False), "move": (True, False)}),
        ({"get"}, False, {"get": (True, False)}),
        ({"get"}, True, {"get": (True, False), "ct": (False, True), "private": (False, True)}),
        ({"get", "store"}, True, {"get": (True, False), "ct": (True, True), "private": (True, True)}),
    ],
)
def test_contexts_by_service(services: set[str], role: bool, expected: dict[str, tuple[bool, bool]]) -> None:
    assert expected == accepted(services, role=role)


def test_titles_nobody_knows() -> None:
    rq = AssociateRQ("US", "OTHER", (), UserInformation())
    assert negotiate(rq, policy(THEM=ALL_SERVICES)) == AssociateRJ(1, 1, 3)
