"""The change feed: asked for, and told as it happens over server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pydicom
import pytest
from pydicom.data import get_testdata_file

import ours
from isocenter.archive.feed import MOST, Feed
from isocenter.errors import ArchiveBusy
from isocenter.model import Change, Scope
from skins.web_harness import Web, copies


def slices(count: int) -> list[bytes]:
    return copies(pydicom.dcmread(get_testdata_file("CT_small.dcm")), count)


def test_what_happened_since(web: Web) -> None:
    files = slices(3)
    paths = [item["00081190"]["Value"][0] for item in web.store(*files).json()["00081199"]["Value"]]
    everything = web.get("/dicomweb/changes").json()
    assert [one["kind"] for one in everything["changes"]] == ["stored"] * 3
    assert everything["changes"][0]["instance"] == paths[0].rpartition("/")[2]
    assert everything["last"] == everything["changes"][-1]["seq"]
    first = web.get("/dicomweb/changes?limit=1").json()
    assert first["changes"] == everything["changes"][:1]
    assert web.get(f"/dicomweb/changes?since={first['last']}").json()["changes"] == everything["changes"][1:]
    study = paths[0].partition("/series/")[0].rpartition("/")[2]
    web.portal.call(web.archive.delete, Scope(study), "wrong patient")
    (deleted,) = web.get(f"/dicomweb/changes?since={everything['last']}").json()["changes"]
    assert (deleted["kind"], deleted["study"], deleted["reason"]) == ("deleted", study, "wrong patient")
    assert web.get("/dicomweb/changes?since=999999").json() == {"changes": [], "last": 999999}


@pytest.mark.parametrize("query", ["since=-1", "since=x", "since=1e3", "limit=-1", f"since={'9' * 30}", "since=²"])
def test_malformed_questions(web: Web, query: str) -> None:
    assert web.get(f"/dicomweb/changes?{query}").status_code == 400


def read_events(lines: Iterator[str], count: int) -> list[tuple[int, str, dict[str, object]]]:
    """The next events of a stream: id, kind and data."""
    events: list[tuple[int, str, dict[str, object]]] = []
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            events.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
            fields = {}
            if len(events) == count:
                break
    return events


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    """Of a server that listens: its answers go on."""
    with (
        ours.node(tmp_path / "data", archive_minimum_free=0) as node,
        httpx.Client(base_url=f"{node.url}dicomweb", timeout=30) as client,
    ):
        yield client


def store(client: httpx.Client, count: int) -> int:
    """Stores slices, each by a request of its own; the last number of the feed."""
    for file in slices(count):
        answer = client.post("/studies", content=file, headers={"content-type": "application/dicom"})
        assert answer.status_code == 200
    last: int = client.get("/changes").json()["last"]
    return last


def test_what_happens_is_told_as_it_happens(client: httpx.Client) -> None:
    store(client, 2)
    with client.stream("GET", "/events", headers={"accept": "text/event-stream"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(lines) == "retry: 2000"
        store(client, 1)
        ((seq, kind, data),) = read_events(lines, 1)  # and not those of before
        assert (kind, data["kind"], data["seq"]) == ("stored", "stored", seq)
    with client.stream("GET", "/events", headers={"last-event-id": str(seq - 2)}) as stream:
        lines = stream.iter_lines()
        assert [one[0] for one in read_events(lines, 2)] == [seq - 1, seq]
        store(client, 1)
        assert read_events(lines, 1)[0][0] == seq + 1
    with client.stream("GET", "/events?since=x") as stream:
        assert stream.status_code == 400


def test_what_happens_is_told_in_summary(client: httpx.Client) -> None:
    begun = store(client, 2)
    with client.stream("GET", f"/events?summary=true&since={begun - 2}") as stream:
        lines = stream.iter_lines()
        assert read_events(lines, 1) == [(begun, "changed", {"seq": begun})]  # one for two
        # However many it takes: fewer than entries, as those of a second are one, and the newest comes last.
        last = store(client, 5)
        told = read_events(lines, 1)
        while told[-1][0] < last:
            told += read_events(lines, 1)
        assert {kind for _, kind, _ in told} == {"changed"}
    assert client.get("/events?summary=yes").status_code == 400


def test_who_listens_does_not_keep_the_server_from_stopping(tmp_path: Path) -> None:
    with httpx.Client(timeout=30) as client:
        with ours.node(tmp_path / "data", archive_minimum_free=0) as node:
            stream = client.stream("GET", f"{node.url}dicomweb/events")
            lines = stream.__enter__().iter_lines()
            assert next(lines) == "retry: 2000"
        assert [line for line in lines if line] == []  # ended, and not broken off
        stream.__exit__(None, None, None)


def test_a_follower_misses_nothing_and_ends() -> None:
    rows: list[Change] = []

    async def read(since: int) -> list[Change]:
        await asyncio.sleep(0)
        return [row for row in rows if row.seq > since][:2]

    async def scenario() -> None:
        feed = Feed(read)

        def add(count: int) -> None:
            for _ in range(count):
                rows.append(Change(len(rows) + 1, "stored", Scope("1.2"), ""))
                feed.wake()

        add(3)
        seen: list[int] = []

        async def follow() -> None:
            async for group in feed.follow(1, 0.01):
                seen.extend(change.seq for change in group)

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.05)  # quiet in between
        await asyncio.get_running_loop().run_in_executor(None, add, 5)
        await asyncio.sleep(0.05)
        add(1)
        feed.end()
        await asyncio.wait_for(following, 60)
        assert seen == list(range(2, 10))
        assert feed._followers == []

    asyncio.run(scenario())


def test_some_followers_leave_places_to_others() -> None:
    async def read(since: int) -> list[Change]:
        return []

    async def scenario() -> None:
        feed = Feed(read)
        first = feed.follow(0, 0.001, most=1)
        assert await anext(first) == []
        with pytest.raises(ArchiveBusy):
            await anext(feed.follow(0, 0.001, most=1))
        second = feed.follow(0, 0.001)
        assert await anext(second) == []
        await first.aclose()
        await second.aclose()

    asyncio.run(scenario())


def test_there_is_an_end_to_followers() -> None:
    async def read(since: int) -> list[Change]:
        return []

    async def scenario() -> None:
        feed = Feed(read)
        followers = [feed.follow(0, 0.001) for _ in range(MOST + 1)]
        for follower in followers[:-1]:
            assert await anext(follower) == []
        with pytest.raises(ArchiveBusy):
            await anext(followers[-1])
        for follower in followers:
            await follower.aclose()
        assert feed._followers == []

    asyncio.run(scenario())
