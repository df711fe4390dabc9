"""The rules of C-MOVE and C-GET identifiers, and what the counters say, without archive or network."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import pytest

from isocenter.errors import BadRequest, OutOfResources
from isocenter.model import Level
from isocenter.services.base import Cancellation, Peer, Reply, Request
from isocenter.services.retrieve import (
    RetrieveService,
    Selection,
    Suboperation,
    failed_instances,
    read_selection,
    selection_model,
)
from isocenter.std.sop_classes import (
    COMPOSITE_INSTANCE_ROOT_GET,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
)
from isocenter.ul.negotiation import Agreed
from isocenter.wire.encode import encode_dataset

HANGING_PROTOCOL, HANGING_PROTOCOL_MOVE, HANGING_PROTOCOL_GET = (f"1.2.840.10008.5.1.4.38.{n}" for n in (1, 3, 4))
EXPLICIT, IMPLICIT, BIG = (f"1.2.840.10008.1.2{end}" for end in (".1", "", ".2"))
ENCODINGS = {EXPLICIT: (True, True), IMPLICIT: (True, False), BIG: (False, True)}


def identifier(syntax: str = EXPLICIT, charset: tuple[str, ...] = (), **keys: str | list[str]) -> bytes:
    names = {
        "level": ("00080052", "CS"),
        "patient": ("00100020", "LO"),
        "study": ("0020000D", "UI"),
        "series": ("0020000E", "UI"),
        "instance": ("00080018", "UI"),
        "name": ("00100010", "PN"),
    }
    model = {}
    for key, value in keys.items():
        tag, vr = names[key]
        values = value if isinstance(value, list) else [value]
        model[tag] = {"vr": vr, "Value": [{"Alphabetic": one} for one in values] if vr == "PN" else values}
    little, explicit = ENCODINGS[syntax]
    return encode_dataset(model, little=little, explicit=explicit, charset=charset)


@pytest.mark.parametrize("syntax", ENCODINGS)
@pytest.mark.parametrize(
    ("expected", "sop_class", "keys"),
    [
        (Selection(Level.PATIENT, "P1"), PATIENT_ROOT_GET, {"level": "PATIENT", "patient": "P1"}),
        (
            Selection(Level.STUDY, "P1", ("1.2",)),
            PATIENT_ROOT_MOVE,
            {"level": "STUDY", "patient": "P1", "study": "1.2"},
        ),
        (
            Selection(Level.STUDY, "", ("1.2", "1.3")),
            STUDY_ROOT_GET,
            {"level": "STUDY", "study": ["1.2", "1.3", "1.2"]},
        ),
        (
            Selection(Level.SERIES, "", ("1.2",), ("1.2.1", "1.2.2")),
            STUDY_ROOT_MOVE,
            {"level": "SERIES", "study": "1.2", "series": ["1.2.1", "1.2.2"]},
        ),
        (
            Selection(Level.IMAGE, "", ("1.2",), ("1.2.1",), ("1.9", "1.8")),
            STUDY_ROOT_GET,
            {"level": "IMAGE", "study": "1.2", "series": "1.2.1", "instance": ["1.9", "1.8"]},
        ),
        # in Study Root the patient is no level, so its key narrows nothing; neither do keys of other attributes
        (Selection(Level.STUDY, "", ("1.2",)), STUDY_ROOT_GET, {"level": "STUDY", "study": "1.2", "patient": "P1"}),
        (Selection(Level.STUDY, "", ("1.2",)), STUDY_ROOT_GET, {"level": "STUDY", "study": "1.2", "name": "Doe*"}),
        (
            Selection(Level.IMAGE, "", (), (), ("1.9", "1.8")),
            COMPOSITE_INSTANCE_ROOT_GET,
            {"level": "IMAGE", "instance": ["1.9", "1.8"]},
        ),
        # models of one level, in whose identifiers it should not be
        (
            Selection(Level.IMAGE, instances=("1.9", "1.8"), sop_classes=(HANGING_PROTOCOL,)),
            HANGING_PROTOCOL_GET,
            {"instance": ["1.9", "1.8"]},
        ),
        (
            Selection(Level.IMAGE, instances=("1.9",), sop_classes=(HANGING_PROTOCOL,)),
            HANGING_PROTOCOL_MOVE,
            {"level": "STUDY", "study": "1.2", "instance": "1.9"},
        ),
    ],
)
def test_an_identifier_selects(
    expected: Selection, sop_class: str, keys: dict[str, str | list[str]], syntax: str
) -> None:
    assert expected == read_selection(identifier(syntax, **keys), syntax, sop_class)


@pytest.mark.parametrize(
    ("complaint", "sop_class", "keys"),
    [
        ("Level", STUDY_ROOT_GET, {"study": "1.2"}),
        ("Level", STUDY_ROOT_GET, {"level": "FRAME", "study": "1.2"}),
        ("Level", STUDY_ROOT_GET, {"level": "PATIENT", "patient": "P1"}),
        ("Level", COMPOSITE_INSTANCE_ROOT_GET, {"level": "SERIES", "series": "1.2"}),
        ("Study Instance UID .* missing", STUDY_ROOT_GET, {"level": "STUDY"}),
        ("Study Instance UID .* missing", STUDY_ROOT_GET, {"level": "IMAGE", "series": "1.2", "instance": "1.3"}),
        ("Patient ID .* missing", PATIENT_ROOT_GET, {"level": "STUDY", "study": "1.2"}),
        ("several values", STUDY_ROOT_GET, {"level": "SERIES", "study": ["1.2", "1.3"], "series": "1.4"}),
        ("several values", STUDY_ROOT_GET, {"level": "IMAGE", "study": "1.2", "series": ["1", "2"], "instance": "1.4"}),
        ("not a single value", PATIENT_ROOT_GET, {"level": "PATIENT", "patient": "P*"}),
        ("not a UID", STUDY_ROOT_GET, {"level": "STUDY", "study": "1.2.*"}),
        ("SOP Instance UID .* missing", HANGING_PROTOCOL_GET, {"level": "IMAGE"}),
    ],
)
def test_an_identifier_is_refused_with_a900(complaint: str, sop_class: str, keys: dict[str, str | list[str]]) -> None:
    with pytest.raises(BadRequest, match=complaint) as refused:
        read_selection(identifier(**keys), EXPLICIT, sop_class)
    assert 0xA900 == refused.value.dimse_status
    assert "P*" not in str(refused.value)


def test_relational_retrieval_needs_no_levels_above() -> None:
    raw = identifier(level="IMAGE", study="1.2", instance=["1.9", "1.8"])
    expected = Selection(Level.IMAGE, "", ("1.2",), (), ("1.9", "1.8"))
    assert expected == read_selection(raw, EXPLICIT, PATIENT_ROOT_GET, relational=True)
    with pytest.raises(BadRequest, match="SOP Instance UID"):
        read_selection(identifier(level="IMAGE"), EXPLICIT, STUDY_ROOT_GET, relational=True)


@pytest.mark.parametrize(
    ("expected", "asked"), [(b"\1", b"\1"), (b"\0", b"\0"), (b"\0\1", b"\0\1"), (b"\1\1\0", b"\1\1\1"), (b"", b"")]
)
def test_relational_retrieval_and_views_are_agreed_to(expected: bytes, asked: bytes) -> None:
    support = RetrieveService(Performs([]), clock=lambda: 0.0).supports(STUDY_ROOT_MOVE)
    assert support is not None
    assert support.extended is not None
    assert expected == support.extended(asked)


def test_a_view_is_retrieved_where_it_was_negotiated() -> None:
    for view in ("CLASSIC", "ENHANCED"):
        asked = Selection(Level.STUDY, studies=("1.2",), view=view)
        raw = encode_dataset(selection_model(asked))
        assert asked == read_selection(raw, EXPLICIT, STUDY_ROOT_GET, views=True)
        with pytest.raises(BadRequest, match="not negotiated") as refused:
            read_selection(raw, EXPLICIT, STUDY_ROOT_GET)
        assert (refused.value.dimse_status, refused.value.tag_path) == (0xA900, "(0008,0053)")
    raw = encode_dataset(selection_model(Selection(Level.STUDY, studies=("1.2",), view="OTHER")))
    with pytest.raises(BadRequest, match="neither CLASSIC nor ENHANCED"):
        read_selection(raw, EXPLICIT, STUDY_ROOT_GET, views=True)


def test_the_instance_root_has_neither() -> None:
    support = RetrieveService(Performs([]), clock=lambda: 0.0).supports(COMPOSITE_INSTANCE_ROOT_GET)
    assert support is not None
    assert support.extended is not None
    assert b"\0\0" == support.extended(b"\1\1")


def test_the_patient_id_is_read_in_its_character_set() -> None:
    raw = identifier(charset=("ISO_IR 100",), level="PATIENT", patient="Ärztin-7")
    assert "Ärztin-7" == read_selection(raw, EXPLICIT, PATIENT_ROOT_GET).patient


def test_what_a_requestor_writes_the_acceptor_reads() -> None:
    selection = Selection(Level.IMAGE, "P1", ("1.2",), ("1.3",), ("1.4", "1.5"))
    raw = encode_dataset(selection_model(selection), explicit=False, charset=("ISO_IR 192",))
    assert selection == read_selection(raw, IMPLICIT, PATIENT_ROOT_GET)


# --- counters -------------------------------------------------------------------------------------------------------


@dataclass
class Performs:
    """A Retriever and Transfer with sub-operations laid down beforehand; tells whether it was closed."""

    steps: list[Suboperation | Exception]
    known: bool = True
    fault: Exception | None = None
    cancel_after: int | None = None
    closed: bool = False
    performed: int = 0
    cancellation: Cancellation = field(default_factory=Cancellation)

    @property
    def total(self) -> int:
        return len(self.steps)

    async def get(self, request: Request, selection: Selection) -> Performs:
        if self.fault is not None:
            raise self.fault
        return self

    async def move(self, request: Request, selection: Selection, destination: str) -> Performs | None:
        return self if self.known and destination == "THERE" else None

    async def perform(self) -> AsyncGenerator[Suboperation, None]:
        try:
            for step in self.steps:
                if self.cancellation.requested:
                    return
                if isinstance(step, Exception):
                    raise step
                self.performed += 1
                if self.performed == self.cancel_after:
                    self.cancellation.requested = True
                yield step
        finally:
            self.closed = True


def replies(
    performs: Performs, *, move: bool = False, syntax: str = EXPLICIT, clock: Callable[[], float] | None = None
) -> list[Reply]:
    sop_class = STUDY_ROOT_MOVE if move else STUDY_ROOT_GET
    command = {"MessageID": 7, "MoveDestination": "THERE "}
    context = Agreed(1, sop_class, syntax, True, False)
    request = Request(Peer("A", "B", "h:1"), context, command, None, performs.cancellation)  # type: ignore[arg-type]
    service = RetrieveService(performs, clock=clock or (lambda: 0.0))
    raw = identifier(syntax, level="STUDY", study="1.2")

    async def collect() -> list[Reply]:
        work = service.c_move(request, raw) if move else service.c_get(request, raw)
        return [reply async for reply in work]

    return asyncio.run(collect())


def counters(reply: Reply) -> tuple[int | None, int, int, int]:
    """Remaining, completed, failed, warning."""
    names = ("Remaining", "Completed", "Failed", "Warning")
    return tuple(reply.elements.get(f"NumberOf{name}Suboperations") for name in names)  # type: ignore[return-value]


GOOD, WARNED, BAD, UNSENT = (Suboperation(f"1.{n}", status) for n, status in enumerate((0, 0xB000, 0xA700, None), 1))


def test_counters_of_pending_and_final_replies() -> None:
    given = replies(Performs([GOOD, WARNED, BAD, UNSENT]), move=True)
    assert [0xFF00, 0xFF00, 0xFF00, 0xB000] == [reply.status for reply in given]
    assert [(3, 1, 0, 0), (2, 1, 0, 1), (1, 1, 1, 1), (None, 1, 2, 1)] == [counters(reply) for reply in given]
    assert ("1.3", "1.4") == failed_instances(given[-1].data_set, EXPLICIT)


@pytest.mark.parametrize(("each", "step"), [(2**-9, 10), (2**-10, 20), (2**-20, 1000)])
def test_of_many_quick_objects_each_hundredth_is_told_but_not_every_few_milliseconds(each: float, step: int) -> None:
    now = itertools.count()
    *pending, final = replies(Performs([GOOD] * 1000), clock=lambda: next(now) * each)
    assert [counters(reply)[0] for reply in pending] == list(range(1000 - step, 0, -step))
    assert (None, 1000, 0, 0) == counters(final)


def test_a_slow_one_among_many_is_told_at_once() -> None:
    """Each takes 0.03 s, so that a tenth of a second is over with each fourth; the 303rd a minute."""
    now, taken = 0.0, 0

    def clock() -> float:
        nonlocal now, taken
        taken += 1
        now += 60.0 if taken == 304 else 0.03
        return now

    pending = replies(Performs([GOOD] * 1000), clock=clock)[:-1]
    completed = [counters(reply)[1] for reply in pending]
    assert set(range(10, 1000, 10)) <= set(completed)
    assert 303 in completed
    assert max(later - one for one, later in itertools.pairwise(completed)) == 4


def test_success_has_no_data_set() -> None:
    final = replies(Performs([GOOD, GOOD]))[-1]
    assert (0x0000, None) == (final.status, final.data_set)
    assert (None, 2, 0, 0) == counters(final)


def test_nothing_found_is_success() -> None:
    (only,) = replies(Performs([]))
    assert (0x0000, (None, 0, 0, 0)) == (only.status, counters(only))


def test_cancel_stops_after_the_running_suboperation() -> None:
    performs = Performs([GOOD, BAD, GOOD, GOOD], cancel_after=2)
    final = replies(performs)[-1]
    assert (0xFE00, (2, 1, 1, 0)) == (final.status, counters(final))
    assert (2, True) == (performs.performed, performs.closed)
    assert ("1.3",) == failed_instances(final.data_set, EXPLICIT)


def test_what_still_ran_when_the_cancel_came_is_counted() -> None:
    class Two(Performs):
        """Two sub-operations at a time."""

        async def perform(self) -> AsyncGenerator[Suboperation, None]:
            yield GOOD
            self.cancellation.requested = True
            yield BAD
            yield GOOD

    given = replies(Two([GOOD] * 9))
    assert [0xFF00, 0xFE00] == [reply.status for reply in given]
    assert (6, 2, 1, 0) == counters(given[-1])
    assert ("1.3",) == failed_instances(given[-1].data_set, EXPLICIT)


@pytest.mark.parametrize(
    ("expected", "steps"),
    [
        (0xA702, [BAD, UNSENT]),
        (0xB000, [BAD, GOOD]),
        (0xB000, [BAD, WARNED]),
        (0xB000, [WARNED, WARNED]),
        (0x0000, [GOOD, GOOD]),
    ],
)
def test_the_final_status_is_a_failure_only_where_all_failed(expected: int, steps: list[Suboperation]) -> None:
    final = replies(Performs(list(steps)), move=True)[-1]
    assert expected == final.status
    assert tuple(step.sop_instance for step in steps if step in (BAD, UNSENT)) == failed_instances(
        final.data_set, EXPLICIT
    )


def test_cancel_after_the_last_one_changes_nothing() -> None:
    assert 0x0000 == replies(Performs([GOOD, GOOD], cancel_after=2))[-1].status


def test_an_unknown_destination_is_a801() -> None:
    performs = Performs([GOOD], known=False)
    (only,) = replies(performs, move=True)
    assert (0xA801, 0) == (only.status, performs.performed)


def test_no_room_to_count_is_a701_and_to_go_on_a702() -> None:
    (only,) = replies(Performs([GOOD], fault=OutOfResources("the index is locked")))
    assert 0xA701 == only.status
    final = replies(Performs([GOOD, OutOfResources("no descriptors"), GOOD]))[-1]
    assert (0xA702, (None, 1, 0, 0)) == (final.status, counters(final))


@pytest.mark.parametrize("syntax", ENCODINGS)
def test_a_long_failed_list_is_written_whatever_the_encoding(syntax: str) -> None:
    uids = [f"1.2.840.99999.{'7' * 40}.{number}" for number in range(2000)]
    final = replies(Performs([Suboperation(uid, None) for uid in uids]), syntax=syntax)[-1]
    assert tuple(uids) == failed_instances(final.data_set, syntax)


def test_counters_end_where_their_sixteen_bits_do() -> None:
    final = replies(Performs([GOOD] * 70_000))[-1]
    assert 0xFFFF == counters(final)[1]
