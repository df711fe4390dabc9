"""C-MOVE to receivers that hang up, and to one that needs more presentation contexts than an association has."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

import isocenter
import ours
from certificates import Certificates
from isocenter.dimse.endpoint import dimse_listeners, dimse_server
from isocenter.dimse.retrieve import per_association
from isocenter.known_peers import KnownPeer
from isocenter.model import InstanceRef
from isocenter.net.retrieve import Progress
from isocenter.services.base import Refusal, Reply, Request
from isocenter.services.storage import StorageService
from isocenter.settings import Settings
from isocenter.std.sop_classes import STORAGE_SOP_CLASSES
from skins.web_harness import saved


def study_of(count: int) -> tuple[str, list[str], list[bytes]]:
    study, series, uids = generate_uid(), generate_uid(), [generate_uid() for _ in range(count)]
    objects = []
    for uid in uids:
        one = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        one.StudyInstanceUID, one.SeriesInstanceUID = study, series
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = uid
        objects.append(saved(one))
    return study, uids, objects


@contextlib.asynccontextmanager
async def hangs_up(every: int) -> AsyncIterator[int]:
    """A Storage SCP that aborts the association instead of answering each `every`-th object."""
    settings = Settings().replace(dimse_port=0, dimse_drain_timeout=0.1)
    seen = 0

    def sink(request: Request) -> Refusal:
        nonlocal seen
        seen += 1
        if seen % every == 0:
            request.invoker.abort("as the test wants it")  # type: ignore[attr-defined]
        return Refusal(Reply())

    server = dimse_server((StorageService(sink),), settings)
    for listener in dimse_listeners(settings):
        await server.listen(listener.socket, listener.tls)
    yield server.address[1]
    await server.close()


def moved(data: Path, every: int, count: int) -> tuple[list[str], Progress]:
    study, uids, objects = study_of(count)
    with ours.background(lambda: hangs_up(every)) as port:
        there = KnownPeer("there", "THERE", "127.0.0.1", port)  # type: ignore[arg-type]
        with ours.node(data, peers=[there]) as node, isocenter.sync.connect(node.address) as pacs:
            assert {outcome.status for outcome in pacs.store(objects)} == {0}
            *_, last = pacs.move("THERE", "STUDY", StudyInstanceUID=study)
    return uids, last


def test_a_lost_association_costs_one_object_and_is_opened_again(tmp_path: Path) -> None:
    uids, last = moved(tmp_path, every=3, count=7)
    assert (0xB000, 5, 2) == (last.status, last.completed, last.failed)
    assert (uids[2], uids[5]) == last.failed_instances


def test_a_receiver_that_takes_nothing_twice_is_left_alone(tmp_path: Path) -> None:
    uids, last = moved(tmp_path, every=1, count=5)
    assert (0xA702, 0, 5) == (last.status, last.completed, last.failed)
    assert set(uids) == set(last.failed_instances)


def test_a_large_object_goes_by_tls_where_the_peer_says_so_and_never_without(
    tmp_path: Path, certificates: Certificates
) -> None:
    one = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    one.PixelData = os.urandom(9_000_000)  # in pieces, from the disk while it is sent
    rows = {"tls_ca": certificates.ca}
    with ours.receiver(tmp_path / "in", **rows, **certificates.server.settings) as receiver:
        ports = {"SECURE": int(receiver.tls_address.rpartition(":")[2]), "PLAIN": receiver.port}
        known = [KnownPeer(aet.lower(), aet, "127.0.0.1", port, True) for aet, port in ports.items()]  # type: ignore[arg-type]
        with (
            ours.node(tmp_path / "data", peers=known, **rows, **certificates.client.settings) as node,
            isocenter.sync.connect(node.address) as pacs,
        ):
            assert [0] == [outcome.status for outcome in pacs.store([saved(one)])]
            *_, last = pacs.move("PLAIN", "STUDY", StudyInstanceUID=one.StudyInstanceUID)
            assert (0xA702, 1, []) == (last.status, last.failed, receiver.stored)
            *_, last = pacs.move("SECURE", "STUDY", StudyInstanceUID=one.StudyInstanceUID)
            assert last.ok, last.message
        ((path, _),) = receiver.stored
        assert one.PixelData == pydicom.dcmread(path).PixelData


def test_no_association_is_asked_for_more_contexts_than_there_are() -> None:
    syntaxes = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.5")
    refs = [
        InstanceRef("1", "2", f"3.{number}", sop_class, syntax, "", 0, 0, "", "")
        for number, (sop_class, syntax) in enumerate((c, s) for s in syntaxes for c in list(STORAGE_SOP_CLASSES)[:60])
    ]
    groups = list(per_association(refs))
    assert sorted(ref.instance for ref in refs) == sorted(ref.instance for _, group in groups for ref in group)
    for proposals, group in groups:
        assert len(proposals) <= 128
        offered = {(proposal.abstract_syntax, uid) for proposal in proposals for uid in proposal.transfer_syntaxes}
        assert {(ref.sop_class, ref.transfer_syntax) for ref in group} <= offered
        assert {(ref.sop_class, "1.2.840.10008.1.2") for ref in group} <= offered
