"""The rules all normalized services share: which requests reach a service, and with what the others are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterable
from typing import Any

import pytest

from isocenter.errors import ArchiveBusy, DataSetError, DuplicateInstance, InvalidArgument, IsocenterError, NotFound
from isocenter.services.base import Peer, Reply, Request, Service
from isocenter.services.normalized import EventReceiver, NormalizedService, Operation, encoded, normalized_request
from isocenter.ul.negotiation import Agreed, Support
from isocenter.wire.command import NORMALIZED, CommandSet, Verb, decode_command, encode_command
from isocenter.wire.dicomjson import dataset_json
from isocenter.wire.limits import Limits

MPPS, OTHER, META = "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.1.20.1", "1.2.840.10008.5.1.1.9"
FILM_BOX = "1.2.840.10008.5.1.1.2"
EXPLICIT, IMPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in (".1", "", ".2", ".1.99"))
MODEL = {"00400253": {"vr": "SH", "Value": ["STEP 1"]}, "00280010": {"vr": "US", "Value": [512]}}


class Instances(NormalizedService):
    """SOP Instances in a dictionary; N-ACTION 1 empties one, and what happened is listed."""

    name = "Instances"

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self.heard: list[Operation] = []

    def sop_classes(self) -> Iterable[str]:
        return (MPPS,)

    def supports(self, abstract_syntax: str) -> Support | None:
        return Support(frozenset({EXPLICIT})) if abstract_syntax in (MPPS, META) else None

    def members(self, abstract_syntax: str) -> Collection[str]:
        return (FILM_BOX,) if abstract_syntax == META else (abstract_syntax,)

    async def create(self, operation: Operation) -> Reply:
        uid = operation.instance or "1.2.3.4"
        if uid in self.known:
            raise DuplicateInstance("there is one")
        self.known[uid] = operation.model()
        return Reply(elements={"AffectedSOPInstanceUID": uid})

    async def get(self, operation: Operation) -> Reply:
        if operation.instance not in self.known:
            raise NotFound("there is none")
        return operation.wanted(self.known[operation.instance])

    async def action(self, operation: Operation) -> Reply:
        self.heard.append(operation)
        return operation.no_such_type() if operation.type_id != 1 else operation.reply(MODEL)


class Nothing(NormalizedService):
    name = "Nothing"

    def supports(self, abstract_syntax: str) -> Support | None:
        return Support(frozenset({EXPLICIT}))


METHODS = {
    Verb.N_CREATE: Service.n_create,
    Verb.N_SET: Service.n_set,
    Verb.N_GET: Service.n_get,
    Verb.N_ACTION: Service.n_action,
    Verb.N_DELETE: Service.n_delete,
    Verb.N_EVENT_REPORT: Service.n_event_report,
}


def ask(
    service: Service, command: CommandSet, data_set: bytes = b"", syntax: str = EXPLICIT, context: str = MPPS
) -> Reply:
    """What the service answers to a command set as it would arrive."""
    arrived = decode_command(encode_command(command))
    request = Request(Peer("SCU", "SCP", "somewhere"), Agreed(1, context, syntax, True), arrived, None)  # type: ignore[arg-type]
    verb = Verb(arrived["CommandField"])
    answer: Awaitable[Reply] = getattr(service, METHODS[verb].__name__)(request, data_set)

    async def wait() -> Reply:
        return await answer

    return asyncio.run(wait())


@pytest.mark.parametrize("verb", sorted(NORMALIZED))
def test_what_names_no_class_or_instance_of_the_context_is_refused(verb: Verb) -> None:
    service = Instances()
    good = normalized_request(verb, 7, MPPS, "1.2.3", type_id=1)
    prefix = "Affected" if verb in (Verb.N_CREATE, Verb.N_EVENT_REPORT) else "Requested"

    def changed(**changes: str | None) -> CommandSet:
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    assert 0x0118 == ask(service, changed(**{f"{prefix}SOPClassUID": OTHER})).status
    assert 0x0118 == ask(service, changed(**{f"{prefix}SOPClassUID": None})).status
    assert 0x0117 == ask(service, changed(**{f"{prefix}SOPInstanceUID": "1.02.3"})).status
    missing = changed(**{f"{prefix}SOPInstanceUID": None})
    assert (0x0000 if verb == Verb.N_CREATE else 0x0117) == ask(service, missing).status
    assert not service.heard


@pytest.mark.parametrize("verb", sorted(NORMALIZED))
def test_a_verb_that_a_service_does_not_take_is_an_unrecognized_operation(verb: Verb) -> None:
    assert 0x0211 == ask(Nothing(), normalized_request(verb, 1, MPPS, "1.2.3", type_id=1)).status
    assert 0x0211 == ask(Service(), normalized_request(verb, 1, MPPS, "1.2.3", type_id=1)).status


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, DEFLATED])
def test_attributes_go_in_and_come_out_in_the_context_s_transfer_syntax(syntax: str) -> None:
    service = Instances()
    made = ask(service, normalized_request(Verb.N_CREATE, 1, MPPS), encoded(MODEL, syntax), syntax)
    assert (0, "1.2.3.4") == (made.status, made.elements["AffectedSOPInstanceUID"])
    whole = ask(service, normalized_request(Verb.N_GET, 2, MPPS, "1.2.3.4"), syntax=syntax)
    assert whole.data_set is not None
    assert dataset_json(whole.data_set, syntax)["00400253"] == MODEL["00400253"]
    some = ask(service, normalized_request(Verb.N_GET, 3, MPPS, "1.2.3.4", attributes=(0x00280010,)), syntax=syntax)
    assert some.data_set is not None
    assert (0, ["00280010"]) == (some.status, [k for k in dataset_json(some.data_set, syntax) if k != "00080005"])
    lacking = ask(service, normalized_request(Verb.N_GET, 3, MPPS, "1.2.3.4", attributes=(0x00280010, 0x00280011)))
    assert 0x0107 == lacking.status


def test_actions_have_types_and_their_replies_say_which() -> None:
    service = Instances()
    done = ask(service, normalized_request(Verb.N_ACTION, 1, MPPS, "1.2.3", type_id=1), encoded(MODEL, EXPLICIT))
    assert (0, {"ActionTypeID": 1}) == (done.status, dict(done.elements))
    assert MODEL["00400253"] == service.heard[0].model()["00400253"]
    other = ask(service, normalized_request(Verb.N_ACTION, 1, MPPS, "1.2.3", type_id=9))
    assert (0x0123, {"ActionTypeID": 9}) == (other.status, dict(other.elements))


def test_a_meta_sop_class_stands_for_its_members() -> None:
    service = Instances()
    assert 0 == ask(service, normalized_request(Verb.N_CREATE, 1, FILM_BOX), context=META).status
    assert 0x0118 == ask(service, normalized_request(Verb.N_CREATE, 1, META), context=META).status


def test_events_reach_the_receiver_and_are_answered_by_it() -> None:
    heard: list[Operation] = []

    async def take(operation: Operation) -> Reply:
        heard.append(operation)
        return operation.no_such_type() if operation.type_id > 2 else Reply()

    receiver = EventReceiver(take, (MPPS,))
    assert receiver.supports(OTHER) is None
    support = receiver.supports(MPPS)
    assert support is not None
    assert (False, True) == (support.scp, support.scu)
    event = normalized_request(Verb.N_EVENT_REPORT, 1, MPPS, "1.2.3", type_id=2)
    assert 0 == ask(receiver, event, encoded(MODEL, EXPLICIT)).status
    unknown = ask(receiver, normalized_request(Verb.N_EVENT_REPORT, 1, MPPS, "1.2.3", type_id=3))
    assert (0x0113, {"EventTypeID": 3}) == (unknown.status, dict(unknown.elements))
    assert [2, 3] == [one.type_id for one in heard]


@pytest.mark.parametrize(
    ("expected", "error"),
    [
        (0x0115, DataSetError("cut off")),
        (0x0115, InvalidArgument("no UID")),
        (0x0213, ArchiveBusy("locked")),
        (0x0111, DuplicateInstance("again")),
        (0x0112, NotFound("where")),
        (0x0110, IsocenterError("what")),
    ],
)
def test_errors_have_the_codes_of_annex_c(expected: int, error: IsocenterError) -> None:
    assert {expected} == {Reply.of(error, verb).status for verb in NORMALIZED}
    assert error.dimse_status == Reply.of(error, Verb.C_STORE).status


def test_a_deflated_data_set_that_is_a_bomb_is_refused_before_it_is_held() -> None:
    bomb = encoded({"00400253": {"vr": "UT", "Value": ["x" * 3_000_000]}}, DEFLATED)
    request = Request(Peer("", "", ""), Agreed(1, MPPS, DEFLATED), {}, None)  # type: ignore[arg-type]
    operation = Operation(request, Verb.N_SET, MPPS, "1.2.3", data_set=bomb)
    with pytest.raises(DataSetError, match="inflates") as raised:
        operation.model(Limits(identifier_bytes=1_000_000))
    assert 0x0213 == Reply.of(raised.value, Verb.N_SET).status
