"""The normalized verbs over a real association, in both directions at once, by our client, its blocking twin and
pynetdicom, whose opinion of the command sets counts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt

import isocenter
import ours
from isocenter.dimse.endpoint import dimse_listeners, dimse_server
from isocenter.errors import (
    DuplicateInstance,
    NoPresentationContext,
    NotFound,
    OperationFailed,
    UsageError,
)
from isocenter.net.address import parse_address
from isocenter.net.normalized import Event
from isocenter.net.requestor import Proposal, associate
from isocenter.services.base import Reply
from isocenter.services.normalized import (
    TRANSFER_SYNTAXES,
    EventReceiver,
    NormalizedService,
    Operation,
    encoded,
    normalized_request,
)
from isocenter.settings import Settings
from isocenter.ul.negotiation import Support
from isocenter.wire.command import Verb

MPPS, UPS = "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.5.1.4.34.6.1"
FILM_SESSION = "1.2.840.10008.5.1.1.1"
EXPLICIT, IMPLICIT = TRANSFER_SYNTAXES


class Steps(NormalizedService):
    """Performed procedure steps in memory. N-ACTION 1 reports event 1 on the association it came on, and says what the
    peer answered."""

    name = "Steps"

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}

    def sop_classes(self) -> Iterable[str]:
        return (MPPS,)

    def supports(self, abstract_syntax: str) -> Support | None:
        return Support(frozenset(TRANSFER_SYNTAXES), scu=True) if abstract_syntax == MPPS else None

    async def create(self, operation: Operation) -> Reply:
        uid = operation.instance or "1.2.3.4"
        if uid in self.known:
            raise DuplicateInstance("there is one")
        self.known[uid] = operation.model()
        return operation.reply(self.known[uid], instance=uid)

    async def set(self, operation: Operation) -> Reply:
        self._one(operation).update(operation.model())
        return Reply(0x0116, "taken, but doubtful")

    async def get(self, operation: Operation) -> Reply:
        return operation.wanted(self._one(operation))

    async def delete(self, operation: Operation) -> Reply:
        self._one(operation)
        del self.known[operation.instance]
        return Reply()

    async def action(self, operation: Operation) -> Reply:
        if operation.type_id != 1:
            return operation.no_such_type()
        invoker = operation.request.invoker
        (context,) = invoker.contexts_for(MPPS, as_scp=True)[:1]
        command = normalized_request(
            Verb.N_EVENT_REPORT, invoker.next_message_id(), MPPS, operation.instance, type_id=1
        )
        response = await invoker.request(context, command, [encoded(operation.model(), context.transfer_syntax)])
        return operation.reply({"00280010": {"vr": "US", "Value": [response.status]}})

    def _one(self, operation: Operation) -> dict[str, Any]:
        try:
            return self.known[operation.instance]
        except KeyError:
            raise NotFound("no such step") from None


@contextlib.contextmanager
def stepping() -> Iterator[tuple[str, Steps]]:
    steps = Steps()

    @contextlib.asynccontextmanager
    async def make() -> AsyncIterator[str]:
        settings = Settings().replace(dimse_port=0, dimse_drain_timeout=1.0)
        server = dimse_server((steps,), settings)
        for listener in dimse_listeners(settings):
            await server.listen(listener.socket, listener.tls)
        yield f"STEPS@127.0.0.1:{server.address[1]}"
        await server.close()

    with ours.background(make) as address:
        yield address, steps


def test_a_step_from_n_create_to_n_delete() -> None:
    with stepping() as (address, steps), isocenter.sync.connect(address) as pacs:
        made = pacs.n_create(MPPS, {"PerformedProcedureStepID": "STEP 1", "PatientName": "Hong^Gildong=洪^吉洞"})
        assert ("1.2.3.4", "STEP 1") == (made.instance, made.attributes.PerformedProcedureStepID)
        assert "Hong^Gildong=洪^吉洞" == str(made.attributes.PatientName)
        changes = Dataset()
        changes.PerformedProcedureStepStatus = "COMPLETED"
        changes.PerformedSeriesSequence = [Dataset()]
        changes.PerformedSeriesSequence[0].SeriesInstanceUID = "1.2.9"
        warned = pacs.n_set(MPPS, made.instance, changes)
        assert (0x0116, "taken, but doubtful", None) == (warned.status, warned.comment, warned.attributes)
        got = pacs.n_get(MPPS, made.instance, ["PerformedProcedureStepStatus", 0x00400340, "StudyDate"])
        assert 0x0107 == got.status
        assert "COMPLETED" == got.attributes.PerformedProcedureStepStatus
        assert "1.2.9" == got.attributes.PerformedSeriesSequence[0].SeriesInstanceUID
        assert "PerformedProcedureStepID" not in got.attributes
        assert 0 == pacs.n_delete(MPPS, made.instance).status
        assert {} == steps.known


def test_failures_are_raised_with_the_status_of_the_peer() -> None:
    with stepping() as (address, _), isocenter.sync.connect(address) as pacs:
        pacs.n_create(MPPS, instance="1.2.3")
        for expected, ask in (
            (0x0111, lambda: pacs.n_create(MPPS, instance="1.2.3")),
            (0x0112, lambda: pacs.n_delete(MPPS, "1.2.4")),
            (0x0117, lambda: pacs.n_get(MPPS, "1.02")),
            (0x0118, lambda: pacs.n_get(UPS, "1.2.3", abstract_syntax=MPPS)),
            (0x0123, lambda: pacs.n_action(MPPS, "1.2.3", 9)),
        ):
            with pytest.raises(OperationFailed) as raised:
                ask()
            assert expected == raised.value.status
        with pytest.raises(NoPresentationContext):
            pacs.n_get(UPS, "1.2.3")
        with pytest.raises(UsageError):
            pacs.n_set(MPPS, "1.2.3", {"Rows": "many"})


def test_an_event_is_answered_while_the_request_that_caused_it_still_waits() -> None:
    heard: list[Event] = []

    async def on_event(event: Event) -> int:
        heard.append(event)
        await asyncio.sleep(0)
        return 0x0110 if "PatientName" in event.information else 0

    with stepping() as (address, _), isocenter.sync.connect(address, on_event=on_event) as pacs:
        information = {"PerformedProcedureStepID": "S"}
        answer = pacs.n_action(MPPS, "1.2.3", 1, information)
        assert 0 == answer.attributes.Rows
        refused = pacs.n_action(MPPS, "1.2.3", 1, {"PatientName": "X"})
        assert 0x0110 == refused.attributes.Rows
    assert [("1.2.3", 1, "S")] == [
        (one.instance, one.event_type, one.information.PerformedProcedureStepID) for one in heard[:1]
    ]


def test_a_client_that_handles_no_events_says_so() -> None:
    with stepping() as (address, _), isocenter.sync.connect(address) as pacs:
        assert 0x0211 == pacs.n_action(MPPS, "1.2.3", 1, {"Rows": 1}).attributes.Rows


# --- roles ----------------------------------------------------------------------------------------------------------


async def _requests(address: str, *, scp: bool, verb: Verb) -> int:
    """The status of one request by a requestor that is SCP or SCU of the context."""
    association = await associate(
        parse_address(address), [Proposal(MPPS, (EXPLICIT,), scp=scp)], calling="TEST", settings=Settings()
    )
    (context,) = association.contexts.values()
    command = normalized_request(verb, association.next_message_id(), MPPS, "1.2.3", type_id=1)
    response = await association.request(context, command)
    await association.release()
    return response.status


@pytest.mark.parametrize(
    ("expected", "scp", "verb"),
    [
        (0x0112, False, Verb.N_GET),
        (0x0211, True, Verb.N_GET),  # an SCP asks nothing of its SCU ...
        (0x0211, False, Verb.N_EVENT_REPORT),  # ... and an SCU reports no events
        (0x0000, True, Verb.N_EVENT_REPORT),
    ],
)
def test_who_may_ask_for_what_is_a_matter_of_the_role(expected: int, scp: bool, verb: Verb) -> None:
    async def take(operation: Operation) -> Reply:
        return Reply()

    with stepping() as (address, steps):
        steps.event = EventReceiver(take).event  # type: ignore[method-assign]
        assert expected == asyncio.run(_requests(address, scp=scp, verb=verb))


# --- pynetdicom's opinion -------------------------------------------------------------------------------------------


def test_pynetdicom_asks_all_verbs_of_us() -> None:
    steps = Dataset()
    steps.PerformedProcedureStepID = "P"
    with stepping() as (address, _):
        entity = AE("PYNETDICOM")
        entity.add_requested_context(MPPS, IMPLICIT)
        heard: list[tuple[int, str]] = []

        def on_event(event: Any) -> tuple[int, None]:
            heard.append((event.event_type, event.event_information.PerformedProcedureStepID))
            return 0, None

        port = int(address.rpartition(":")[2])
        association = entity.associate("127.0.0.1", port, evt_handlers=[(evt.EVT_N_EVENT_REPORT, on_event)])
        assert association.is_established
        status, made = association.send_n_create(steps, MPPS, None)
        assert (0, "P") == (status.Status, made.PerformedProcedureStepID)
        assert 0x0116 == association.send_n_set(steps, MPPS, "1.2.3.4")[0].Status
        status, got = association.send_n_get([0x00400253, 0x00400252], MPPS, "1.2.3.4")
        assert (0x0107, "P") == (status.Status, got.PerformedProcedureStepID)
        status, answer = association.send_n_action(steps, 1, MPPS, "1.2.3.4")
        assert (0, 0) == (status.Status, answer.Rows)
        assert 0 == association.send_n_delete(MPPS, "1.2.3.4").Status
        assert 0x0112 == association.send_n_delete(MPPS, "1.2.3.4").Status
        association.release()
    assert [(1, "P")] == heard


def test_we_ask_all_verbs_of_pynetdicom() -> None:
    seen: list[str] = []

    def answer(event: Any) -> Any:
        seen.append(event.event.name)
        if event.event is evt.EVT_N_DELETE:
            return 0x0000
        reply = Dataset()
        reply.PerformedProcedureStepID = "P"
        return 0x0000, reply

    entity = AE("PYNETDICOM")
    entity.add_supported_context(UPS, [EXPLICIT, IMPLICIT])
    entity.add_supported_context(FILM_SESSION, [EXPLICIT, IMPLICIT])
    verbs = (evt.EVT_N_CREATE, evt.EVT_N_SET, evt.EVT_N_GET, evt.EVT_N_ACTION, evt.EVT_N_DELETE)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(verb, answer) for verb in verbs])
    try:
        with isocenter.sync.connect(f"PYNETDICOM@127.0.0.1:{server.socket.getsockname()[1]}") as peer:
            for performed in (
                peer.n_create(UPS, {"PatientName": "A"}, instance="1.2.3"),
                peer.n_set(UPS, "1.2.3", {"PatientName": "B"}),
                peer.n_get(UPS, "1.2.3", ["PatientName", "PatientID"]),
                peer.n_action(UPS, "1.2.3", 1, {"PatientName": "B"}),
            ):
                assert (0, "P") == (performed.status, performed.attributes.PerformedProcedureStepID)
            assert 0 == peer.n_delete(FILM_SESSION, "1.2.3").status
    finally:
        server.shutdown()
    assert [verb.name for verb in verbs] == seen
