"""Verification service class (PS3.4 Annex A), both roles."""

from __future__ import annotations

from collections.abc import Iterable

from isocenter.services.base import Reply, Request, Service
from isocenter.std.sop_classes import VERIFICATION
from isocenter.ul.negotiation import Support
from isocenter.wire.command import NO_DATA_SET, CommandSet, Verb

# No data set ever follows, so the transfer syntax has no meaning; these are what peers propose.
TRANSFER_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2")

_SUPPORT = Support(frozenset(TRANSFER_SYNTAXES))


class VerificationService(Service):
    """Answers C-ECHO with success."""

    name = "Verification"

    def sop_classes(self) -> Iterable[str]:
        return (VERIFICATION,)

    def supports(self, abstract_syntax: str) -> Support | None:
        return _SUPPORT if abstract_syntax == VERIFICATION else None

    def c_echo(self, request: Request, data_set: bytes) -> Reply:
        return Reply()  # within the call that brought the request: a task of its own would cost as much again


def echo_request(message_id: int) -> CommandSet:
    """C-ECHO-RQ (PS3.7 section 9.3.5.1)."""
    return {
        "AffectedSOPClassUID": VERIFICATION,
        "CommandField": Verb.C_ECHO,
        "MessageID": message_id,
        "CommandDataSetType": NO_DATA_SET,
    }
