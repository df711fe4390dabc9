"""What an association agrees on by our settings and by what peers say of SOP classes; the server as users run it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

import isocenter
from isocenter.errors import SettingsError
from isocenter.net.address import parse_address
from isocenter.net.requestor import Proposal, associate
from isocenter.services.storage import store_request
from isocenter.settings import Settings
from isocenter.ul import events
from isocenter.wire.part10 import read_header
from ours import receiver
from raw_scp import RawSCP, raw_scp
from raw_scu import CT, EXPLICIT, raw_scu

IMPLICIT, JPEG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.70"
STORAGE = "1.2.840.10008.4.2"
NEW = "1.2.826.0.1.3680043.10.1999.7"
RAW = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        ("", JPEG),
        ("ImplicitVRLittleEndian, ExplicitVRLittleEndian", IMPLICIT),
        (f"1.2.840.10008.1.2.4.90,{EXPLICIT}", EXPLICIT),
        ("JPEG2000", JPEG),
    ],
)
def test_the_transfer_syntax_is_ours_or_the_peers_choice(tmp_path: Path, ours: str, expected: str) -> None:
    with receiver(tmp_path, dimse_transfer_syntaxes=ours) as running, raw_scu(running.port) as scu:
        event = scu.associate((CT, (JPEG, EXPLICIT, IMPLICIT)))
        assert isinstance(event, events.AssociationAccepted)
        assert [context.transfer_syntax for context in event.ac.contexts] == [expected]


def test_a_transfer_syntax_that_is_none(tmp_path: Path) -> None:
    with (
        pytest.raises(SettingsError, match=r"dimse\.transfer_syntaxes: Explicit is no"),
        receiver(tmp_path, dimse_transfer_syntaxes=f"{IMPLICIT}, Explicit"),
    ):
        pytest.fail("there is no such transfer syntax")


def send(address: str, related: Sequence[str]) -> int | None:
    """Status of a C-STORE of a CT object that says it is of a class of our own; None where it is not accepted."""
    meta = read_header(RAW)
    old, new = meta.sop_class.encode(), NEW.encode()
    data_set = RAW[meta.data_set_offset :]
    data_set = data_set.replace(
        len(old + b"\0").to_bytes(2, "little") + old + b"\0", len(new + b"\0").to_bytes(2, "little") + new + b"\0"
    )

    async def work() -> int | None:
        proposals = [Proposal(NEW, (EXPLICIT,), service_class=STORAGE, related=tuple(related))]
        association = await associate(parse_address(address), proposals, calling="X", settings=Settings())
        try:
            if not association.contexts_for(NEW):
                return None
            command = store_request(association.next_message_id(), NEW, meta.sop_instance)
            response = await association.request(association.context_for(NEW), command, [data_set])
            return response.status
        finally:
            await association.release()

    return asyncio.run(work())


def test_a_new_class_is_stored_as_a_specialization_of_one_we_know(tmp_path: Path) -> None:
    with receiver(tmp_path) as running:
        assert send(running.address, []) is None
        assert send(running.address, ["1.2.3.4"]) is None
        assert running.stored == []
        assert send(running.address, ["1.2.3.4", CT]) == 0
        ((path, request),) = running.stored
    assert request.command["AffectedSOPClassUID"] == NEW
    assert read_header((tmp_path / path).read_bytes()).sop_class == NEW


def test_storage_says_what_it_does_when_asked(tmp_path: Path) -> None:
    """PS3.4 section B.3.1.2: level 2, signatures stay valid, nothing is coerced."""

    async def work(address: str) -> bytes:
        proposals = [Proposal(CT, (EXPLICIT,), extended=bytes((3, 0, 0, 0, 2, 0)))]
        association = await associate(parse_address(address), proposals, calling="X", settings=Settings())
        await association.release()
        return association.context_for(CT).extended

    with receiver(tmp_path) as running:
        assert asyncio.run(work(running.address)) == bytes((2, 0, 3, 0, 0, 0))


def test_as_scu_we_say_that_what_nobody_knows_is_storage() -> None:
    told: list[object] = []

    def script(scp: RawSCP) -> None:
        scp.accept()
        assert scp.rq is not None
        told.append([(item.sop_class, item.service_class) for item in scp.rq.user.common_extended])
        while (message := scp.message()) is not None:
            scp.answer(message)
        scp.connection.release_response()
        scp.flush()

    meta = read_header(RAW)
    new = NEW.encode() + b"\0"
    private = RAW.replace(
        (len(meta.sop_class) + 1).to_bytes(2, "little") + meta.sop_class.encode() + b"\0",
        len(new).to_bytes(2, "little") + new,
    )
    with raw_scp(script) as address, isocenter.sync.connect(address) as peer:
        assert [0, 0] == [outcome.status for outcome in peer.store([RAW, private])]
    assert told == [[], [(NEW, STORAGE)]]
