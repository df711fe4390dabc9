"""Association negotiation as a pure function: request and policy in, answer out (PS3.7 Annex D, PS3.8 9.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from isocenter.wire.pdu import (
    APPLICATION_CONTEXT,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    ContextResult,
    ExtendedNegotiation,
    ProposedContext,
    RoleSelection,
    UserInformation,
)

IDENTITY_REJECTED = AssociateRJ(1, 2, 1)
"""Who the user is could not be verified: permanent, by the ACSE related provider (PS3.7 section D.3.3.7)."""

STORAGE_SERVICE_CLASS = "1.2.840.10008.4.2"  # PS3.4 section B.3.1.4

ACCEPTANCE = 0
ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


@dataclass(frozen=True, slots=True)
class Support:
    """What we do with one abstract syntax: transfer syntaxes, and the roles we can take.

    `extended` answers the service class application information of SOP Class Extended Negotiation (PS3.7 D.3.3.5) with
    what is really done; without it such an item is not answered.
    """

    transfer_syntaxes: frozenset[str]
    scp: bool = True
    scu: bool = False
    extended: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """The acceptor's side of the negotiation. `callers` are the AE titles we know with what each may ask for; others
    are rejected with check_calling."""

    supports: Callable[[str], Support | None]
    implementation_class_uid: str
    implementation_version_name: str
    titles: frozenset[str] = frozenset()  # our AE titles; tested only with check_called
    check_called: bool = False
    max_pdu: int = 1024 * 1024
    operations: int = 1  # requests of one association that we perform at a time
    window: int = 1  # requests of ours on it that may be outstanding: sub-operations of C-GET, event reports
    preference: tuple[str, ...] = field(default=())  # transfer syntaxes we prefer; empty: the peer's order
    callers: Mapping[str, Callable[[str], Support | None]] = field(default_factory=dict)
    check_calling: bool = False

    def for_caller(self, calling: str) -> Policy:
        """With `supports` as far as it goes for this AE title: what `callers` has, else what everybody may ask for."""
        return replace(self, supports=self.callers.get(calling, self.supports))


class Agreed(NamedTuple):
    """One accepted presentation context, as both sides use it.

    `general`: the SOP Class of ours as whose specialization the acceptor takes it; empty: as itself.
    """

    id: int
    abstract_syntax: str
    transfer_syntax: str
    as_scu: bool = False  # the requestor may act as SCU
    as_scp: bool = False  # the requestor may act as SCP
    extended: bytes = b""  # the acceptor's answer to SOP Class Extended Negotiation
    general: str = ""


def confirm_identity(rq: AssociateRQ, ac: AssociateAC, response: bytes = b"") -> AssociateAC:
    """The answer with the User Identity confirmed, if the request wants that (PS3.7 section D.3.3.7)."""
    if rq.user.identity is None or not rq.user.identity.response_requested:
        return ac
    return ac._replace(user=ac.user._replace(identity_response=response))


def negotiate(rq: AssociateRQ, policy: Policy) -> AssociateAC | AssociateRJ:
    """The answer to an A-ASSOCIATE-RQ. Unsupported contexts are refused one by one, never the association."""
    if not rq.protocol_version & 1:
        return AssociateRJ(1, 2, 2)
    if rq.application_context != APPLICATION_CONTEXT:
        return AssociateRJ(1, 1, 2)
    if not rq.calling or not _is_title(rq.calling):
        return AssociateRJ(1, 1, 3)
    if not _is_title(rq.called):
        return AssociateRJ(1, 1, 7)
    if policy.check_calling and rq.calling not in policy.callers:
        return AssociateRJ(1, 1, 3)
    policy = policy.for_caller(rq.calling)
    general = generalized(rq, policy)
    if general:
        known = policy.supports
        policy = replace(policy, supports=lambda uid: known(general.get(uid, uid)))
    if policy.check_called and rq.called not in policy.titles:
        return AssociateRJ(1, 1, 7)
    window = None
    if rq.user.async_operations is not None:
        # PS3.7 D.3.3.3, as the requestor sees it: what it may invoke, and what it is to perform. 0 is unlimited.
        invoked, performed = rq.user.async_operations
        window = (min(invoked or policy.operations, policy.operations), min(performed or policy.window, policy.window))
    user = UserInformation(
        max_length=policy.max_pdu,
        implementation_class_uid=policy.implementation_class_uid,
        implementation_version_name=policy.implementation_version_name,
        async_operations=window,
        roles=_roles(rq, policy),
        extended=_extended(rq, policy),
    )
    as_scp = {role.sop_class for role in user.roles if role.scp}
    contexts = tuple(_context(proposed, policy, as_scp) for proposed in rq.contexts)
    return AssociateAC(rq.called, rq.calling, contexts, user)


def generalized(rq: AssociateRQ, policy: Policy) -> dict[str, str]:
    """What the request proposes, we do not know, and can take as a specialization of what we know, by SOP Class UID.

    SOP Class Common Extended Negotiation (PS3.7 section D.3.3.6) says which general classes a new one is related to.
    Only Storage has such relations (PS3.4 section B.3.1.4), and the acceptor is not to answer the item.
    """
    supports = policy.for_caller(rq.calling).supports
    found: dict[str, str] = {}
    for item in rq.user.common_extended:
        if item.service_class == STORAGE_SERVICE_CLASS and item.sop_class and supports(item.sop_class) is None:
            for general in item.related_general:
                if supports(general) is not None:
                    found.setdefault(item.sop_class, general)
    return found


def _is_title(text: str) -> bool:
    """Whether it is of characters an AE title may have (PS3.5 section 6.2), as it goes to logs and sub-operations."""
    return text.isascii() and text.isprintable()


def _context(proposed: ProposedContext, policy: Policy, as_scp: set[str]) -> ContextResult:
    # The transfer syntax of a refused context has no meaning but must be there (PS3.8 Table 9-18).
    first = proposed.transfer_syntaxes[0] if proposed.transfer_syntaxes else "1.2.840.10008.1.2"
    support = policy.supports(proposed.abstract_syntax)
    if support is None or not (support.scp or proposed.abstract_syntax in as_scp):
        return ContextResult(proposed.id, ABSTRACT_SYNTAX_NOT_SUPPORTED, first)
    offered = [uid for uid in proposed.transfer_syntaxes if uid in support.transfer_syntaxes]
    if not offered:
        return ContextResult(proposed.id, TRANSFER_SYNTAXES_NOT_SUPPORTED, first)
    for uid in policy.preference:
        if uid in offered:
            return ContextResult(proposed.id, ACCEPTANCE, uid)
    return ContextResult(proposed.id, ACCEPTANCE, offered[0])


def _roles(rq: AssociateRQ, policy: Policy) -> tuple[RoleSelection, ...]:
    # One answer for each SOP Class that is proposed: more would be of no use to the peer, and a peer that asks for
    # thousands of others would make an answer that does not fit its item.
    proposed = {context.abstract_syntax for context in rq.contexts}
    answers: dict[str, RoleSelection] = {}
    for role in rq.user.roles:
        support = policy.supports(role.sop_class) if role.sop_class in proposed else None
        if support is not None:
            answer = RoleSelection(role.sop_class, role.scu and support.scp, role.scp and support.scu)
            answers.setdefault(role.sop_class, answer)
    return tuple(answers.values())


def _extended(rq: AssociateRQ, policy: Policy) -> tuple[ExtendedNegotiation, ...]:
    proposed = {context.abstract_syntax for context in rq.contexts}
    answers: dict[str, ExtendedNegotiation] = {}
    for item in rq.user.extended:
        support = policy.supports(item.sop_class) if item.sop_class in proposed else None
        if support is not None and support.extended is not None:
            answers.setdefault(item.sop_class, ExtendedNegotiation(item.sop_class, support.extended(item.info)))
    return tuple(answers.values())


def agreed(rq: AssociateRQ, ac: AssociateAC, general: Mapping[str, str] | None = None) -> dict[int, Agreed]:
    """The accepted presentation contexts by ID, with the requestor's roles (PS3.7 D.3.3.4.2; SCU by default).

    Contexts that the answer invents are dropped. `general` is what generalized() gave the acceptor.
    """
    proposed = {c.id: c for c in rq.contexts}
    asked = {role.sop_class for role in rq.user.roles}
    answered = {role.sop_class: role for role in ac.user.roles if role.sop_class in asked}
    asked_more = {item.sop_class for item in rq.user.extended}
    more = {item.sop_class: item.info for item in ac.user.extended if item.sop_class in asked_more}
    result: dict[int, Agreed] = {}
    for context in ac.contexts:
        mine = proposed.get(context.id)
        if context.result != ACCEPTANCE or mine is None or context.transfer_syntax not in mine.transfer_syntaxes:
            continue
        role = answered.get(mine.abstract_syntax)
        scu, scp = (True, False) if role is None else (role.scu, role.scp)
        extended = more.get(mine.abstract_syntax, b"")
        served_as = (general or {}).get(mine.abstract_syntax, "")
        result[context.id] = Agreed(
            context.id, mine.abstract_syntax, context.transfer_syntax, scu, scp, extended, served_as
        )
    return result
