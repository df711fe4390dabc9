"""The published suite of blob stores, on each of ours, and what only the one on files has."""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import time
from pathlib import Path

import pytest

from isocenter.errors import DataFolderError, OutOfResources
from isocenter.store import filesystem
from isocenter.store.base import BlobStore, NameMaker
from isocenter.store.filesystem import FileStore
from isocenter.store.memory import MemoryStore
from isocenter.testing.store_suite import StoreSuite, content, put


class TestFileStore(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> BlobStore:
        return FileStore(tmp_path)


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def store(self) -> BlobStore:
        return MemoryStore()


def resident(descriptor: int) -> bytes:
    """A byte for each page of the file, with its lowest bit set where the page is in memory; asking sends for none."""
    size = os.fstat(descriptor).st_size
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + 3 * [ctypes.c_int] + [ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    pages = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
    try:
        assert libc.mincore(address, size, pages) == 0, os.strerror(ctypes.get_errno())
    finally:
        libc.munmap(address, size)
    return pages.raw


def drop(descriptor: int) -> None:
    """Have the page cache forget the file, and wait until it has: a page on its way from the disk stays."""
    patience = time.monotonic() + 30
    while any(page & 1 for page in resident(descriptor)):
        assert time.monotonic() < patience, "the kernel keeps the file in memory"
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def test_what_the_page_cache_has_is_at_hand(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    size = 8 << 20
    with store.open(put(store, os.urandom(size))) as blob:
        probe = bytearray(1)
        try:
            os.preadv(blob.fileno(), [probe], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            pass
        except OSError:
            pytest.skip("this file system does not say what would have to wait (tmpfs does not)")
        # What is asked for and no more: a kernel may be set to read megabytes ahead
        os.posix_fadvise(blob.fileno(), 0, 0, os.POSIX_FADV_RANDOM)

        def has_to_wait(known: int) -> bool:
            drop(blob.fileno())
            blob.read(0, known)
            assert not known or blob.at_hand(0, known)
            waits = not blob.at_hand(0, size)
            blob.read(size - 1, 1)  # to ask had the kernel send for it, and what is on its way cannot be dropped
            return waits

        # The disk may bring a page between the kernel's sending for it and its looking whether it is there
        assert any(has_to_wait(0) for _ in range(20))
        assert any(has_to_wait(1000) for _ in range(20))
        blob.read()
        assert blob.at_hand(0, size)
        assert blob.at_hand(size - 10, 1000)


def test_folders_rotate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "FOLDER_SIZE", 3)
    store = FileStore(tmp_path)
    names = [put(store, b"x") for _ in range(8)]
    folders = [name.partition("/")[0] for name in names]
    assert [folders.count(folder) for folder in dict.fromkeys(folders)] == [3, 3, 2]
    assert names == sorted(names)


def test_a_reopened_store_begins_another_folder(tmp_path: Path) -> None:
    earlier = FileStore(tmp_path)
    first = put(earlier, b"1")
    earlier.close()
    store = FileStore(tmp_path)
    second = put(store, b"2")
    assert first.partition("/")[0] < second.partition("/")[0]
    assert [name for name, _ in store.list()] == [first, second]
    assert content(store, first) == b"1"


def test_entries_are_durable_when_they_are_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blob after blob: its folder was synced after the file had come to be, and the folder's own entry once."""
    store = FileStore(tmp_path)
    contents: dict[str, set[str]] = {}

    def sync(path: str) -> None:
        contents[os.path.relpath(path, tmp_path)] = set(os.listdir(path))

    monkeypatch.setattr(filesystem, "_sync_folder", sync)
    for _ in range(100):
        folder, _, file = put(store, b"x").partition("/")
        assert file in contents[f"objects/{folder}"]
        assert folder in contents["objects"]
    store.close()


def test_most_blobs_need_no_directory_sync_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileStore(tmp_path)
    put(store, b"x")
    while len(store._spares) < 8:
        time.sleep(0.001)
    callers: list[str] = []
    monkeypatch.setattr(filesystem, "_sync_folder", lambda path: callers.append(threading.current_thread().name))
    for _ in range(8):
        put(store, b"x")
    assert threading.current_thread().name not in callers
    store.close()
    assert [size for _, size in FileStore(tmp_path).list()] == [1] * 9


def test_an_unused_folder_is_removed(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    writer = store.create()
    writer.abandon()
    store.close()
    assert os.listdir(tmp_path / "objects") == []


def test_names_stay_in_order_when_the_clock_does_not() -> None:
    ahead = f"{1 << 44:012x}" + "0" * 20
    make = NameMaker(after=ahead)
    names = [make() for _ in range(70_000)]
    assert ahead < names[0]
    assert names == sorted(set(names))
    assert {len(name) for name in names} == {32}


def test_a_store_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "objects").write_bytes(b"a file is in the way")
    with pytest.raises(DataFolderError):
        FileStore(tmp_path)


def test_a_full_memory_store_refuses() -> None:
    store = MemoryStore(capacity=10)
    writer = store.create()
    with pytest.raises(OutOfResources):
        writer.write([b"more than ten bytes"])
    writer.abandon()
    assert content(store, put(store, b"ten bytes!")) == b"ten bytes!"


@pytest.mark.parametrize("advice", [filesystem._POPULATE_READ, 9999])
def test_a_file_is_fetched_whatever_the_kernel_knows(
    tmp_path: Path, advice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that was cut since it was opened is an end that comes early, not a signal that ends the process."""
    monkeypatch.setattr(filesystem, "_POPULATE_READ", advice)
    store = FileStore(tmp_path)
    writer = store.create()
    writer.write([bytes(100_000)])
    writer.sync()
    writer.close()
    with store.open(writer.name) as blob:
        os.posix_fadvise(blob.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        blob.fetch(0, 100_000)
        assert blob.read() == bytes(100_000)
        os.truncate(tmp_path / "objects" / writer.name, 5_000)
        blob.fetch(0, 100_000)
        assert blob.read(0, 100_000) == bytes(5_000)
        os.truncate(tmp_path / "objects" / writer.name, 0)
        blob.fetch(0, 100_000)
    store.close()
