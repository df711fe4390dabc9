"""C-CANCEL of DCMTK's in mid-stream: what is asked of us ends with FE00, what was sent is counted, and that is all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import isocenter
import ours
import peers
from interop.test_query_scu import endless
from isocenter.known_peers import KnownPeer
from skins.test_move_destinations import slow, study_of

pytestmark = pytest.mark.interop

COUNT = 100


def test_findscu_has_enough_of_a_search_without_end() -> None:
    with endless() as (finder, server):
        port = str(server.address[1])
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID")
        done = peers.run("findscu", "-v", "-S", "--cancel", "5", *keys, "127.0.0.1", port)
        assert "Received Final Find Response (Cancel" in done.stdout, done.stdout[-500:]
        assert finder.closed.wait(60)
        assert 1 == finder.searches


def test_movescu_has_enough_of_a_study(tmp_path: Path) -> None:
    study, uids, objects = study_of(COUNT)
    # A tenth of a second an object, ten for all: movescu may be kept from its turn for long before it has enough.
    alone = {"dimse_window": 1, "dimse_move_associations": 1}
    with ours.background(lambda: slow(seconds=0.1)) as seen:
        there = KnownPeer("there", "THERE", "127.0.0.1", seen.port)  # type: ignore[arg-type]
        with ours.node(tmp_path, peers=[there], **alone) as node:
            with isocenter.sync.connect(node.address) as pacs:
                assert {outcome.status for outcome in pacs.store(objects)} == {0}
            keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
            words = ("-d", "-S", "--cancel", "2", "-aem", "THERE", *keys, "127.0.0.1", str(node.dimse[1]))
            done = peers.run("movescu", *words)
        final = done.stdout.rpartition("Received Final Move Response")[2]
        remaining, completed, failed = (
            int(found) for found in re.findall(r"(?:Remaining|Completed|Failed) Suboperations\s*: (\d+)", final)
        )
        assert "0xfe00" in final, final
        assert (COUNT, 0) == (remaining + completed, failed)
        assert 0 < completed < COUNT
        assert completed == len(seen.stored)
        assert set(seen.stored) < set(uids)
