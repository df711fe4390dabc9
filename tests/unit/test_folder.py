"""Objects into a folder: what is refused leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from isocenter.dimse.folder import FolderStorage
from isocenter.errors import InvalidUID, OutOfResources
from isocenter.services.base import Invoker, Peer, Reply, Request
from isocenter.services.storage import store_request
from isocenter.ul.negotiation import Agreed
from isocenter.wire.limits import Limits
from isocenter.wire.part10 import read_header

CT = "1.2.840.10008.5.1.4.1.1.2"


def request(sop_class: str = CT, sop_instance: str = "1.2.3") -> Request:
    context = Agreed(1, sop_class, "1.2.840.10008.1.2.1", as_scu=True)
    command = store_request(1, sop_class, sop_instance)
    return Request(Peer("FROM", "TO", "127.0.0.1:4711"), context, command, cast(Invoker, None))


@pytest.mark.parametrize(("sop_class", "sop_instance"), [("1.2.\xe9", "1.2.3"), (CT, "1.2.\xe9"), (CT, "../1")])
def test_uids_that_are_none(tmp_path: Path, sop_class: str, sop_instance: str) -> None:
    with pytest.raises(InvalidUID):
        FolderStorage(tmp_path)(request(sop_class, sop_instance))
    assert list(tmp_path.iterdir()) == []


def test_an_object_over_the_limit(tmp_path: Path) -> None:
    sink = FolderStorage(tmp_path, limits=Limits(object_bytes=1000))(request())
    sink.write([memoryview(bytes(600))])
    with pytest.raises(OutOfResources):
        sink.write([memoryview(bytes(600))])
    assert len(list(tmp_path.iterdir())) == 1
    sink.abandon()
    assert list(tmp_path.iterdir()) == []


def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    told: list[str] = []

    storage = FolderStorage(tmp_path, lambda path, _: told.append(path), sync=True)
    sink = storage(request())
    sink.write([memoryview(b"abcd"), memoryview(b"ef")])
    assert list(tmp_path.glob("[!.]*")) == []
    assert sink.finish() == Reply()
    sink.abandon()  # too late: it is there
    (path,) = tmp_path.iterdir()
    assert [str(path)] == told
    header = read_header(path.read_bytes())
    assert (header.sop_class, header.sop_instance, header.source_aet) == (CT, "1.2.3", "FROM")
    assert path.read_bytes()[header.data_set_offset :] == b"abcdef"


def test_the_next_file_is_opened_when_the_response_is_written(tmp_path: Path) -> None:
    def receive() -> Reply:
        sink = storage(request())
        sink.write([memoryview(b"abcd")])
        reply = sink.finish()
        assert reply == Reply()
        assert isinstance(reply, Reply)
        return reply

    def names() -> list[str]:
        return sorted(path.name.partition("-")[2] for path in tmp_path.iterdir())

    storage = FolderStorage(tmp_path, ahead=True)
    first = receive()
    assert names() == ["000001.dcm"]
    assert first.then is not None
    first.then()
    first.then()  # of another association
    assert names() == ["000001.dcm", "000002.dcm.part"]
    receive()
    assert names() == ["000001.dcm", "000002.dcm"]
    first.then()
    for path in tmp_path.glob(".*"):
        path.unlink()  # whoever tidies up does not cost an object
    receive()
    assert names() == ["000001.dcm", "000002.dcm", "000004.dcm"]
    first.then()
    storage.close()
    storage.close()
    assert names() == ["000001.dcm", "000002.dcm", "000004.dcm"]
