"""Negotiation: each request gets the answer that PS3.7 Annex D and PS3.8 9.3.3/9.3.4 define."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isocenter.ul.negotiation import Policy, Support, agreed, generalized, negotiate
from isocenter.wire.pdu import (
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    CommonExtendedNegotiation,
    ContextResult,
    ExtendedNegotiation,
    ProposedContext,
    RoleSelection,
    UserInformation,
)

CT, ECHO = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.1"
IMPLICIT, EXPLICIT, JPEG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"
SUPPORT = {CT: Support(frozenset({IMPLICIT, EXPLICIT})), ECHO: Support(frozenset({IMPLICIT}))}
POLICY = Policy(SUPPORT.get, "1.2.3", "TEST", frozenset({"US"}), max_pdu=65536)


def rq(*contexts: ProposedContext, **changes: object) -> AssociateRQ:
    return AssociateRQ("US", "THEM", contexts, UserInformation(max_length=16384))._replace(**changes)


def test_contexts_are_answered_one_by_one() -> None:
    request = rq(
        ProposedContext(1, CT, (JPEG, EXPLICIT, IMPLICIT)),
        ProposedContext(3, CT, (JPEG,)),
        ProposedContext(5, "1.2.3.4", (IMPLICIT,)),
        ProposedContext(7, ECHO, ()),
    )
    answer = negotiate(request, POLICY)
    assert isinstance(answer, AssociateAC)
    assert answer.contexts == (
        ContextResult(1, 0, EXPLICIT),
        ContextResult(3, 4, JPEG),
        ContextResult(5, 3, IMPLICIT),
        ContextResult(7, 4, IMPLICIT),
    )
    assert (answer.called, answer.calling, answer.user.max_length) == ("US", "THEM", 65536)


def test_our_preference_comes_before_the_peers_order() -> None:
    answer = negotiate(rq(ProposedContext(1, CT, (EXPLICIT, IMPLICIT))), replace(POLICY, preference=(IMPLICIT,)))
    assert isinstance(answer, AssociateAC)
    assert answer.contexts == (ContextResult(1, 0, IMPLICIT),)


@pytest.mark.parametrize(
    ("changes", "check", "expected"),
    [
        ({"protocol_version": 2}, False, AssociateRJ(1, 2, 2)),
        ({"application_context": "1.2.3"}, False, AssociateRJ(1, 1, 2)),
        ({"calling": ""}, False, AssociateRJ(1, 1, 3)),
        ({"called": "OTHER"}, True, AssociateRJ(1, 1, 7)),
    ],
)
def test_rejections(changes: dict[str, object], check: bool, expected: AssociateRJ) -> None:
    assert expected == negotiate(rq(**changes), replace(POLICY, check_called=check))


def test_called_title_is_not_tested_unless_asked_for() -> None:
    assert isinstance(negotiate(rq(called="OTHER"), POLICY), AssociateAC)


@pytest.mark.parametrize(
    ("asked", "operations", "window", "expected"),
    [
        (None, 4, 2, None),
        ((1, 1), 4, 2, (1, 1)),
        ((8, 8), 4, 2, (4, 2)),
        ((0, 0), 4, 2, (4, 2)),
        ((0, 1), 4, 2, (4, 1)),
        ((1, 0), 4, 2, (1, 2)),
        ((3, 5), 4, 8, (3, 5)),
    ],
)
def test_asynchronous_window(
    asked: tuple[int, int] | None, operations: int, window: int, expected: tuple[int, int] | None
) -> None:
    policy = replace(POLICY, operations=operations, window=window)
    answer = negotiate(rq(user=UserInformation(async_operations=asked)), policy)
    assert isinstance(answer, AssociateAC)
    assert expected == answer.user.async_operations


def test_roles() -> None:
    request = rq(
        ProposedContext(1, CT, (IMPLICIT,)),
        user=UserInformation(roles=(RoleSelection(CT, True, True), RoleSelection("1.2.9", True, True))),
    )
    answer = negotiate(request, POLICY)
    assert isinstance(answer, AssociateAC)
    assert answer.user.roles == (RoleSelection(CT, True, False),)
    assert (True, False) == (agreed(request, answer)[1].as_scu, agreed(request, answer)[1].as_scp)


def test_an_answer_that_invents_contexts_or_syntaxes_gives_none() -> None:
    request = rq(ProposedContext(1, CT, (IMPLICIT,)))
    answer = AssociateAC("US", "THEM", (ContextResult(1, 0, JPEG), ContextResult(3, 0, IMPLICIT)), UserInformation())
    assert {} == agreed(request, answer)


def test_sop_class_extended_negotiation_is_answered_by_the_service() -> None:
    policy = replace(
        POLICY, supports={CT: replace(SUPPORT[CT], extended=lambda info: info[:2]), ECHO: SUPPORT[ECHO]}.get
    )
    items = (ExtendedNegotiation(CT, b"\1\0\1"), ExtendedNegotiation(ECHO, b"\1"), ExtendedNegotiation("1.2.3", b"\1"))
    contexts = (ProposedContext(1, CT, (EXPLICIT,)), ProposedContext(3, ECHO, (IMPLICIT,)))
    request = rq(*contexts, user=UserInformation(max_length=16384, extended=items))
    answer = negotiate(request, policy)
    assert isinstance(answer, AssociateAC)
    assert answer.user.extended == (ExtendedNegotiation(CT, b"\1\0"),)
    assert {number: context.extended for number, context in agreed(request, answer).items()} == {1: b"\1\0", 3: b""}
    unasked = rq(*contexts)
    assert agreed(unasked, answer)[1].extended == b""


STORAGE = "1.2.840.10008.4.2"
NEW = "1.2.840.10008.5.1.4.1.1.999"


@pytest.mark.parametrize(
    ("item", "result"),
    [
        (CommonExtendedNegotiation(NEW, STORAGE, ("1.2.3", CT)), 0),
        (CommonExtendedNegotiation(NEW, STORAGE, ("1.2.3",)), 3),
        (CommonExtendedNegotiation(NEW, STORAGE), 3),
        (CommonExtendedNegotiation(NEW, "1.2.840.10008.4.3", (CT,)), 3),
        (CommonExtendedNegotiation("1.2.4", STORAGE, (CT,)), 3),
    ],
)
def test_a_class_we_do_not_know_is_taken_as_the_general_one_it_is_related_to(
    item: CommonExtendedNegotiation, result: int
) -> None:
    request = rq(ProposedContext(1, NEW, (EXPLICIT,)), user=UserInformation(common_extended=(item,)))
    answer = negotiate(request, POLICY)
    assert isinstance(answer, AssociateAC)
    assert answer.contexts == (ContextResult(1, result, EXPLICIT),)
    assert answer.user.common_extended == (), "the acceptor does not answer it"
    contexts = agreed(request, answer, generalized(request, POLICY))
    assert [(context.abstract_syntax, context.general) for context in contexts.values()] == [(NEW, CT)] * (result == 0)


def test_a_class_we_know_stays_itself_whatever_it_is_said_to_be_related_to() -> None:
    items = (CommonExtendedNegotiation(ECHO, STORAGE, (CT,)),)
    request = rq(ProposedContext(1, ECHO, (IMPLICIT,)), user=UserInformation(common_extended=items))
    answer = negotiate(request, POLICY)
    assert isinstance(answer, AssociateAC)
    assert [context.general for context in agreed(request, answer, generalized(request, POLICY)).values()] == [""]
