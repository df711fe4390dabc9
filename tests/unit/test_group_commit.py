"""The order of truth in the group commit, whoever comes at whichever moment."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Sequence
from typing import Any, cast

import pytest

from isocenter.archive import commit
from isocenter.archive.commit import GroupCommit, Waiting
from isocenter.errors import ArchiveBusy, DataSetError, IsocenterError, OutOfResources
from isocenter.index.base import Applied, Entry, Index, More
from isocenter.store.base import BlobStore, BlobWriter


class Writer:
    """Syncs when it is let; keeps in one list what happened to all."""

    def __init__(self, name: str, story: list[str], *, held: bool = False, fails: Exception | None = None) -> None:
        self.name = name
        self.story = story
        self.begun = threading.Event()
        self.free = threading.Event()
        self.fails = fails
        if not held:
            self.free.set()

    def hasten(self) -> None:
        self.story.append(f"hasten {self.name}")

    def sync(self) -> None:
        self.begun.set()
        assert self.free.wait(60)
        if self.fails is not None:
            raise self.fails
        self.story.append(f"sync {self.name}")

    def close(self) -> None:
        self.story.append(f"close {self.name}")

    def abandon(self) -> None:
        self.story.append(f"abandon {self.name}")


class Store:
    def __init__(self, story: list[str]) -> None:
        self.story = story

    def sync_directories(self, names: Iterable[str]) -> None:
        self.story.append("directories " + " ".join(names))

    def delete(self, names: Iterable[str]) -> None:
        self.story.append("delete " + " ".join(names))


class Rows:
    def __init__(self, story: list[str]) -> None:
        self.story = story
        self.fails: Exception | None = None
        self.begun = 0
        self.open = False

    def apply(self, entries: Sequence[Entry], on_conflict: str, more: More) -> list[Applied]:
        if self.fails is not None:
            raise self.fails
        names = [cast(str, entry) for entry in map(_name, entries)]
        self.begun += 1
        self.open = True
        try:
            while further := more():
                names += map(_name, further)
        finally:
            self.open = False
        self.story.append("rows " + " ".join(names))
        return [Applied("stored", cast(Any, name)) for name in names]


class _Entry:
    def __init__(self, blob: str) -> None:
        self.blob = blob


def _name(entry: Entry) -> str:
    return entry.blob


class Bench:
    """A group commit over fakes, and one story of all that happens."""

    def __init__(self) -> None:
        self.story: list[str] = []
        self.rows = Rows(self.story)
        store = Store(self.story)
        self.group = GroupCommit(cast(BlobStore, store), cast(Index, self.rows), "keep-first", 8)

    def waiting(self, writer: Writer, *, durable: bool = False) -> Waiting:
        return Waiting(cast(BlobWriter, writer), asyncio.get_running_loop(), durable=durable)

    def examined(self, waiting: Waiting) -> None:
        waiting.entry = cast(Entry, _Entry(waiting.writer.name))
        self.group.put(waiting)

    def place(self, what: str) -> int:
        """Where in the story something stands, as the only thing or beside others."""
        verb, name = what.split()
        return next(at for at, line in enumerate(self.story) if line.split()[0] == verb and name in line.split()[1:])


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def _until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 10)


def test_who_comes_while_another_is_synced_is_synced_too_and_shares_its_transaction(bench: Bench) -> None:
    async def story() -> None:
        first, second = Writer("a", bench.story, held=True), Writer("b", bench.story, held=True)
        a, b = bench.waiting(first), bench.waiting(second)
        bench.examined(a)
        await _until(first.begun)
        bench.examined(b)
        first.free.set()
        await _until(second.begun)
        assert not a.done.done()
        assert not b.done.done()
        second.free.set()
        await asyncio.gather(a.done, b.done)
        await asyncio.to_thread(bench.group.close)

    asyncio.run(story())
    assert bench.story == [
        "hasten a", "sync a", "directories a", "hasten b", "sync b", "directories a b", "rows a b",
        "close a", "close b",
    ]  # fmt: skip


def test_who_comes_still_later_does_not_hold_up_the_first(bench: Bench) -> None:
    async def story() -> None:
        writers = [Writer(name, bench.story, held=True) for name in "abc"]
        waiting = [bench.waiting(writer) for writer in writers]
        for one, writer in zip(waiting[:2], writers[:2], strict=True):
            bench.examined(one)
            await _until(writers[0].begun)
            if writer is not writers[0]:
                writers[0].free.set()
        await _until(writers[1].begun)
        bench.examined(waiting[2])
        writers[1].free.set()
        await asyncio.gather(*(one.done for one in waiting[:2]))
        await _until(writers[2].begun)
        assert not waiting[2].done.done()
        writers[2].free.set()
        await waiting[2].done
        await asyncio.to_thread(bench.group.close)

    asyncio.run(story())
    assert bench.place("rows a") < bench.place("sync c") < bench.place("rows c")


def test_who_comes_while_another_is_looked_at_is_in_the_same_group_and_the_disk_begins_before_anybody_looks(
    bench: Bench,
) -> None:
    async def story() -> None:
        looked, free = threading.Event(), threading.Event()

        def prepare(name: str) -> Entry:
            bench.story.append(f"look {name}")
            looked.set()
            assert free.wait(60)
            return cast(Entry, _Entry(name))

        a, b = bench.waiting(Writer("a", bench.story)), bench.waiting(Writer("b", bench.story))
        a.prepare, b.prepare = lambda: prepare("a"), lambda: prepare("b")
        bench.group.put(a)
        await _until(looked)
        bench.group.put(b)
        free.set()
        await asyncio.gather(a.done, b.done)
        await asyncio.to_thread(bench.group.close)

    asyncio.run(story())
    assert bench.story == [
        "hasten a", "look a", "hasten b", "look b", "sync a", "sync b", "directories a b", "rows a b",
        "close a", "close b",
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [DataSetError("broken"), ZeroDivisionError("a defect")])
def test_what_is_found_out_in_the_committing_thread_harms_nobody_else(bench: Bench, wrong: Exception) -> None:
    async def story() -> None:
        held = Writer("held", bench.story, held=True)
        early = bench.waiting(held)
        bench.examined(early)
        await _until(held.begun)
        bad, good = bench.waiting(Writer("bad", bench.story)), bench.waiting(Writer("good", bench.story))

        def prepare() -> Entry:
            raise wrong

        bad.prepare = prepare
        bench.group.put(bad)
        bench.examined(good)
        held.free.set()
        await asyncio.gather(early.done, good.done)
        with pytest.raises(type(wrong)):
            await bad.done
        await asyncio.to_thread(bench.group.close)

    asyncio.run(story())
    assert [line for line in bench.story if "bad" in line] == ["hasten bad", "abandon bad"]
    assert "rows held good" in bench.story


def test_many_at_all_moments(bench: Bench) -> None:
    async def one(number: int) -> None:
        waiting = bench.waiting(Writer(f"n{number}", bench.story))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        bench.examined(waiting)
        await waiting.done

    async def story() -> None:
        await asyncio.gather(*(one(number) for number in range(500)))
        await asyncio.to_thread(bench.group.close)

    asyncio.run(story())
    for number in range(500):
        name = f"n{number}"
        assert bench.place(f"sync {name}") < bench.place(f"directories {name}") < bench.place(f"rows {name}")


def test_what_was_synced_elsewhere_is_not_synced_again(bench: Bench) -> None:
    async def story() -> None:
        waiting = bench.waiting(Writer("big", bench.story), durable=True)
        bench.examined(waiting)
        await waiting.done
        await asyncio.to_thread(bench.group.close)

    asyncio.run(story())
    assert bench.story == ["directories big", "rows big", "close big"]


def test_who_cannot_be_made_durable_is_not_committed_with_those_beside_him(
    bench: Bench,
) -> None:
    async def story() -> None:
        held = Writer("held", bench.story, held=True)
        bad = Writer("bad", bench.story, fails=OutOfResources("no space"))
        waiting = [bench.waiting(held), bench.waiting(bad), bench.waiting(Writer("good", bench.story))]
        bench.examined(waiting[0])
        await _until(held.begun)
        for one in waiting[1:]:
            bench.examined(one)
        held.free.set()
        assert (await waiting[0].done).kind == (await waiting[2].done).kind == "stored"
        with pytest.raises(OutOfResources):
            await waiting[1].done
        await asyncio.to_thread(bench.group.close)

    asyncio.run(story())
    assert [line for line in bench.story if line.startswith("rows")] == ["rows held good"]
    assert bench.place("sync good") < bench.place("rows good")


def test_a_slow_disk_is_waited_for_without_the_index(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows go again when the bytes are durable; also with those that came meanwhile, and without one that fails."""
    monkeypatch.setattr(commit, "_HELD", -1.0)  # whatever it takes is too long
    in_transaction: list[str] = []

    class Slow(Writer):
        def sync(self) -> None:
            if bench.rows.open:
                in_transaction.append(self.name)
            super().sync()

    async def story() -> None:
        first = Slow("first", bench.story, held=True)
        bad = Slow("bad", bench.story, fails=OutOfResources("no space"))
        waiting = [bench.waiting(one) for one in (first, bad, *(Slow(name, bench.story) for name in "abc"))]
        for one in waiting:
            bench.examined(one)
        await _until(first.begun)
        for name in "xyz":
            waiting.append(bench.waiting(Slow(name, bench.story)))
            bench.examined(waiting[-1])
        first.free.set()
        outcomes = await asyncio.gather(*(one.done for one in waiting), return_exceptions=True)
        assert [OutOfResources] == [type(one) for one in outcomes if isinstance(one, BaseException)]
        await asyncio.to_thread(bench.group.close)

    asyncio.run(story())
    assert in_transaction == []
    for name in ("first", *"abcxyz"):
        assert [f"sync {name}"] == [line for line in bench.story if line == f"sync {name}"], "once"
        assert bench.place(f"sync {name}") < bench.place(f"directories {name}") < bench.place(f"rows {name}")
    assert bench.rows.begun > 1 + bench.story.count("rows"), "one was given up"


@pytest.mark.parametrize("moment", ["sync", "examination"])
def test_a_refused_object_leaves_nothing_and_harms_nobody(bench: Bench, moment: str) -> None:
    async def story() -> None:
        full = OutOfResources("no space") if moment == "sync" else None
        good, bad = bench.waiting(Writer("good", bench.story)), bench.waiting(Writer("bad", bench.story, fails=full))
        if moment == "examination":
            bad.error = DataSetError("broken")
            bench.group.put(bad)
        else:
            bench.examined(bad)
        bench.examined(good)
        await good.done
        with pytest.raises(IsocenterError):
            await bad.done
        await asyncio.to_thread(bench.group.close)

    asyncio.run(story())
    assert "abandon bad" in bench.story
    assert bench.place("sync good") < bench.place("rows good")
    assert not any(line.startswith("rows") and "bad" in line for line in bench.story)


def test_a_full_disk_at_the_index_removes_the_files_and_other_failures_keep_them(bench: Bench) -> None:
    async def story() -> None:
        for name, error in (("full", OutOfResources("no space")), ("broken", IsocenterError("damaged"))):
            bench.rows.fails = error
            waiting = bench.waiting(Writer(name, bench.story))
            bench.examined(waiting)
            with pytest.raises(type(error)):
                await waiting.done
            assert (f"delete {name}" in bench.story) is (name == "full")  # before anybody hears of it
        await asyncio.to_thread(bench.group.close)

    asyncio.run(story())
    assert "delete full" in bench.story
    assert "delete broken" not in bench.story


def test_closing_commits_who_waits_and_tells_who_comes_too_late(bench: Bench) -> None:
    async def story() -> None:
        first = Writer("a", bench.story, held=True)
        a, b = bench.waiting(first), bench.waiting(Writer("b", bench.story))
        bench.examined(a)
        await _until(first.begun)
        bench.examined(b)
        closing = asyncio.create_task(asyncio.to_thread(bench.group.close))
        await asyncio.sleep(0.05)
        first.free.set()
        await asyncio.gather(a.done, b.done)
        await closing
        late = bench.waiting(Writer("late", bench.story))
        bench.examined(late)
        with pytest.raises(ArchiveBusy):
            await late.done

    asyncio.run(story())
    assert bench.place("sync b") < bench.place("rows b")
