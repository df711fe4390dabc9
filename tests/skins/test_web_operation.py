"""What those who run the archive do with a browser: send to peers, watch the queue, see how full the disk is."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest

import ours
from isocenter.archive.archive import Archive
from isocenter.known_peers import KnownPeer
from isocenter.model import Origin
from isocenter.services.base import Reply, Request
from isocenter.settings import Settings
from isocenter.web.app import create_app
from isocenter.web.site_tokens import issue
from skins.test_forwarding import QUICK, all_are, data_set, data_sets, free_port, jobs_of, peer_at, scp, sent, until
from skins.test_move_destinations import study_of
from skins.web_harness import Web, portal, web_of

JOBS = "/operation/jobs"


def test_a_study_is_sent_to_a_peer_byte_for_byte(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    study, uids, objects = study_of(5)
    with ours.receiver(tmp_path / "there") as receiver:
        there = peer_at(receiver.port)
        with (
            ours.node(tmp_path / "data", peers=[there], **QUICK) as node,
            httpx.Client(base_url=node.url.rstrip("/")) as web,
            caplog.at_level("INFO", "isocenter.audit"),
        ):
            sent(node, objects)
            assert web.get("/operation/peers").json() == {"peers": [{"name": "there", "aet": "THERE"}]}
            answer = web.post(JOBS, json={"peer": "there", "study": study})
            assert answer.status_code == 202
            job = answer.json()
            assert (job["kind"], job["target"], job["total"]) == ("forward", "there", 5)
            until(tmp_path / "data", all_are("done"))
            listed = web.get(JOBS).json()
            assert listed["counts"] == {"done": 1}
            assert [(one["id"], one["done"], one["reasons"]) for one in listed["jobs"]] == [(job["id"], 5, [])]
        assert dict(zip(uids, map(data_set, objects), strict=True)) == data_sets(receiver.folder)
    assert f"study={study} series=* instance=* objects=5 to=there" in caplog.text


def test_a_series_and_an_instance_are_sent_alone(tmp_path: Path) -> None:
    study, uids, objects = study_of(3)
    series = str(pydicom.dcmread(BytesIO(objects[0])).SeriesInstanceUID)
    with (
        ours.node(tmp_path / "data", peers=[peer_at(free_port())], **QUICK) as node,
        httpx.Client(base_url=node.url.rstrip("/")) as web,
    ):
        sent(node, objects)
        one = web.post(JOBS, json={"peer": "there", "study": study, "series": series, "instance": uids[1]}).json()
        all_of_it = web.post(JOBS, json={"peer": "there", "study": study, "series": series, "commit": "true"}).json()
        assert (one["total"], all_of_it["total"]) == (1, 3)
        assert (one["key"], all_of_it["key"]) == ("", "commit")
        until(tmp_path / "data", lambda jobs: {job.state for job in jobs} == {"waiting"} and jobs[0].attempts > 0)
        assert "127.0.0.1" in web.get(JOBS, params={"state": "waiting"}).json()["jobs"][0]["last_error"]
        assert web.get(JOBS, params={"state": ["done", "failed"]}).json()["jobs"] == []
        assert web.post(f"{JOBS}/{one['id']}/cancel").json()["state"] == "cancelled"
        again = web.post(f"{JOBS}/{one['id']}/cancel")
        assert (again.status_code, again.json()["error"]["code"]) == (400, "bad-request")
        assert web.post(f"{JOBS}/{one['id']}/retry").json()["state"] == "waiting"
        assert len(jobs_of(tmp_path / "data")) == 2


def test_the_queue_says_why_objects_failed_while_others_are_still_on_their_way(tmp_path: Path) -> None:
    study, uids, objects = study_of(5)
    statuses = dict(zip(uids, (0xC000, 0x0122, 0xC000, 0xA700, 0x0000), strict=True))  # A700 passes by, later

    def picky(request: Request, number: int) -> Reply:
        return Reply(statuses[str(request.command["AffectedSOPInstanceUID"])])

    slow = {"jobs_retry_first": 60.0, "jobs_retry_longest": 60.0, "jobs_interval": 0.1}
    with (
        scp(picky) as (port, _),
        ours.node(tmp_path / "data", peers=[peer_at(port)], **slow) as node,
        httpx.Client(base_url=node.url.rstrip("/")) as web,
    ):
        sent(node, objects)
        web.post(JOBS, json={"peer": "there", "study": study})
        until(tmp_path / "data", lambda jobs: jobs[0].state == "waiting" and jobs[0].failed == 3)
        (job,) = web.get(JOBS).json()["jobs"]
        assert (job["done"], job["failed"], job["last_error"]) == (1, 3, "C-STORE: A700 Refused: out of resources")
        assert job["reasons"] == [
            {"why": "C-STORE: C000 Error: cannot understand", "count": 2},
            {"why": "C-STORE: 0122 SOP Class not supported", "count": 1},
        ]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    settings = Settings().replace(archive_data=tmp_path / "data", archive_minimum_free=0, web_hosts="archive.test")
    _, _, objects = study_of(2)
    with portal() as running:
        archive = running.call(Archive.open, settings.archive_data, settings)
        for one in objects:
            running.call(archive.ingest, [one], Origin("test"))
        known = [KnownPeer("there", "THERE", "127.0.0.1", 104)]  # type: ignore[arg-type]
        with web_of(create_app(archive, settings, lambda: known), archive, running) as client:
            yield client
        running.call(archive.close)


def test_what_is_stored_and_how_full_the_disk_is(web: Web) -> None:
    told = web.get("/operation/storage").json()
    assert (told["patients"], told["studies"], told["series"], told["instances"]) == (1, 1, 1, 2)
    assert 0 < told["free"] < told["size"]
    assert told["bytes"] > 2 * 1000
    assert told["reserve"] == 0
    assert web.get("/operation/storage").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"study": "1.2.3"}, 404),
        ({"peer": "nobody", "study": "1.2.3"}, 404),
        ({"peer": "there", "study": "1.2.3"}, 404),
        ({"peer": "there"}, 400),
        ({"peer": "there", "study": "1.2.3", "instance": "1.2.4"}, 400),
        ({"peer": "there", "study": "../1"}, 400),
        ({"peer": "there", "study": "1.2.3", "commit": "perhaps"}, 400),
        ({"peer": "there", "study": "1.2.3", "host": "10.0.0.1"}, 400),
        ({"peer": "there", "study": ["1.2.3"]}, 400),
        ([], 400),
        ({"peer": "x" * 40_000, "study": "1.2.3"}, 413),
    ],
)
def test_what_cannot_be_sent_is_refused_and_makes_no_job(web: Web, body: Any, status: int) -> None:
    assert web.request("POST", JOBS, json=body).status_code == status
    assert web.get(JOBS).json() == {"jobs": [], "counts": {}}


@pytest.mark.parametrize("query", ["state=late", "limit=0", "limit=x", "limit=1001", f"limit={'9' * 30}"])
def test_malformed_questions(web: Web, query: str) -> None:
    assert web.get(f"{JOBS}?{query}").status_code == 400


@pytest.mark.parametrize("job", ["1", "0", "9" * 18, "9" * 40])
def test_jobs_that_are_not_there(web: Web, job: str) -> None:
    for verb in ("retry", "cancel"):
        assert web.request("POST", f"{JOBS}/{job}/{verb}").status_code == 404


def test_it_needs_the_scope_to_write_and_is_not_for_those_who_see_some_studies(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    _, reader = issue(tokens, "reader", ["read"])
    _, writer = issue(tokens, "writer", ["read", "write"])
    _, trial = issue(tokens, "trial", ["read", "write"], patients=["P1"])
    settings = Settings().replace(archive_data=tmp_path / "data", web_hosts="archive.test", web_tokens=str(tokens))
    with portal() as running:
        archive = running.call(Archive.open, settings.archive_data, settings)
        with web_of(create_app(archive, settings), archive, running) as client:
            for path in ("/operation/peers", "/operation/jobs", "/operation/storage"):
                answers = [client.get(path, headers={"authorization": f"Bearer {token}"}) for token in (reader, writer)]
                assert [403, 200] == [answer.status_code for answer in answers], path
            for path in ("/operation/jobs", "/operation/storage"):
                assert client.get(path, headers={"authorization": f"Bearer {trial}"}).status_code == 403
        running.call(archive.close)
