"""Our C-FIND SCU at DCMTK's dcmqrscp, at pynetdicom and at ourselves; cancelling; `isocenter find`."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

import isocenter
import ours
import peers
from command import isocenter as command
from isocenter.dimse.endpoint import dimse_server, listening_socket
from isocenter.errors import NoPresentationContext, OperationFailed, UsageError
from isocenter.index.keys import known_tags
from isocenter.model import Found, Level, Query
from isocenter.net.server import DimseServer
from isocenter.services.query import QueryService
from isocenter.services.verification import VerificationService
from isocenter.settings import Settings
from query_objects import STUDIES, objects
from unit.test_cli_terminal import ISOCENTER, TERMINAL, on_a_terminal

pytestmark = pytest.mark.interop

STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Our node with the studies of query_objects."""
    with ours.node(tmp_path_factory.mktemp("query")) as node:
        with isocenter.sync.connect(node.address) as pacs:
            assert {outcome.status for outcome in pacs.store(objects())} == {0}
        yield node.address


@pytest.mark.interop(service="C-FIND, Study Root", peer="DCMTK dcmqrscp", role="SCU")
def test_at_dcmqrscp(tmp_path: Path) -> None:
    with peers.dcmqrscp(tmp_path) as peer, isocenter.sync.connect(peer.address) as pacs:
        plain = [file for file in objects() if b"GB18030" not in file]
        assert {outcome.status for outcome in pacs.store(plain)} == {0}
        found = list(pacs.find("STUDY", PatientID="100*", StudyDate="20240101-20240131", StudyInstanceUID=""))
        assert {match.PatientID for match in found} == {"100%_A", "100XYA"}
        uid = next(match.StudyInstanceUID for match in found if match.PatientID == "100%_A")
        series = list(pacs.find("SERIES", StudyInstanceUID=uid, Modality="", SeriesInstanceUID=""))
        assert {match.Modality for match in series} == {"CT", "MR"}
        with pytest.raises(OperationFailed) as failed:
            list(pacs.find("PATIENT", root="STUDY", PatientID=""))
        assert failed.value.status & 0xF000 in (0xA000, 0xC000)
        patients = list(pacs.find("PATIENT", root="PATIENT", PatientID="*"))
        assert len(patients) == len(STUDIES) - 1
        pacs.echo()


@contextlib.contextmanager
def pynetdicom_qr(matches: list[pydicom.Dataset], final: int = 0) -> Iterator[tuple[str, list[pydicom.Dataset], Any]]:
    """A Query SCP that gives `matches` whatever it is asked; yields its address, what it was asked, and "cancelled"."""
    from pynetdicom import AE, evt

    asked: list[pydicom.Dataset] = []
    cancelled = threading.Event()

    def on_find(event: Any) -> Iterator[tuple[int, pydicom.Dataset | None]]:
        asked.append(event.identifier)
        for match in matches:
            if event.is_cancelled:
                cancelled.set()
                yield 0xFE00, None
                return
            yield 0xFF00, match
            time.sleep(0.001)  # pynetdicom reads in another thread, which a busy handler keeps from its turn
        if final:
            yield final, None

    entity = AE(ae_title="QR")
    entity.add_supported_context(STUDY_ROOT)
    entity.add_supported_context("1.2.840.10008.1.1")
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, on_find)])
    try:
        yield f"QR@127.0.0.1:{server.socket.getsockname()[1]}", asked, cancelled
    finally:
        server.shutdown()


def korean() -> pydicom.Dataset:
    match = pydicom.Dataset()
    match.SpecificCharacterSet = ["", "ISO 2022 IR 149"]
    match.PatientName = "Hong^Gildong=洪^吉洞=홍^길동"
    return match


@pytest.mark.interop(service="C-FIND, Study Root", peer="pynetdicom", role="SCU")
def test_at_pynetdicom() -> None:
    with pynetdicom_qr([korean()] * 3) as (address, asked, _), isocenter.sync.connect(address) as pacs:
        found = list(pacs.find("STUDY", PatientName="홍*", PatientID="", RequestAttributesSequence={"StudyDate": ""}))
    assert [str(match.PatientName) for match in found] == ["Hong^Gildong=洪^吉洞=홍^길동"] * 3
    (identifier,) = asked
    assert (str(identifier.PatientName), identifier.QueryRetrieveLevel) == ("홍*", "STUDY")
    assert identifier.StudyInstanceUID == ""
    assert (identifier.PatientID, identifier.RequestAttributesSequence[0].StudyDate) == ("", "")


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (["", "ISO 2022 IR 58"], "Wang^XiaoDong=王^小东"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("GBK", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    ],
)
def test_names_in_the_character_set_that_the_peer_answers_in(charset: str | list[str], name: str) -> None:
    answer = pydicom.Dataset()
    answer.SpecificCharacterSet, answer.PatientName = charset, name
    with pynetdicom_qr([answer]) as (address, _, _), isocenter.sync.connect(address) as pacs:
        (match,) = pacs.find("STUDY", PatientName="")
        told = command("find", address, "--json").stdout
    assert str(match.PatientName) == name
    groups = json.loads(told)["00100010"]["Value"][0]
    assert name == "=".join(groups[group] for group in ("Alphabetic", "Ideographic", "Phonetic") if group in groups)


@pytest.mark.interop(service="C-FIND, Study Root", peer="pynetdicom", role="SCU")
def test_leaving_early_cancels_at_pynetdicom_and_the_association_lives_on() -> None:
    with pynetdicom_qr([korean()] * 20_000) as (address, _, cancelled), isocenter.sync.connect(address) as pacs:
        for number, _ in enumerate(pacs.find("STUDY", PatientName="")):
            if number == 5:
                break
        pacs.echo()
        assert cancelled.wait(60)


def test_another_thread_cancels_what_is_iterated_over() -> None:
    with pynetdicom_qr([korean()] * 20_000) as (address, _, cancelled), isocenter.sync.connect(address) as pacs:
        assert not pacs.cancel()
        count, told = 0, []
        for _ in pacs.find("STUDY", PatientName=""):
            count += 1
            if count == 5:
                threading.Thread(target=lambda: told.append(pacs.cancel())).start()
        assert cancelled.wait(60)
        assert [True] == told
        assert 5 <= count < 20_000
        pacs.echo()


def test_a_failure_is_told_with_its_status() -> None:
    with pynetdicom_qr([korean()], final=0xA700) as (address, _, _), isocenter.sync.connect(address) as pacs:
        with pytest.raises(OperationFailed) as failed:
            list(pacs.find("STUDY"))
        assert failed.value.status == 0xA700
        with pytest.raises(NoPresentationContext):
            list(pacs.find("STUDY", fuzzy=True, PatientName="hong"))
        with pytest.raises(UsageError):
            list(pacs.find("STUDY", NoSuchKeyword=""))


@pytest.mark.parametrize("patient", STUDIES)
def test_at_ourselves_every_name_is_found_by_every_group(address: str, patient: str) -> None:
    name, charset, *_ = STUDIES[patient]
    with isocenter.sync.connect(address) as pacs:
        for group in name.split("="):
            (match,) = pacs.find("STUDY", PatientName=group, PatientID="")
            assert (match.PatientID, str(match.PatientName)) == (patient, name)
        terms = charset if isinstance(charset, str) else "\\".join(charset)
        (match,) = pacs.find("STUDY", charset=terms, PatientName=name, PatientID="")
        assert (match.PatientID, str(match.PatientName)) == (patient, name)


def test_at_ourselves_with_extended_negotiation(address: str) -> None:
    with isocenter.sync.connect(address) as pacs:
        with pytest.raises(OperationFailed):
            list(pacs.find("IMAGE", PatientID="JP"))
        assert len(list(pacs.find("IMAGE", relational=True, PatientID="JP"))) == 3
        (match,) = pacs.find("STUDY", fuzzy=True, PatientName="gildong", PatientID="")
        assert match.PatientID == "KR"
        assert list(pacs.find("STUDY", PatientName="gildong")) == []
        moments = {"StudyDate": "20240105-20240106", "StudyTime": "0900-0100", "PatientID": ""}
        assert {match.PatientID for match in pacs.find("STUDY", combined=True, **moments)} == {"100%_A", "100XYA"}
        assert list(pacs.find("STUDY", **moments)) == []


# --- cancelling ----------------------------------------------------------------------------------------------------


class Endless:
    """A finder that never ends by itself, or after `most` answers; `closed` is set when its search is."""

    def __init__(self, most: int = 1 << 62) -> None:
        self.searches = 0
        self.most = most
        self.given = 0
        self.closed = threading.Event()

    def known(self, level: Level, sop_classes: tuple[str, ...] = ()) -> frozenset[int]:
        return known_tags(level)

    async def find(self, query: Query) -> AsyncGenerator[list[Found], None]:
        import asyncio

        self.searches += 1
        try:
            while self.given < self.most:
                yield [Found("1.2", None, None, {"00100020": {"vr": "LO", "Value": ["7"]}})] * 10
                self.given += 10
                await asyncio.sleep(0)
        finally:
            self.closed.set()


@contextlib.contextmanager
def endless(most: int = 1 << 62) -> Iterator[tuple[Endless, DimseServer]]:
    settings = Settings().replace(dimse_port=0)
    finder = Endless(most)

    @contextlib.asynccontextmanager
    async def make() -> AsyncIterator[DimseServer]:
        server = dimse_server((VerificationService(), QueryService(finder, "US")), settings)
        await server.listen(listening_socket("127.0.0.1", 0, "DIMSE"))
        yield server
        await server.close()

    with ours.background(make) as server:
        yield finder, server


def test_a_cancelled_search_ends_and_the_association_lives_on() -> None:
    with endless() as (finder, server), isocenter.sync.connect(f"X@127.0.0.1:{server.address[1]}") as pacs:
        for _ in range(3):
            for number, match in enumerate(pacs.find("STUDY", PatientID="")):
                assert match.PatientID == "7"
                if number == 100:
                    break
            assert finder.closed.wait(60)
            finder.closed.clear()
        pacs.echo()
    assert finder.searches == 3


def test_a_search_left_early_gives_its_reader_of_the_index_back(tmp_path: Path) -> None:
    with ours.node(tmp_path / "data") as node, isocenter.sync.connect(node.address) as pacs:
        assert {outcome.status for outcome in pacs.store(objects())} == {0}
        readers = node.archive._index._reading.pool
        for _ in range(20):
            assert next(pacs.find("IMAGE", relational=True, SOPInstanceUID=""))
            assert readers.checkedout() == 0
        assert len(list(pacs.find("IMAGE", relational=True, SOPInstanceUID=""))) == 11


def test_answers_that_nobody_uses_hold_the_peer_back() -> None:
    with endless() as (finder, server), isocenter.sync.connect(f"X@127.0.0.1:{server.address[1]}") as pacs:
        matches = pacs.find("STUDY", PatientID="")
        next(matches)
        before = -1
        for _ in range(100):
            time.sleep(0.1)
            if finder.given == before:
                break
            before = finder.given
        assert finder.given == before
        assert before < 1_000_000  # what kernels and buffers hold
        next(matches)
        matches.close()
        pacs.echo()


def test_each_answer_may_be_used_to_ask_more() -> None:
    """On the same association, whose window is one request, while answers are still coming."""
    with endless(2000) as (_, server), isocenter.sync.connect(f"X@127.0.0.1:{server.address[1]}") as pacs:
        count = 0
        for _ in pacs.find("STUDY", PatientID=""):
            if count % 100 == 0:
                pacs.echo()
            count += 1
        assert 2000 == count


@pytest.mark.interop(service="C-FIND, Study Root", peer="pynetdicom", role="SCP")
def test_a_search_ends_with_its_association() -> None:
    from pynetdicom import AE

    identifier = pydicom.Dataset()
    identifier.QueryRetrieveLevel, identifier.PatientID = "STUDY", ""
    with endless() as (finder, server):
        entity = AE()
        entity.add_requested_context(STUDY_ROOT)
        association = entity.associate("127.0.0.1", server.address[1])
        answers = association.send_c_find(identifier, STUDY_ROOT)
        for _ in range(5):
            next(answers)
        association.abort()
        assert finder.closed.wait(60)


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_gives_a_table_and_json(address: str) -> None:
    table = command("find", address, "PatientName=hong*", "StudyTime")
    assert table.returncode == 0, table.stderr
    assert "홍^길동" in table.stdout
    assert "080000" in table.stdout
    assert "1 found" in table.stderr
    lines = command("find", address, "StudyDate=20240101-", "--level", "study", "--json").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert {one["00100020"]["Value"][0] for one in found} == set(STUDIES) - {"DE"}
    assert all(one["00201208"]["Value"][0] > 0 for one in found)
    limited = command("find", address, "--limit", 2, "--json")
    assert (limited.returncode, len(limited.stdout.splitlines())) == (0, 2)


def test_keys_that_the_peer_passes_over_are_named(address: str) -> None:
    with isocenter.sync.connect(address) as pacs:
        (match,) = pacs.find("STUDY", PatientID="KR", InstanceNumber="", **{"00200011": ""})
        assert (("InstanceNumber", "00200011"), "KR") == (pacs.unsupported, match.PatientID)
        list(pacs.find("STUDY", PatientID="KR"))
        assert () == pacs.unsupported
    done = command("find", address, "PatientID=KR", "InstanceNumber")
    assert f"{address} neither matches nor returns InstanceNumber\n" in done.stderr
    assert "neither" not in command("find", address, "PatientID=KR").stderr


def test_a_terminal_of_80_columns_shows_whole_uids(address: str) -> None:
    environment = {**TERMINAL, "COLUMNS": "80"}
    shown = on_a_terminal(*ISOCENTER, "find", address, "PatientID=KR", environment=environment)
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()]
    with isocenter.sync.connect(address) as pacs:
        (match,) = pacs.find("STUDY", PatientID="KR")
    assert match.StudyInstanceUID in lines
    assert max(map(len, lines)) <= 80


def test_the_commands_exit_codes(address: str) -> None:
    refused = command("find", address, "--level", "SERIES")
    assert refused.returncode == 1
    assert "A900" in refused.stderr
    assert command("find", address, "NoSuchKeyword=1").returncode == 2
    assert command("find", address, "--level", "FRAME").returncode == 2
    assert command("find", f"X@127.0.0.1:{peers.free_port()}").returncode == 3
