"""The tests every blob store passes. Subclass `StoreSuite` in a test module and give it a fixture `store`:

class TestMyStore(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path): ...
"""

from __future__ import annotations

import os
import threading

import pytest

from isocenter.errors import NotFound
from isocenter.store.base import BlobStore


def put(store: BlobStore, *chunks: bytes) -> str:
    """Store a blob as ingest does; its name."""
    writer = store.create()
    for chunk in chunks:
        writer.write([chunk])
    writer.sync()
    writer.close()
    store.sync_directories([writer.name])
    return writer.name


def content(store: BlobStore, name: str) -> bytes:
    """All bytes of a blob."""
    with store.open(name) as blob:
        return blob.read()


class StoreSuite:
    """What a BlobStore promises."""

    def test_what_is_written_is_read(self, store: BlobStore) -> None:
        data = os.urandom(300_000)
        writer = store.create()
        writer.write([data[:10], memoryview(data)[10:1000], bytearray(data[1000:200_000])])
        writer.write([])
        writer.write([data[200_000:]])
        assert writer.size == 300_000
        writer.sync()
        writer.close()
        store.sync_directories([writer.name])
        with store.open(writer.name) as blob:
            assert blob.size == 300_000
            assert blob.read() == data
            assert bytes(blob.view()) == data
            assert os.pread(blob.fileno(), 5, 100) == data[100:105]

    def test_hastening_changes_nothing(self, store: BlobStore) -> None:
        data = os.urandom(300_000)
        writer = store.create()
        writer.hasten()
        for at in range(0, len(data), 70_000):
            writer.write([data[at : at + 70_000]])
            writer.hasten()
        writer.rewrite(5, b"rewritten")
        writer.hasten()
        writer.sync()
        writer.close()
        store.sync_directories([writer.name])
        assert content(store, writer.name) == data[:5] + b"rewritten" + data[14:]

    def test_parts_are_read(self, store: BlobStore) -> None:
        name = put(store, b"0123456789")
        with store.open(name) as blob:
            assert blob.read(3, 4) == b"3456"
            assert blob.read(8, 100) == b"89"
            assert blob.read(10) == b""
            assert blob.read(50, 1) == b""

    def test_what_is_at_hand_is_told_for_any_range(self, store: BlobStore) -> None:
        name = put(store, os.urandom(300_000))
        with store.open(name) as blob:
            told = [blob.at_hand(*some) for some in ((0, 300_000), (5, 1 << 20), (300_000, 0), (0, 0), (400_000, 7))]
        assert {bool} == {type(one) for one in told}
        with store.open(put(store)) as empty:
            assert empty.at_hand(0, 1) in (False, True)

    def test_fetching_changes_nothing(self, store: BlobStore) -> None:
        data = os.urandom(3_000_001)
        with store.open(put(store, data)) as blob:
            for some in ((0, len(data)), (5, 4096), (1 << 20, 1 << 30), (len(data), 1), (1 << 40, 1), (7, 0)):
                blob.fetch(*some)
            assert blob.read() == data
        with store.open(put(store)) as empty:
            empty.fetch(0, 1)

    def test_many_chunks_in_one_write(self, store: BlobStore) -> None:
        chunks = [bytes([number % 256]) * 3 for number in range(5000)]
        writer = store.create()
        writer.write(chunks)
        writer.sync()
        writer.close()
        assert content(store, writer.name) == b"".join(chunks)

    def test_an_empty_blob(self, store: BlobStore) -> None:
        name = put(store)
        with store.open(name) as blob:
            assert blob.size == 0
            assert blob.read() == b""
            assert bytes(blob.view()) == b""

    def test_what_was_written_is_seen_before_sync(self, store: BlobStore) -> None:
        writer = store.create()
        writer.write([b"abc", b"def"])
        assert bytes(writer.view()) == b"abcdef"
        buffer = bytearray(4)
        assert writer.read(2, memoryview(buffer)) == 4
        assert buffer == b"cdef"
        assert writer.read(6, memoryview(buffer)) == 0
        writer.abandon()

    def test_a_view_outlives_its_writer(self, store: BlobStore) -> None:
        writer = store.create()
        writer.write([b"abc"])
        view = writer.view()
        writer.sync()
        writer.close()
        assert bytes(view) == b"abc"

    def test_rewriting_in_place(self, store: BlobStore) -> None:
        writer = store.create()
        writer.write([b"0123456789"])
        writer.rewrite(2, b"xy")
        with pytest.raises(ValueError, match="already written"):
            writer.rewrite(9, b"xy")
        assert writer.size == 10
        writer.sync()
        writer.close()
        assert content(store, writer.name) == b"01xy456789"

    def test_abandoned_blobs_are_gone(self, store: BlobStore) -> None:
        kept = put(store, b"kept")
        writer = store.create()
        writer.write([b"half of it"])
        writer.abandon()
        writer.abandon()
        late = store.create()
        late.write([b"all of it"])
        late.sync()
        late.close()
        late.abandon()
        assert [name for name, _ in store.list()] == [kept]

    def test_names_are_ours_and_ordered(self, store: BlobStore) -> None:
        names = [put(store, b"x") for _ in range(50)]
        assert len(set(names)) == 50
        assert names == sorted(names)
        assert [name for name, _ in store.list()] == names
        assert all(set(name) <= set("0123456789abcdef/") for name in names)
        assert all(name.partition("/")[0] <= store.last_folder() for name in names)

    def test_listing_from_a_name_on(self, store: BlobStore) -> None:
        names = [put(store, b"x" * number) for number in range(5)]
        assert list(store.list(names[2])) == [(names[2], 2), (names[3], 3), (names[4], 4)]
        assert list(store.list(names[4] + "~")) == []

    def test_deleting(self, store: BlobStore) -> None:
        first, second, third = (put(store, text) for text in (b"1", b"2", b"3"))
        store.delete([first, second], durable=True)
        store.delete([first])
        assert not store.exists(first)
        assert store.exists(third)
        assert [name for name, _ in store.list()] == [third]

    def test_an_open_blob_survives_its_deletion(self, store: BlobStore) -> None:
        name = put(store, b"still here")
        with store.open(name) as blob:
            store.delete([name])
            assert blob.read() == b"still here"

    def test_what_is_not_there(self, store: BlobStore) -> None:
        name = put(store, b"x")
        store.delete([name])
        with pytest.raises(NotFound):
            store.open(name)
        assert not store.exists(name)

    def test_names_lead_nowhere_else(self, store: BlobStore) -> None:
        for name in ("../index.sqlite", "/etc/passwd", "..", "", "a/../../b", "0/\0"):
            with pytest.raises(NotFound):
                store.open(name)

    def test_set_aside_is_out_of_the_way(self, store: BlobStore) -> None:
        name, other = put(store, b"odd"), put(store, b"good")
        assert store.set_aside(name)
        assert not store.exists(name)
        assert [found for found, _ in store.list()] == [other]

    def test_writers_do_not_disturb_each_other(self, store: BlobStore) -> None:
        written: dict[str, bytes] = {}
        failed: list[BaseException] = []

        def work(seed: int) -> None:
            try:
                for number in range(20):
                    data = bytes([seed, number]) * 5000
                    written[put(store, data[:3000], data[3000:])] = data
            except BaseException as error:
                failed.append(error)
                raise

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert len(written) == 80
        assert all(content(store, name) == data for name, data in written.items())
